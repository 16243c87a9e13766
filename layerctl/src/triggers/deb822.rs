//! Paragraphs of deb822(5), as far as dpkg's database needs: told apart by package and architecture, otherwise left as they
//! are, byte for byte.

/// A paragraph: its lines, without the empty one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paragraph<'a> {
    text: &'a [u8],
}

impl<'a> Paragraph<'a> {
    /// Its lines, without the line feed of the last one.
    pub(crate) fn text(&self) -> &'a [u8] {
        self.text.strip_suffix(b"\n").unwrap_or(self.text)
    }

    /// A field's value on its first line; names are told apart without regard to case.
    pub(crate) fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.text.split(|&byte| byte == b'\n').find_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (key, value) = line.split_at_checked(colon)?;
            let value = value.get(1..).unwrap_or_default();
            key.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
        })
    }

    fn package(&self) -> Option<&'a [u8]> {
        self.field("Package").filter(|name| !name.is_empty())
    }

    fn architecture(&self) -> &'a [u8] {
        self.field("Architecture").unwrap_or_default()
    }

    fn is_same_everywhere(&self) -> bool {
        self.field("Multi-Arch") == Some(b"same")
    }

    /// Whether this one takes the other's place. Only a package that says so may be there in several architectures.
    fn replaces(&self, other: &Self) -> bool {
        self.package() == other.package()
            && (self.architecture() == other.architecture()
                || !(self.is_same_everywhere() && other.is_same_everywhere()))
    }
}

/// The paragraphs of a text.
pub(crate) fn paragraphs(text: &[u8]) -> impl Iterator<Item = Paragraph<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (line, below) = first_line(rest)?;
            if !line.trim_ascii().is_empty() {
                break;
            }
            rest = below;
        }
        let whole = rest;
        let mut length = 0;
        while let Some((line, below)) = first_line(rest) {
            rest = below;
            if line.trim_ascii().is_empty() {
                break;
            }
            length = whole.len() - below.len();
        }
        let text = whole.get(..length).unwrap_or_default();
        Some(Paragraph { text: text.strip_suffix(b"\n").unwrap_or(text) })
    })
}

/// The first line of a text and what comes after its line feed.
fn first_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
    Some((text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default()))
}

/// One package of a list of packages: `NAME`, or `NAME:ARCHITECTURE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackageName<'a> {
    name: &'a [u8],
    architecture: Option<&'a [u8]>,
}

impl<'a> PackageName<'a> {
    /// The packages of a text with one on each line.
    pub(super) fn list(text: &'a [u8]) -> Vec<Self> {
        let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| !line.is_empty()).map(Self::new).collect()
    }

    pub(super) fn new(text: &'a [u8]) -> Self {
        let mut parts = text.splitn(2, |&byte| byte == b':');
        Self { name: parts.next().unwrap_or_default(), architecture: parts.next() }
    }

    /// Whether a name means this package: one without architecture means every one of that name.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.name == other.name
            && (self.architecture.is_none() || self.architecture == other.architecture)
    }

    /// Whether the package of this name and architecture may be meant.
    pub(super) fn may_be(&self, name: &[u8], architecture: &[u8]) -> bool {
        self.name == name && self.architecture.is_none_or(|it| it == architecture)
    }

    fn means(&self, paragraph: &Paragraph<'_>) -> bool {
        paragraph.package().is_some_and(|name| self.may_be(name, paragraph.architecture()))
    }
}

/// A status file without the packages that are gone, and with those of another text: each in the place of the one that it
/// replaces, else at the end. A paragraph to add that has no package is left out.
pub(super) fn merge(status: &[u8], gone: &[PackageName<'_>], added: &[u8]) -> Vec<u8> {
    let mut merged: Vec<Paragraph<'_>> = paragraphs(status)
        .filter(|paragraph| !gone.iter().any(|name| name.means(paragraph)))
        .collect();
    for new in paragraphs(added).filter(|paragraph| paragraph.package().is_some()) {
        let mut placed = false;
        merged.retain_mut(|old| {
            if !new.replaces(old) {
                return true;
            }
            if !placed {
                *old = new;
            }
            !std::mem::replace(&mut placed, true)
        });
        if !placed {
            merged.push(new);
        }
    }
    let mut text = Vec::with_capacity(status.len() + added.len() + 1);
    for paragraph in merged {
        text.extend_from_slice(paragraph.text);
        text.extend_from_slice(b"\n\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(status: &str, gone: &str, added: &str) -> String {
        let gone = PackageName::list(gone.as_bytes());
        String::from_utf8(merge(status.as_bytes(), &gone, added.as_bytes())).unwrap()
    }

    const BASE: &str = "Package: a\nArchitecture: all\nVersion: 1\n\n\
         Package: lib\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1\nDescription: x\n .\n more\n\n\
         Package: z\nArchitecture: amd64\n";

    #[test]
    fn a_package_is_replaced_in_its_place_or_comes_last() {
        let added =
            "Package: new\nArchitecture: amd64\n\npackage: a\narchitecture: amd64\nVersion: 2\n";
        let text = merged(BASE, "", added);
        let names: Vec<_> = paragraphs(text.as_bytes())
            .map(|it| String::from_utf8_lossy(it.field("Package").unwrap()).into_owned())
            .collect();
        assert_eq!(names, ["a", "lib", "z", "new"]);
        assert!(text.starts_with("package: a\narchitecture: amd64\nVersion: 2\n\n"));
        assert!(text.contains("Description: x\n .\n more\n\n"), "{text}");
    }

    #[test]
    fn only_packages_that_say_so_are_there_in_two_architectures() {
        let other = "Package: lib\nArchitecture: i386\nMulti-Arch: same\n";
        assert_eq!(paragraphs(merged(BASE, "", other).as_bytes()).count(), 4);
        assert_eq!(
            paragraphs(merged(BASE, "", "Package: z\nArchitecture: i386\n").as_bytes()).count(),
            3
        );
        let both = merged(BASE, "", other);
        assert_eq!(paragraphs(merged(&both, "lib:amd64\n", "").as_bytes()).count(), 3);
        assert_eq!(paragraphs(merged(&both, "\nlib\n", "").as_bytes()).count(), 2);
    }

    #[test]
    fn a_paragraph_that_is_no_package_is_not_added() {
        assert_eq!(merged("", "", "Source: x\n\n \n\t\nPackage:\n\nPackage: x"), "Package: x\n\n");
    }

    proptest! {
        #[test]
        fn anything_is_merged_and_once_is_enough(
            status in prop::collection::vec(prop::sample::select(b"Package: abM\n\n\t:same\xff".to_vec()), 0..200),
            // One paragraph a package, as dpkg's own.
            added in "(Package: a\nArchitecture: [xy]\n(Multi-Arch: same\n)?(X: .*\n)?\n)?(Package: b\nArchitecture: x\n?)?",
        ) {
            let once = merge(&status, &[], added.as_bytes());
            prop_assert_eq!(&merge(&once, &[], added.as_bytes()), &once);
            for paragraph in paragraphs(added.as_bytes()) {
                let there = |it: Paragraph<'_>| it.package() == paragraph.package();
                prop_assert!(paragraphs(&once).any(there));
            }
            // What no added package replaces is there as it was, and in its order.
            let names: Vec<_> = paragraphs(added.as_bytes()).map(|it| it.package()).collect();
            let other = |it: &Paragraph<'_>| !names.contains(&it.package()) || it.package().is_none();
            let before: Vec<_> = paragraphs(&status).filter(other).collect();
            let after: Vec<_> = paragraphs(&once).filter(other).collect();
            prop_assert_eq!(before, after);
        }

        #[test]
        fn what_is_gone_is_gone(names in prop::collection::vec("[a-c]", 0..4)) {
            let status: String = ["a", "b", "c"].map(|name| format!("Package: {name}\nArchitecture: x\n\n")).concat();
            let list = names.join("\n");
            let left = merged(&status, &list, "");
            for name in ["a", "b", "c"] {
                prop_assert_eq!(left.contains(&format!("Package: {name}\n")), !names.iter().any(|it| it == name));
            }
        }
    }
}
