//! dpkg's database of a stack: the base's, with what each layer adds and takes away. Pure: texts in, texts out.
//!
//! Formats (dpkg 1.22): status is deb822(5); a diversion has three lines; an override of owner and mode is one line with the
//! path last; triggers/File has `PATH PACKAGE[/noawait]`, every other file of triggers/ `PACKAGE[/noawait]`.

use std::collections::{BTreeMap, BTreeSet};

use super::deb822::{self, PackageName};

/// The files of the database that are merged, by their names below /var/lib/dpkg. Each package's own files in info/ are in
/// the layers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Database {
    files: BTreeMap<String, Vec<u8>>,
}

/// The names of files of which a database has one each.
pub(super) const FILES: [&str; 4] = ["arch", "diversions", "statoverride", "status"];

/// The directory of triggers, of which every file but [`NO_TRIGGERS`] belongs to the database.
pub(super) const TRIGGERS: &str = "triggers";

/// Files in the directory of triggers that name no interest of a package.
pub(super) const NO_TRIGGERS: [&str; 2] = ["Lock", "Unincorp"];

/// What a layer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Addition {
    /// Paragraphs of packages that it adds or changes.
    pub(super) status: Vec<u8>,
    /// Packages that it takes away, one a line.
    pub(super) removed: Vec<u8>,
    /// Diversions that it adds.
    pub(super) diversions: Vec<u8>,
    /// Overrides of owner and mode that it adds.
    pub(super) overrides: Vec<u8>,
    /// The files `info/PACKAGE.triggers` (deb-triggers(5)), by package with its architecture where the file's name has one.
    pub(super) triggers: BTreeMap<String, Vec<u8>>,
    /// Files of the database that it has whole, from a build that knows nothing of layers: they hide those below.
    pub(super) whole: BTreeMap<String, Vec<u8>>,
}

impl Database {
    /// A database with these files.
    pub(super) fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { files }
    }

    /// The files.
    pub(super) fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// Puts a layer on top.
    pub(super) fn add(&mut self, layer: &Addition) {
        self.files.extend(layer.whole.iter().map(|(name, text)| (name.clone(), text.clone())));
        let gone = PackageName::list(&layer.removed);
        if !layer.status.is_empty() || !gone.is_empty() {
            let status = deb822::merge(self.text("status"), &gone, &layer.status);
            let arch = architectures(self.text("arch"), &status);
            self.put("status", status);
            self.put("arch", arch);
        }
        if !layer.diversions.is_empty() {
            let merged = diversions(self.text("diversions"), &layer.diversions);
            self.put("diversions", merged);
        }
        if !layer.overrides.is_empty() {
            let merged = overrides(self.text("statoverride"), &layer.overrides);
            self.put("statoverride", merged);
        }
        self.interests(&gone, layer);
    }

    fn text(&self, name: &str) -> &[u8] {
        self.files.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn put(&mut self, name: &str, text: Vec<u8>) {
        if text != self.text(name) {
            self.files.insert(name.to_owned(), text);
        }
    }

    /// Interests of packages that are gone or come anew go, those of the layer's come.
    fn interests(&mut self, gone: &[PackageName<'_>], layer: &Addition) {
        let anew: Vec<(&[u8], &[u8])> = deb822::paragraphs(&layer.status)
            .filter_map(|it| {
                Some((it.field("Package")?, it.field("Architecture").unwrap_or_default()))
            })
            .collect();
        let named = |text: &[u8]| {
            let word = text.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
            let package = word.strip_suffix(b"/noawait").unwrap_or(word);
            let package = PackageName::new(package);
            let comes = |(name, architecture): &(&[u8], &[u8])| package.may_be(name, architecture);
            gone.iter().any(|name| name.covers(&package)) || anew.iter().any(comes)
        };
        let prefix = format!("{TRIGGERS}/");
        let mut changed: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (name, text) in self.files.iter().filter(|(name, _)| name.starts_with(&prefix)) {
            let stays: Vec<&[u8]> = lines(text).filter(|line| !named(line)).collect();
            changed.insert(name.clone(), unlines(&stays));
        }
        for (package, text) in &layer.triggers {
            for (trigger, no_wait) in lines(text).filter_map(interest) {
                let suffix = if no_wait { "/noawait" } else { "" };
                let (file, line) = match trigger.starts_with('/') {
                    true => ("File", format!("{trigger} {package}{suffix}")),
                    false => (trigger, format!("{package}{suffix}")),
                };
                // A name that is no file name here: dpkg takes none either.
                if file.contains('/') || file.starts_with('.') || NO_TRIGGERS.contains(&file) {
                    continue;
                }
                let text = changed.entry(format!("{prefix}{file}")).or_default();
                if !lines(text).any(|there| there == line.as_bytes()) {
                    text.extend_from_slice(line.as_bytes());
                    text.push(b'\n');
                }
            }
        }
        changed.into_iter().for_each(|(name, text)| self.put_trigger(&name, text));
    }

    fn put_trigger(&mut self, name: &str, text: Vec<u8>) {
        // An interest that nobody has any more has an empty file: it says the same as none.
        if !text.is_empty() || self.files.contains_key(name) {
            self.put(name, text);
        }
    }
}

/// The name of a trigger of which a package wants to know, from a line of deb-triggers(5), and whether it lets others go on.
fn interest(line: &[u8]) -> Option<(&str, bool)> {
    let text = std::str::from_utf8(line).ok()?;
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let mut words = text.split_ascii_whitespace();
    let no_wait = match words.next()? {
        "interest" | "interest-await" => false,
        "interest-noawait" => true,
        _ => return None,
    };
    Some((words.next()?, no_wait))
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}

fn unlines(lines: &[&[u8]]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

/// The architectures that dpkg may install: those that it knew, and those of the packages that are there.
fn architectures(known: &[u8], status: &[u8]) -> Vec<u8> {
    // Where the file is missing, dpkg knows its own; with the file it must be in it.
    let mut all: Vec<&[u8]> = lines(known).map(<[u8]>::trim_ascii).collect();
    if all.is_empty() {
        return known.to_vec();
    }
    let used = deb822::paragraphs(status).filter_map(|it| it.field("Architecture"));
    let new: BTreeSet<&[u8]> =
        used.filter(|it| !it.is_empty() && *it != b"all" && !all.contains(it)).collect();
    if new.is_empty() {
        return known.to_vec();
    }
    all.extend(new);
    unlines(&all)
}

fn diversions(below: &[u8], added: &[u8]) -> Vec<u8> {
    let all = |text| {
        let lines: Vec<&[u8]> = lines(text).collect();
        lines.chunks_exact(3).map(<[&[u8]]>::to_vec).collect::<Vec<_>>()
    };
    let mut merged = all(below);
    for new in all(added) {
        match merged.iter_mut().find(|old| old.first() == new.first()) {
            Some(old) => *old = new,
            None => merged.push(new),
        }
    }
    unlines(&merged.concat())
}

fn overrides(below: &[u8], added: &[u8]) -> Vec<u8> {
    // User, group, mode, and a path that may have spaces.
    let path = |line: &'_ [u8]| -> Option<Vec<u8>> {
        line.splitn(4, |&byte| byte == b' ').nth(3).map(<[u8]>::to_vec)
    };
    let mut merged: Vec<&[u8]> = lines(below).collect();
    for new in lines(added).filter(|line| path(line).is_some()) {
        match merged.iter_mut().find(|old| path(old) == path(new)) {
            Some(old) => *old = new,
            None => merged.push(new),
        }
    }
    unlines(&merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn database(files: &[(&str, &str)]) -> Database {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
        Database::new(files.iter().map(owned).collect())
    }

    fn text(database: &Database, name: &str) -> String {
        String::from_utf8(database.text(name).to_vec()).unwrap()
    }

    #[test]
    fn interests_follow_their_packages() {
        let mut database = database(&[
            ("status", "Package: a\nArchitecture: all\n\nPackage: b\nArchitecture: all\n\n"),
            ("arch", "amd64\n"),
            ("triggers/File", "/x a/noawait\n/y b\n/z other:i386\n"),
            ("triggers/cache", "a\n"),
        ]);
        let triggers =
            "# c\ninterest-noawait /x # why\ninterest cache\nactivate cache\ninterest ../x\n";
        database.add(&Addition {
            status: b"Package: lib\nArchitecture: i386\nMulti-Arch: same\n".to_vec(),
            removed: b"a\n".to_vec(),
            triggers: BTreeMap::from([("lib:i386".to_owned(), triggers.as_bytes().to_vec())]),
            ..Addition::default()
        });
        assert_eq!(text(&database, "triggers/File"), "/y b\n/z other:i386\n/x lib:i386/noawait\n");
        assert_eq!(text(&database, "triggers/cache"), "lib:i386\n");
        assert_eq!(text(&database, "arch"), "amd64\ni386\n");
        assert!(!text(&database, "status").contains("Package: a\n"));
        assert_eq!(database.files().len(), 4);
    }

    #[test]
    fn diversions_and_overrides_are_told_apart_by_their_paths() {
        let mut database =
            database(&[("diversions", "/a\n/a.b\np\n"), ("statoverride", "root root 755 /a b\n")]);
        database.add(&Addition {
            diversions: b"/a\n/a.c\n:\n/d\n/d.e\nq\n".to_vec(),
            overrides: b"root mail 2755 /a b\nroot root 644 /c\nodd\n".to_vec(),
            ..Addition::default()
        });
        assert_eq!(text(&database, "diversions"), "/a\n/a.c\n:\n/d\n/d.e\nq\n");
        assert_eq!(text(&database, "statoverride"), "root mail 2755 /a b\nroot root 644 /c\n");
    }

    #[test]
    fn a_whole_database_hides_the_one_below_and_an_empty_layer_changes_nothing() {
        let mut one = database(&[("status", "Package: a\n\n"), ("triggers/File", "/x a\n")]);
        let before = one.clone();
        one.add(&Addition::default());
        assert_eq!(one, before);
        let whole = BTreeMap::from([("status".to_owned(), b"Package: b\n\n".to_vec())]);
        one.add(&Addition { whole, ..Addition::default() });
        assert_eq!(text(&one, "status"), "Package: b\n\n");
    }

    proptest! {
        #[test]
        fn anything_is_merged_and_once_is_enough(
            base in prop::collection::vec(any::<u8>(), 0..60),
            file in "(/[ab] [pq](/noawait)?\n){0,4}",
            status in "(Package: [pq]\n\n){0,3}",
            triggers in "((interest|interest-noawait|activate) (/[ab]|[ab])\n){0,4}",
            diversions in "(/[ab]\n/[cd]\n:\n){0,3}.?",
        ) {
            let mut database = Database::new(BTreeMap::from([
                ("status".to_owned(), base.clone()),
                ("diversions".to_owned(), base),
                ("triggers/File".to_owned(), file.into_bytes()),
            ]));
            let layer = Addition {
                status: status.into_bytes(),
                triggers: BTreeMap::from([("p".to_owned(), triggers.into_bytes())]),
                diversions: diversions.into_bytes(),
                ..Addition::default()
            };
            database.add(&layer);
            let once = database.clone();
            database.add(&layer);
            prop_assert_eq!(database.text("status"), once.text("status"));
            prop_assert_eq!(database.text("diversions"), once.text("diversions"));
            prop_assert_eq!(database.files.len(), once.files.len());
        }
    }
}
