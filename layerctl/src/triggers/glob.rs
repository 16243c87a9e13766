//! Patterns for paths: `*` and `?` stay inside of a name, `[a-z]` is one of these characters, `**` as a whole name is any
//! number of directories, or at the end everything below. A pattern that begins with `!` takes paths out again.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no pattern: {why}")]
pub(crate) struct GlobError {
    text: String,
    why: &'static str,
}

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Glob {
    text: String,
    /// Names of the path, one for each directory; all of them bytes.
    names: Vec<Name>,
    /// What comes before the first special character: most paths are told by it.
    prefix: usize,
    excludes: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// `**`
    Any,
    One(Vec<Part>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// `?`
    Single,
    /// `*`
    Run,
    /// `[…]`, as ranges.
    Class(Vec<(u8, u8)>),
}

impl FromStr for Glob {
    type Err = GlobError;
    fn from_str(text: &str) -> Result<Self, GlobError> {
        let error = |why| GlobError { text: text.to_owned(), why };
        let (path, excludes) = match text.strip_prefix('!') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let below = path.strip_prefix('/').ok_or_else(|| error("it does not begin with /"))?;
        let mut names = Vec::new();
        for name in below.split('/') {
            names.push(match name {
                "" | "." | ".." => return Err(error("it has a name that is empty, . or ..")),
                "**" => Name::Any,
                name => Name::One(parts(name.as_bytes()).map_err(error)?),
            });
        }
        let special = path.find(['*', '?', '[']).unwrap_or(path.len());
        Ok(Self { text: text.to_owned(), names, prefix: special, excludes })
    }
}

fn parts(name: &[u8]) -> Result<Vec<Part>, &'static str> {
    let mut parts = Vec::new();
    let mut bytes = name.iter().copied();
    while let Some(byte) = bytes.next() {
        parts.push(match byte {
            b'?' => Part::Single,
            b'*' if parts.last() == Some(&Part::Run) => return Err("** stands beside something"),
            b'*' => Part::Run,
            b'[' => Part::Class(class(&mut bytes)?),
            byte => Part::Byte(byte),
        });
    }
    Ok(parts)
}

fn class(bytes: &mut impl Iterator<Item = u8>) -> Result<Vec<(u8, u8)>, &'static str> {
    let mut members = Vec::new();
    loop {
        match bytes.next().ok_or("[ has no ]")? {
            b']' if !members.is_empty() => break,
            byte => members.push(byte),
        }
    }
    let mut ranges = Vec::new();
    let mut rest = members.as_slice();
    loop {
        rest = match rest {
            [] => return Ok(ranges),
            [first, b'-', last, more @ ..] => {
                ranges.push((*first, *last));
                more
            }
            [one, more @ ..] => {
                ranges.push((*one, *one));
                more
            }
        };
    }
}

impl Glob {
    /// Whether a path from the root on, with or without its first `/`, is one of this pattern. What `!` means is for lists.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        let path = path.as_os_str().as_bytes();
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let prefix = self.path().as_bytes().get(1..self.prefix).unwrap_or_default();
        if !path.starts_with(prefix) {
            return false;
        }
        let names: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
        names_match(&self.names, &names)
    }

    /// The pattern without its `!`.
    pub(crate) fn path(&self) -> &str {
        self.text.strip_prefix('!').unwrap_or(&self.text)
    }

    /// How many names it has, where each stands for one.
    pub(crate) fn depth(&self) -> Option<usize> {
        (!self.names.contains(&Name::Any)).then_some(self.names.len())
    }
}

/// Whether a path is one of a list of patterns: of one at least, and of none that begins with `!`.
pub(crate) fn any(list: &[Glob], path: &Path) -> bool {
    let matches = |excludes| {
        list.iter().filter(move |glob| glob.excludes == excludes).any(|glob| glob.matches(path))
    };
    matches(false) && !matches(true)
}

fn names_match(pattern: &[Name], names: &[&[u8]]) -> bool {
    match pattern.split_first() {
        None => names.is_empty(),
        Some((Name::Any, [])) => !names.is_empty(),
        Some((Name::Any, rest)) => {
            (0..=names.len()).any(|skip| names_match(rest, names.get(skip..).unwrap_or_default()))
        }
        Some((Name::One(parts), rest)) => match names.split_first() {
            Some((name, below)) => name_matches(parts, name) && names_match(rest, below),
            None => false,
        },
    }
}

/// With one place to go back to, the last `*`: no pattern takes more than pattern times name.
fn name_matches(parts: &[Part], name: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let here = match (parts.get(of), name.get(at)) {
            (None, None) => return true,
            (Some(Part::Run), _) => {
                back = Some((of, at));
                of += 1;
                continue;
            }
            (Some(part), Some(&byte)) => part.takes(byte),
            _ => false,
        };
        if here {
            (at, of) = (at + 1, of + 1);
        } else if let Some((run, from)) = back.filter(|(_, from)| *from < name.len()) {
            back = Some((run, from + 1));
            (at, of) = (from + 1, run + 1);
        } else {
            return false;
        }
    }
}

impl Part {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::Single | Self::Run => true,
            Self::Class(ranges) => ranges.iter().any(|(from, to)| (*from..=*to).contains(&byte)),
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl TryFrom<String> for Glob {
    type Error = GlobError;
    fn try_from(text: String) -> Result<Self, GlobError> {
        text.parse()
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        glob.parse::<Glob>().unwrap().matches(Path::new(path))
    }

    #[test]
    fn a_star_stays_inside_of_a_name() {
        assert!(matches("/etc/*.conf", "/etc/a.conf") && matches("/etc/*.conf", "etc/.conf"));
        assert!(!matches("/etc/*.conf", "/etc/a/b.conf") && !matches("/etc/*.conf", "/etc/a.con"));
        assert!(matches("/a/*b*c", "/a/xbxbxc") && !matches("/a/*b*c", "/a/xbxbx"));
        assert!(matches("/a/?", "/a/b") && !matches("/a/?", "/a") && !matches("/a/?", "/a/bc"));
        assert!(matches("/a/*", "/a/b") && !matches("/a/*", "/a"));
    }

    #[test]
    fn two_stars_are_directories() {
        assert!(matches("/usr/lib/**/*.so*", "/usr/lib/x.so"));
        assert!(matches("/usr/lib/**/*.so*", "/usr/lib/a/b/x.so.1"));
        assert!(!matches("/usr/lib/**/*.so*", "/usr/lib64/x.so"));
        assert!(matches("/a/**", "/a/b") && matches("/a/**", "/a/b/c") && !matches("/a/**", "/a"));
    }

    #[test]
    fn a_class_is_one_character() {
        assert!(matches("/c/[0-9a-f]*.[0-9]", "/c/1234abcd.0"));
        assert!(!matches("/c/[0-9a-f]*.[0-9]", "/c/x.0"));
        assert!(matches("/c/[]x-]", "/c/]") && matches("/c/[]x-]", "/c/-"));
    }

    #[test]
    fn an_exclamation_mark_takes_out() {
        let list: Vec<Glob> =
            ["/m/**", "!/m/p/**", "!/m/p"].map(|glob| glob.parse().unwrap()).into();
        assert!(any(&list, Path::new("/m/x")) && any(&list, Path::new("/m/q/x")));
        assert!(!any(&list, Path::new("/m/p")) && !any(&list, Path::new("/m/p/x")));
        assert!(!any(&list, Path::new("/n")));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in
            ["", "etc/x", "/", "/etc//x", "/etc/../x", "/etc/x/", "/a/[b", "/a/[]", "/a/**b", "!"]
        {
            assert!(bad.parse::<Glob>().is_err(), "{bad}");
        }
    }

    #[test]
    fn many_stars_end_soon() {
        let glob = format!("/{}b", "a*".repeat(40));
        assert!(!matches(&glob, &format!("/{}", "a".repeat(2000))));
    }
}
