//! What a layer adds to dpkg's database, told by the database before and after. Pure.

use std::collections::{HashMap, HashSet};

use crate::triggers::deb822::{self, Paragraph};

type Key<'a> = (&'a [u8], &'a [u8]);

fn key<'a>(paragraph: &Paragraph<'a>) -> Key<'a> {
    let field = |name| paragraph.field(name).unwrap_or_default();
    (field("Package"), field("Architecture"))
}

/// The paragraphs of `after` that `before` has not or has otherwise, in their order, an empty line after each.
pub(super) fn added(before: &[u8], after: &[u8]) -> Vec<u8> {
    let old: HashMap<Key<'_>, &[u8]> =
        deb822::paragraphs(before).map(|it| (key(&it), it.text())).collect();
    let new = deb822::paragraphs(after).filter(|it| old.get(&key(it)) != Some(&it.text()));
    new.flat_map(|it| [it.text(), b"\n\n"].concat()).collect()
}

/// The packages of `before` that `after` has not: `NAME:ARCHITECTURE`, one a line.
pub(super) fn removed(before: &[u8], after: &[u8]) -> Vec<u8> {
    let left: HashSet<Key<'_>> = deb822::paragraphs(after).map(|it| key(&it)).collect();
    let gone = deb822::paragraphs(before).map(|it| key(&it)).filter(|key| !left.contains(key));
    gone.flat_map(|(name, architecture)| [name, b":", architecture, b"\n"].concat()).collect()
}

/// The names of packages of a status file's text.
pub(super) fn names(status: &[u8]) -> impl Iterator<Item = String> {
    let names = deb822::paragraphs(status).filter_map(|it| it.field("Package"));
    names.map(|name| String::from_utf8_lossy(name).into_owned())
}

/// The groups of `size` lines of `after` that `before` has not.
pub(super) fn added_lines(before: &[u8], after: &[u8], size: usize) -> Vec<u8> {
    let groups = |text| {
        let lines: Vec<&[u8]> = lines(text).collect();
        lines.chunks_exact(size).map(<[&[u8]]>::to_vec).collect::<Vec<_>>()
    };
    let old = groups(before);
    let new = groups(after).into_iter().filter(|group| !old.contains(group));
    new.flatten().flat_map(|line| [line, b"\n"].concat()).collect()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

/// The version of a package that is installed, of a status file's text.
pub(super) fn version(status: &[u8], package: &str) -> Option<String> {
    let installed = |it: &Paragraph<'_>| {
        it.field("Package") == Some(package.as_bytes())
            && it.field("Status").is_some_and(|status| status.ends_with(b" installed"))
    };
    let found = deb822::paragraphs(status).find(installed)?.field("Version")?;
    Some(String::from_utf8_lossy(found).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &[u8] = b"Package: a\nArchitecture: all\nVersion: 1\nStatus: install ok installed\n\n\
        Package: b\nArchitecture: amd64\nVersion: 1\n\nPackage: b\nArchitecture: i386\nVersion: 1\n";
    const AFTER: &[u8] = b"Package: a\nArchitecture: all\nVersion: 2\nStatus: install ok installed\n\n\
        Package: b\nArchitecture: amd64\nVersion: 1\n\nPackage: c\nArchitecture: amd64\nVersion: 3\n\n";

    #[test]
    fn new_and_changed_paragraphs_are_added_and_those_that_are_gone_removed() {
        assert_eq!(
            String::from_utf8(added(BEFORE, AFTER)).unwrap(),
            "Package: a\nArchitecture: all\nVersion: 2\nStatus: install ok installed\n\n\
             Package: c\nArchitecture: amd64\nVersion: 3\n\n"
        );
        assert_eq!(removed(BEFORE, AFTER), b"b:i386\n");
        assert_eq!(added(AFTER, AFTER), b"");
        assert_eq!(removed(b"", AFTER), b"");
    }

    #[test]
    fn diversions_are_groups_of_three_lines() {
        let (one, two) = ("/a\n/a.x\np\n", "/b\n/b.x\np\n");
        let both = format!("{one}{two}");
        assert_eq!(added_lines(one.as_bytes(), both.as_bytes(), 3), two.as_bytes());
        assert_eq!(
            added_lines(b"root root 755 /a\n", b"root root 755 /b\n", 1),
            b"root root 755 /b\n"
        );
    }

    #[test]
    fn only_an_installed_package_has_a_version() {
        assert_eq!(version(AFTER, "a").as_deref(), Some("2"));
        assert_eq!(version(AFTER, "c"), None);
    }
}
