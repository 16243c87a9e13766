//! What an upper changes of the images that it lies on.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::gather::{Views, gather};
use crate::etc::entry::{Entry, Lower, What};
use crate::exec::HostError;
use crate::store::copy::{below, read_directory, walk};
use crate::store::xattr::Xattrs;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The path, relative to /etc; empty for /etc itself.
    pub path: PathBuf,
    /// What is different.
    pub kind: ChangeKind,
}

/// The kinds of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// The images do not have it.
    Added,
    /// The images have it with other content, owner, mode, attributes or of another type.
    Modified,
    /// The images have it, and it is not seen.
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

/// Lists how an upper differs from the merged view of what it lies on, sorted by path. An entry that equals the
/// images' is not listed; a directory only where itself is added or has other attributes; what is in an added
/// directory is listed; of a deleted directory, the directory alone.
///
/// # Errors
/// Whatever the file systems answer.
pub fn changes(upper: &Path, lower: &Path) -> Result<Vec<Change>, HostError> {
    let mut xattrs = Xattrs::new();
    let found = walk(upper, &mut |here, _| xattrs.marks(here.path))?;
    let entries = gather(found, &Views { upper, old: None, new: lower })?;
    let mut list = Vec::new();
    let mut hidden: Vec<bool> = Vec::with_capacity(entries.len());
    for entry in &entries {
        let above = entry.parent.and_then(|parent| hidden.get(parent)).copied().unwrap_or(false);
        let hides = match entry.upper {
            What::Directory { opaque } => above || opaque,
            _ => false,
        };
        hidden.push(hides);
        let kind = match (entry.upper, entry.new.is) {
            (What::Whiteout, Lower::Absent) => None,
            (What::Whiteout, _) => Some(ChangeKind::Deleted),
            (_, Lower::Absent) => Some(ChangeKind::Added),
            _ => (!entry.new.equal).then_some(ChangeKind::Modified),
        };
        list.extend(kind.map(|kind| Change { path: entry.path.clone(), kind }));
        if hides && entry.new.is == Lower::Directory {
            hidden_entries(entry, upper, lower, &mut list)?;
        }
    }
    list.sort();
    Ok(list)
}

/// What the images have in a directory that hides it, and the upper has not.
fn hidden_entries(
    entry: &Entry,
    upper: &Path,
    lower: &Path,
    list: &mut Vec<Change>,
) -> Result<(), HostError> {
    let names = |top: &Path| {
        let path = below(top, &entry.path);
        let read = read_directory(&path).map(|(_, names)| names);
        read.map_err(|error| HostError::io("read", &path, error))
    };
    let mine = names(upper)?;
    for name in names(lower)?.iter().filter(|name| mine.binary_search(name).is_err()) {
        let path = entry.path.join(OsStr::from_bytes(name.as_bytes()));
        list.push(Change { path, kind: ChangeKind::Deleted });
    }
    Ok(())
}
