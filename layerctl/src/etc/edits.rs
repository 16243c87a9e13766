//! What has to be done to /etc so that paths are as another view has them.

use std::fmt;
use std::path::{Path, PathBuf};

use layers::etc::decide::STAMP;
use layers::etc::report;
use layers::plan::change::Refusal;

use super::changes::{Change, ChangeKind};
use super::path::EtcPath;
use super::tree::{Entry, Tree};

/// Files that services or tools make anew, and the machine's own name: nobody wants another generation's.
const NOT_BROUGHT: [&str; 11] = [
    STAMP,
    "ld.so.cache",
    "udev/hwdb.bin",
    "machine-id",
    ".pwd.lock",
    "passwd-",
    "group-",
    "shadow-",
    "gshadow-",
    "subuid-",
    "subgid-",
];

/// One thing to do; paths are relative to /etc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Remove what is there, with all in it.
    Delete(PathBuf),
    /// Remove a directory if nothing is in it by then.
    DeleteEmpty(PathBuf),
    /// Make a directory as the other view has it, without what is in it.
    MakeDirectory(PathBuf),
    /// Give a directory owner, mode and attributes of the other view's.
    TakeAttributes(PathBuf),
    /// Put the other view's entry in place of what is there, with all that is in it.
    Replace(PathBuf),
    /// Give a file another text; owner, mode and attributes stay.
    Write(PathBuf, Vec<u8>),
}

impl Edit {
    /// What it changes.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Delete(path)
            | Self::DeleteEmpty(path)
            | Self::MakeDirectory(path)
            | Self::TakeAttributes(path)
            | Self::Replace(path)
            | Self::Write(path, _) => path,
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Delete(_) => "delete",
            Self::DeleteEmpty(_) => "delete directory",
            Self::MakeDirectory(_) => "make directory",
            Self::TakeAttributes(_) => "set owner and mode of",
            Self::Replace(_) => "write",
            Self::Write(..) => "merge",
        };
        write!(f, "{what} {}", report::shown(self.path()))
    }
}

/// What makes each of `paths`, with all that is in it, as `source` has it; `changes` lead from `source` to `current`.
pub(crate) fn as_in(
    source: &Tree,
    current: &Tree,
    changes: &[Change],
    paths: &[EtcPath],
) -> Result<Vec<Edit>, Refusal> {
    let mut edits = Vec::new();
    for path in paths {
        if source.get(path.relative()).is_none() && current.get(path.relative()).is_none() {
            let what = format!("there is no {path}, neither here nor in the other version");
            return Err(Refusal::new(what, "see what differs: layerctl etc status"));
        }
        make_above(source, current, path.relative(), &mut edits)?;
        // What is in a directory that is missing comes with the directory; a path in it comes alone.
        let missing =
            source.get(path.relative()).is_some() && current.get(path.relative()).is_none();
        if missing {
            push(&mut edits, Edit::Replace(path.relative().to_owned()));
            continue;
        }
        for change in changes.iter().filter(|change| path.covers(&change.path)) {
            if !edits.last().is_some_and(|last| takes_along(last, &change.path)) {
                push(&mut edits, undo(source, current, change));
            }
        }
    }
    Ok(edits)
}

/// Whether an edit has dealt with a path below its own already.
fn takes_along(edit: &Edit, path: &Path) -> bool {
    matches!(edit, Edit::Delete(_) | Edit::Replace(_)) && path.starts_with(edit.path())
}

fn undo(source: &Tree, current: &Tree, change: &Change) -> Edit {
    let path = change.path.clone();
    match (change.kind, source.get(&path), current.get(&path)) {
        (ChangeKind::Added, ..) => Edit::Delete(path),
        (_, Some(old), Some(new)) if old.is_directory() && new.is_directory() => {
            Edit::TakeAttributes(path)
        }
        _ => Edit::Replace(path),
    }
}

/// The directories above a path that are not there.
fn make_above(
    source: &Tree,
    current: &Tree,
    path: &Path,
    edits: &mut Vec<Edit>,
) -> Result<(), Refusal> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    for directory in above {
        let here = current.get(directory);
        if here.is_some_and(Entry::is_directory) {
            continue;
        }
        let shown = report::shown(directory);
        if here.is_some() {
            let what = format!("{shown} is no directory here, so nothing can be put into it");
            return Err(Refusal::new(what, format!("name it as a whole: {shown}")));
        }
        if !source.get(directory).is_some_and(Entry::is_directory) {
            let what = format!("there is no directory {shown} to put it into");
            return Err(Refusal::new(what, "see what differs: layerctl etc status"));
        }
        push(edits, Edit::MakeDirectory(directory.to_owned()));
    }
    Ok(())
}

fn push(edits: &mut Vec<Edit>, edit: Edit) {
    if !edits.contains(&edit) {
        edits.push(edit);
    }
}

/// What brings the changes that lead from `image` to `source` into `current`, which keeps all else of its own; `differs`
/// tells whether `source` and `current` have a path otherwise.
pub(crate) fn bring<E>(
    image: &Tree,
    source: &Tree,
    current: &Tree,
    changes: &[Change],
    differs: &mut dyn FnMut(&Path) -> Result<bool, E>,
) -> Result<Vec<Edit>, E> {
    let mut edits: Vec<Edit> = Vec::new();
    for change in changes {
        let path = &change.path;
        if path.as_os_str().is_empty() || NOT_BROUGHT.iter().any(|name| path == Path::new(name)) {
            continue;
        }
        if change.kind == ChangeKind::Deleted {
            edits.extend(delete(image, current, path));
            continue;
        }
        let Some(wanted) = source.get(path) else { continue };
        let here = current.get(path);
        // A directory that another edit has removed or replaced is not there any more.
        let here = here.filter(|_| !edits.iter().any(|edit| takes_along(edit, path)));
        match here {
            Some(_) if !differs(path)? => {}
            Some(here) if wanted.is_directory() && here.is_directory() => {
                edits.push(Edit::TakeAttributes(path.clone()));
            }
            here if wanted.is_directory() => {
                edits.extend(here.map(|_| Edit::Delete(path.clone())));
                edits.push(Edit::MakeDirectory(path.clone()));
            }
            _ => {
                edits.extend(missing_above(source, current, path, &edits));
                edits.push(Edit::Replace(path.clone()));
            }
        }
    }
    Ok(edits)
}

/// Directories of the images that `source` has and `current` has not.
fn missing_above(source: &Tree, current: &Tree, path: &Path, edits: &[Edit]) -> Vec<Edit> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let made = |directory: &Path| edits.contains(&Edit::MakeDirectory(directory.to_owned()));
    let mut needed = Vec::new();
    for directory in above.into_iter().filter(|directory| !made(directory)) {
        match current.get(directory) {
            Some(here) if here.is_directory() => continue,
            Some(_) => needed.push(Edit::Delete(directory.to_owned())),
            None => {}
        }
        if source.get(directory).is_some() {
            needed.push(Edit::MakeDirectory(directory.to_owned()));
        }
    }
    needed
}

/// Deletes what the images had at a path; what was added there since stays.
fn delete(image: &Tree, current: &Tree, path: &Path) -> Vec<Edit> {
    let below = image.entries().keys().filter(|entry| entry.starts_with(path));
    let there: Vec<&PathBuf> = below.filter(|entry| current.get(entry).is_some()).collect();
    let edit = |entry: &PathBuf| {
        if current.get(entry).is_some_and(Entry::is_directory) {
            Edit::DeleteEmpty(entry.clone())
        } else {
            Edit::Delete(entry.clone())
        }
    };
    // What is in a directory before the directory.
    there.into_iter().rev().map(edit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etc::changes::changes;
    use crate::etc::tree::Kind::{self, Directory, File};

    fn tree(entries: &[(&'static str, Kind)]) -> Tree {
        Tree::made_of(entries.iter().cloned())
    }

    fn lines(edits: &[Edit]) -> Vec<String> {
        edits.iter().map(ToString::to_string).collect()
    }

    fn back(source: &Tree, current: &Tree, paths: &[&str]) -> Result<Vec<String>, String> {
        let found = changes(source, current, &mut |_| Ok(true)).unwrap();
        let paths = paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let paths = EtcPath::parse_all(&paths).unwrap();
        as_in(source, current, &found, &paths).map(|edits| lines(&edits)).map_err(|why| why.what)
    }

    fn brought(image: &Tree, source: &Tree, current: &Tree) -> Vec<String> {
        let found = changes(image, source, &mut |_| Ok(true)).unwrap();
        let mut differs = |path: &Path| Ok::<_, ()>(source.get(path) != current.get(path));
        lines(&bring(image, source, current, &found, &mut differs).unwrap())
    }

    #[test]
    fn paths_go_back() {
        let image = tree(&[("a", File(1)), ("d", Directory), ("d/x", File(1)), ("d/y", File(1))]);
        let here = tree(&[
            ("a", File(2)),
            ("b", File(1)),
            ("d", Directory),
            ("d/y", File(2)),
            ("d/z", File(1)),
        ]);
        assert_eq!(back(&image, &here, &["/etc/a"]).unwrap(), ["write /etc/a"]);
        assert_eq!(back(&image, &here, &["/etc/b"]).unwrap(), ["delete /etc/b"]);
        assert_eq!(
            back(&image, &here, &["/etc/d"]).unwrap(),
            ["write /etc/d/x", "write /etc/d/y", "delete /etc/d/z"]
        );
        assert_eq!(back(&image, &image, &["/etc/a"]).unwrap(), [""; 0]);
        assert!(back(&image, &here, &["/etc/c"]).is_err());
    }

    #[test]
    fn types_change_and_directories_come_back() {
        let image =
            tree(&[("d", Directory), ("d/e", Directory), ("d/e/x", File(1)), ("f", File(1))]);
        let here = tree(&[("f", Directory), ("f/x", File(1)), ("g", Directory), ("g/h", File(1))]);
        assert_eq!(back(&image, &here, &["/etc/d"]).unwrap(), ["write /etc/d"]);
        assert_eq!(
            back(&image, &here, &["/etc/d/e/x", "/etc/d/e"]).unwrap(),
            ["make directory /etc/d", "write /etc/d/e"]
        );
        assert_eq!(back(&image, &here, &["/etc/f"]).unwrap(), ["write /etc/f"]);
        assert_eq!(back(&image, &here, &["/etc/g"]).unwrap(), ["delete /etc/g"]);
        let file = tree(&[("d", File(1))]);
        assert!(back(&image, &file, &["/etc/d/e"]).unwrap_err().contains("/etc/d is no directory"));
        assert_eq!(back(&image, &file, &["/etc/d"]).unwrap(), ["write /etc/d"]);
    }

    #[test]
    fn only_what_was_changed_is_brought() {
        let image = tree(&[
            ("a", File(1)),
            ("b", File(1)),
            ("d", Directory),
            ("d/x", File(1)),
            ("d/y", File(1)),
        ]);
        let source = tree(&[
            ("a", File(2)),
            ("b", File(1)),
            ("n", Directory),
            ("n/m", File(1)),
            ("machine-id", File(33)),
        ]);
        let here = tree(&[
            ("a", File(1)),
            ("b", File(5)),
            ("d", Directory),
            ("d/x", File(1)),
            ("d/own", File(1)),
        ]);
        assert_eq!(
            brought(&image, &source, &here),
            [
                "write /etc/a",
                "delete /etc/d/x",
                "delete directory /etc/d",
                "make directory /etc/n",
                "write /etc/n/m"
            ]
        );
        assert_eq!(brought(&image, &source, &source), [""; 0]);
    }

    #[test]
    fn directories_stand_in_the_way_or_are_missing() {
        let image = tree(&[("d", Directory), ("d/x", File(1)), ("f", File(1))]);
        let source =
            tree(&[("d", Directory), ("d/x", File(2)), ("f", Directory), ("f/x", File(1))]);
        let here = tree(&[("f", File(1))]);
        assert_eq!(
            brought(&image, &source, &here),
            [
                "make directory /etc/d",
                "write /etc/d/x",
                "delete /etc/f",
                "make directory /etc/f",
                "write /etc/f/x"
            ]
        );
    }
}
