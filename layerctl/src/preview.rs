//! What emptying an upper would take away and what it would keep.

#![expect(clippy::disallowed_methods, reason = "reads uppers")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Error;

/// How much is at a path of an upper, with all that is below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Amount {
    /// Files, links, devices, deletions; no directories.
    pub(crate) entries: u64,
    /// Their length.
    pub(crate) bytes: u64,
}

/// What is in an upper, by what becomes of it. Paths are relative to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Preview {
    /// Top-level entries and what goes of each.
    pub(crate) goes: BTreeMap<PathBuf, Amount>,
    /// What the patterns name.
    pub(crate) stays: BTreeMap<PathBuf, Amount>,
}

impl Preview {
    /// Looks through the upper directories `tops`, which need not be there; `keep` are patterns relative to them.
    pub(crate) fn of(tops: &[PathBuf], keep: &[String]) -> Result<Self, Error> {
        let mut preview = Self::default();
        tops.iter().try_for_each(|top| preview.look(top, keep))?;
        // A directory of which nothing goes but the entry that the kept path is in.
        preview.goes.retain(|top, amount| {
            amount.entries > 0 || preview.stays.keys().all(|path| !path.starts_with(top))
        });
        Ok(preview)
    }

    fn look(&mut self, top: &Path, keep: &[String]) -> Result<(), Error> {
        let mut todo = vec![PathBuf::new()];
        while let Some(inside) = todo.pop() {
            let directory = top.join(&inside);
            let listing = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listing => listing.map_err(|error| Error::io("read", &directory, error))?,
            };
            for entry in listing {
                let entry = entry.map_err(|error| Error::io("read", &directory, error))?;
                let path = inside.join(entry.file_name());
                let metadata =
                    entry.metadata().map_err(|error| Error::io("read", &entry.path(), error))?;
                let is_directory = metadata.is_dir();
                let amount = Amount {
                    entries: u64::from(!is_directory),
                    bytes: if is_directory { 0 } else { metadata.size() },
                };
                self.add(&path, keep, amount);
                if is_directory {
                    todo.push(path);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, keep: &[String], amount: Amount) {
        let kept = keep.iter().filter_map(|pattern| kept(path, pattern)).min_by_key(|path| {
            // Of several, the one that the others are below.
            path.components().count()
        });
        let sum = match (kept, path.components().next()) {
            (Some(kept), _) => self.stays.entry(kept).or_default(),
            (None, Some(top)) => self.goes.entry(PathBuf::from(top.as_os_str())).or_default(),
            (None, None) => return,
        };
        sum.entries += amount.entries;
        sum.bytes += amount.bytes;
    }
}

/// The entry that a pattern names, if `path` is that entry or lies below it. The pattern's last name may end in `*`.
fn kept(path: &Path, pattern: &str) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    let mut names = path.components();
    let wanted: Vec<&str> = pattern.split('/').collect();
    for (place, wanted_name) in wanted.iter().enumerate() {
        let name = names.next()?.as_os_str();
        let prefix = wanted_name.strip_suffix('*').filter(|_| place + 1 == wanted.len());
        let matches = match prefix {
            Some(prefix) => name.as_encoded_bytes().starts_with(prefix.as_bytes()),
            None => name == *wanted_name,
        };
        if !matches {
            return None;
        }
        found.push(name);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_entries_and_what_is_below() {
        let kept = |path: &str, pattern| kept(Path::new(path), pattern);
        assert_eq!(kept("machine-id", "machine-id"), Some("machine-id".into()));
        assert_eq!(kept("machine-id.old", "machine-id"), None);
        assert_eq!(kept("ssh/ssh_host_x", "ssh/ssh_host_*"), Some("ssh/ssh_host_x".into()));
        assert_eq!(kept("ssh", "ssh/ssh_host_*"), None);
        assert_eq!(kept("ssh/x", "ssh/ssh_host_*"), None);
        assert_eq!(kept("nm/a/b", "nm"), Some("nm".into()));
        assert_eq!(kept("nm/a/b", "nm/*"), Some("nm/a".into()));
        assert_eq!(kept("a*/b", "a*/b"), Some("a*/b".into()));
        assert_eq!(kept("ab/b", "a*/b"), None);
    }
}
