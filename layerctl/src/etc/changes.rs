//! What one view of /etc has otherwise than another.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::tree::{Entry, Tree};
use crate::error::Error;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// What is different.
    pub(crate) kind: ChangeKind,
    /// Where, relative to /etc.
    pub(crate) path: PathBuf,
}

/// The kinds of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeKind {
    /// Only the second view has it.
    Added,
    /// Both have it, of another type, owner or mode, or with other content or attributes.
    Modified,
    /// Only the first has it.
    Deleted,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Added => "A",
            Self::Modified => "M",
            Self::Deleted => "D",
        })
    }
}

/// The differences that lead from one view to another, sorted by path. All that is in an added directory is listed, of a
/// deleted one itself alone. Times are no difference. `same` compares the contents of two files of one length.
pub(crate) fn changes(
    from: &Tree,
    to: &Tree,
    same: &mut dyn FnMut(&Path) -> Result<bool, Error>,
) -> Result<Vec<Change>, Error> {
    let paths: BTreeSet<&PathBuf> = from.entries().keys().chain(to.entries().keys()).collect();
    let mut found = Vec::new();
    // A directory that is none any more: what was in it needs no line of its own.
    let mut gone: Option<&Path> = None;
    for path in paths {
        let kind = match (from.get(path), to.get(path)) {
            (Some(_), None) if gone.is_some_and(|gone| path.starts_with(gone)) => continue,
            (Some(_), None) => ChangeKind::Deleted,
            (None, Some(_)) => ChangeKind::Added,
            (Some(old), Some(new)) if differs(path, old, new, same)? => ChangeKind::Modified,
            _ => continue,
        };
        let stays = to.get(path).is_some_and(Entry::is_directory);
        if from.get(path).is_some_and(Entry::is_directory) && !stays {
            gone = Some(path);
        }
        found.push(Change { kind, path: path.clone() });
    }
    Ok(found)
}

/// The differences between two views, their files compared.
pub(crate) fn between(from: &Tree, to: &Tree) -> Result<Vec<Change>, Error> {
    changes(from, to, &mut |path| from.same_content(to, path))
}

/// Whether two entries at one path differ.
pub(crate) fn differs(
    path: &Path,
    one: &Entry,
    other: &Entry,
    same: &mut dyn FnMut(&Path) -> Result<bool, Error>,
) -> Result<bool, Error> {
    if one != other {
        return Ok(true);
    }
    Ok(one.is_file() && !same(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etc::tree::Kind::{Directory, File, Link};

    fn lines(from: &Tree, to: &Tree) -> Vec<String> {
        // Files named x are the only ones with other content.
        let mut same = |path: &Path| Ok(!path.ends_with("x"));
        let found = changes(from, to, &mut same).unwrap();
        found.iter().map(|one| format!("{} {}", one.kind, one.path.display())).collect()
    }

    #[test]
    fn differences_are_listed_by_path() {
        let from =
            Tree::made_of([("a", File(1)), ("b", File(1)), ("d/x", File(3)), ("d", Directory)]);
        let to =
            Tree::made_of([("a", File(2)), ("c", File(1)), ("d/x", File(3)), ("d", Directory)]);
        assert_eq!(lines(&from, &to), ["M a", "D b", "A c", "M d/x"]);
        assert_eq!(lines(&from, &from), ["M d/x"]);
    }

    #[test]
    fn directories_that_come_and_go() {
        let with = Tree::made_of([
            ("d", Directory),
            ("d/e", Directory),
            ("d/e/f", File(1)),
            ("da", File(1)),
        ]);
        let without = Tree::made_of([("da", File(1))]);
        let file = Tree::made_of([("d", Link("x".into())), ("da", File(1))]);
        assert_eq!(lines(&with, &without), ["D d"]);
        assert_eq!(lines(&without, &with), ["A d", "A d/e", "A d/e/f"]);
        assert_eq!(lines(&with, &file), ["M d"]);
        assert_eq!(lines(&file, &with), ["M d", "A d/e", "A d/e/f"]);
    }
}
