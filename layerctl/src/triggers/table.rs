//! The table of triggers: when each runs and what it writes. Text goes in, checked triggers come out.
//!
//! ```toml
//! [[trigger]]
//! name = "ldconfig"
//! when = ["/usr/lib/**/*.so*"]     # paths of layers
//! program = "ldconfig"             # of the union; or several, of which the first that is there is taken
//! args = ["-i"]
//! writes = ["/etc/ld.so.cache"]    # kept in the trigger layer, and in no layer that is built
//! discards = ["/var/cache/ldconfig/*"]     # kept nowhere
//! env = { KEY = "value" }
//! each = "/usr/lib/modules/*"      # run once for each such path above a path of `when`: {path}, {name} in args
//! optional = true                  # a failure is a warning
//! ```
//!
//! A file of its own may add triggers, and replaces those that have the same names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layers::id::{Digest, Name};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::glob::{self, Glob};

/// Raised when the same inputs and table give another trigger layer than before: what is made then is made anew.
const COMPOSITION: u32 = 1;

const BUILT_IN: &str = include_str!("table.toml");

/// Why a text is no table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} line {line}: {message}", .path.display())]
pub(crate) struct TableError {
    path: PathBuf,
    line: usize,
    message: String,
}

/// All triggers, in the order in which they run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    #[serde(default, rename = "trigger")]
    triggers: Vec<Trigger>,
    /// Those of them that the administrator wrote: no image's take their place.
    #[serde(skip)]
    own: Vec<Trigger>,
}

/// What a trigger merges that no program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Merge {
    /// dpkg's database.
    Dpkg,
    /// Choices of update-alternatives(1).
    Alternatives,
    /// Users and groups, by systemd-sysusers(8).
    Accounts,
    /// RPM's database.
    Rpm,
}

/// One entry of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    /// What messages call it.
    pub(crate) name: Name,
    /// Paths of a layer for which it runs.
    #[serde(default)]
    pub(crate) when: Vec<Glob>,
    /// What is done without a program of the table.
    pub(crate) merge: Option<Merge>,
    program: Option<Programs>,
    /// Arguments; `{path}` and `{name}` stand for what `each` found.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// Directories for each of which it runs by itself.
    pub(crate) each: Option<Glob>,
    #[serde(default)]
    writes: Vec<Glob>,
    #[serde(default)]
    discards: Vec<Glob>,
    /// Whether its failure is only told.
    #[serde(default)]
    pub(crate) optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Programs {
    One(String),
    Several(Vec<String>),
}

impl Trigger {
    /// The programs of which the first that is there is run: a name, or a pattern from the root on.
    pub(crate) fn programs(&self) -> &[String] {
        match &self.program {
            None => &[],
            Some(Programs::One(one)) => std::slice::from_ref(one),
            Some(Programs::Several(several)) => several,
        }
    }

    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if self.merge.is_some() && self.program.is_some() {
            return Err(format!("trigger {name} has both merge and program"));
        }
        if self.when.is_empty() != (self.merge.is_none() && self.program.is_none()) {
            return Err(format!("trigger {name} needs both when and program, or neither"));
        }
        if let Some(bad) = self.programs().iter().find(|program| !is_program(program)) {
            return Err(format!(
                "trigger {name}: {bad:?} is no program: a name or a path from / on is expected"
            ));
        }
        if self.each.as_ref().is_some_and(|each| each.depth().is_none()) {
            return Err(format!("trigger {name}: each must not have **"));
        }
        let stands_for =
            |argument: &String| ["{path}", "{name}"].iter().any(|it| argument.contains(it));
        if self.each.is_none() && self.args.iter().any(stands_for) {
            return Err(format!("trigger {name} has {{path}} or {{name}} in args, and no each"));
        }
        let sound = |key: &String| !key.is_empty() && !key.contains(['=', '\0']);
        match self.env.keys().find(|key| !sound(key)) {
            Some(key) => Err(format!("trigger {name}: {key:?} is no environment variable")),
            None => Ok(()),
        }
    }
}

fn is_program(text: &str) -> bool {
    match text.contains('/') {
        true => text.parse::<Glob>().is_ok_and(|glob| glob.depth().is_some()),
        false => !text.is_empty() && !text.starts_with('!'),
    }
}

impl Table {
    /// The table that layerctl brings.
    pub(crate) fn built_in() -> Result<Self, TableError> {
        Self::parse(BUILT_IN, Path::new("layerctl's own table"))
    }

    /// Reads a table's text; `path` is where it comes from.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, TableError> {
        let error = |line, message| TableError { path: path.to_owned(), line, message };
        let table: Self = toml::from_str(text).map_err(|source| {
            let start = source.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or(text).matches('\n').count() + 1;
            error(line, source.message().lines().collect::<Vec<_>>().join("; "))
        })?;
        let mut names: Vec<&Name> = Vec::new();
        for (place, trigger) in table.triggers.iter().enumerate() {
            let twice = || format!("two triggers are named {}", trigger.name);
            let checked = match names.contains(&&trigger.name) {
                true => Err(twice()),
                false => trigger.check(),
            };
            checked.map_err(|message| error(line_of(text, place), message))?;
            names.push(&trigger.name);
        }
        Ok(table)
    }

    /// Takes the triggers of another table: in the place of those that have their names, else at the end.
    pub(crate) fn extend(&mut self, other: Self) {
        for trigger in other.triggers {
            match self.triggers.iter_mut().find(|own| own.name == trigger.name) {
                Some(own) => *own = trigger,
                None => self.triggers.push(trigger),
            }
        }
    }

    /// As [`Self::extend`], for what the administrator says.
    pub(super) fn extend_for_good(&mut self, other: Self) {
        self.own.extend(other.triggers.clone());
        self.extend(other);
    }

    /// Puts back what the administrator says, after what images say.
    pub(super) fn restore(&mut self) {
        let triggers = std::mem::take(&mut self.own);
        self.extend(Self { triggers, own: Vec::new() });
    }

    /// The triggers, in the order in which they run.
    pub(crate) fn triggers(&self) -> &[Trigger] {
        &self.triggers
    }

    /// What stands for this table among the inputs of a composition.
    pub(crate) fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(COMPOSITION.to_le_bytes());
        // A table has nothing that TOML cannot write; without its text the digest is that of no table.
        hash.update(toml::to_string(self).unwrap_or_default());
        Digest::new(hash.finalize().into())
    }

    /// Whether a path, from the root on with or without its first `/`, belongs to the union and to no layer.
    pub(crate) fn is_written(&self, path: &Path) -> bool {
        let of = |trigger: &Trigger| {
            glob::any(&trigger.writes, path) || glob::any(&trigger.discards, path)
        };
        self.triggers.iter().any(of)
    }

    /// Whether a path is kept in the trigger layer.
    pub(crate) fn is_kept(&self, path: &Path) -> bool {
        let any = |list: fn(&Trigger) -> &[Glob]| {
            self.triggers.iter().any(|trigger| glob::any(list(trigger), path))
        };
        any(|trigger| &trigger.writes) && !any(|trigger| &trigger.discards)
    }
}

/// The line on which the trigger of this place begins.
fn line_of(text: &str, place: usize) -> usize {
    let heads = text.lines().enumerate().filter(|(_, line)| line.trim().starts_with("[[trigger]]"));
    heads.map(|(number, _)| number + 1).nth(place).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Table, String> {
        Table::parse(text, Path::new("t.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn index_files_are_written_and_packages_own_files_are_not() {
        let table = Table::built_in().unwrap();
        for path in [
            "/etc/passwd",
            "etc/gshadow-",
            "/etc/ld.so.cache",
            "/var/lib/dpkg/status",
            "/var/lib/dpkg/status-old",
            "/var/lib/dpkg/triggers/File",
            "/var/lib/dpkg/alternatives/pager",
            "/etc/alternatives/pager",
            "/usr/lib/modules/6.12.0/modules.dep.bin",
            "/usr/share/mime/mime.cache",
            "/usr/share/mime/text/plain.xml",
            "/var/cache/ldconfig/aux-cache",
            "/usr/share/icons/hicolor/icon-theme.cache",
            "/var/lib/rpm/rpmdb.sqlite",
            "/etc/ssl/certs/ca-certificates.crt",
        ] {
            assert!(table.is_written(Path::new(path)), "{path}");
        }
        for path in [
            "/usr/bin/pager",
            "/etc/ssl/openssl.cnf",
            "/etc/ca-certificates.conf",
            "/usr/lib/modules/6.12.0/modules.order",
            "/usr/share/mime/packages",
            "/usr/share/mime/packages/x.xml",
            "/var/lib/dpkg/info/nginx.list",
            "/etc/alternatives",
            "/usr/lib/sysusers.d/layerctl-web.conf",
            "/usr/lib/layerctl/layers/web/dpkg-status",
        ] {
            assert!(!table.is_written(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn the_documents_example_is_a_table() {
        let document = include_str!("../../../docs/triggers.md");
        let (_, rest) = document.split_once("```toml\n").unwrap();
        let table = parse(rest.split_once("```").unwrap().0).unwrap();
        let [trigger] = table.triggers() else { panic!("{table:?}") };
        assert!(
            trigger.optional && table.is_kept(Path::new("/var/lib/dictionaries-common/hunspell/x"))
        );
        let built_in = Table::built_in().unwrap();
        for trigger in built_in.triggers() {
            assert!(document.contains(trigger.name.as_str()) || trigger.when.is_empty());
        }
    }

    #[test]
    fn what_the_administrator_says_stays() {
        let mut table = Table::built_in().unwrap();
        let say = |path: &str| {
            parse(&format!("[[trigger]]\nname = \"fonts\"\ndiscards = [\"{path}\"]\n")).unwrap()
        };
        table.extend_for_good(say("/own"));
        table.extend(say("/image"));
        assert!(table.is_written(Path::new("/image")));
        table.restore();
        assert!(table.is_written(Path::new("/own")) && !table.is_written(Path::new("/image")));
    }

    #[test]
    fn what_is_discarded_is_not_kept() {
        let table = Table::built_in().unwrap();
        assert!(table.is_kept(Path::new("/etc/passwd")));
        for path in ["/etc/passwd-", "/var/lib/dpkg/triggers/Lock", "/var/log/alternatives.log"] {
            assert!(!table.is_kept(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_file_adds_replaces_and_changes_the_digest() {
        let mut table = Table::built_in().unwrap();
        let (before, count) = (table.digest(), table.triggers().len());
        let fonts = "[[trigger]]\nname = \"fonts\"\n";
        let own = "[[trigger]]\nname = \"own\"\nwhen = [\"/usr/share/own/*\"]\nprogram = \"own\"\n";
        table.extend(parse(&format!("{fonts}{own}")).unwrap());
        assert_eq!(table.triggers().len(), count + 1);
        assert_eq!(table.triggers().last().unwrap().programs(), ["own"]);
        assert!(!table.is_written(Path::new("/var/cache/fontconfig/x")));
        assert_ne!(table.digest(), before);
        assert_eq!(Table::built_in().unwrap().digest(), before);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let head = "# a table\n[[trigger]]\nname = \"x\"\n";
        let say = |rest: &str| parse(&format!("{head}{rest}")).unwrap_err();
        assert!(say("when = [\"etc\"]\n").starts_with("t.toml line 4: \"etc\" is no pattern"));
        assert_eq!(
            say("program = \"p\"\n"),
            "t.toml line 2: trigger x needs both when and program, or neither"
        );
        assert!(say("whem = []\n").starts_with("t.toml line 4: unknown field `whem`"));
        let when = "when = [\"/x\"]\n";
        assert!(say(&format!("{when}program = \"bin/p\"\n")).contains("is no program"));
        assert!(
            say(&format!("{when}program = \"p\"\nargs = [\"{{name}}\"]\n")).contains("no each")
        );
        assert!(say(&format!("{when}program = \"p\"\neach = \"/a/**\"\n")).contains("must not"));
        assert!(say(&format!("{when}program = \"p\"\nmerge = \"rpm\"\n")).contains("has both"));
        assert!(
            say(&format!("{when}program = \"p\"\nenv = {{ \"a=\" = \"\" }}\n")).contains("no env")
        );
        assert!(say(head).contains("line 5: two triggers are named x"));
    }
}
