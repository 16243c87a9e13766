//! What an image is made from: a directory tree.

#![expect(clippy::disallowed_methods, reason = "looks at directories and archives")]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use layers::store::inspect::{self, Contents};
use layers::store::tree;

use crate::error::Error;

/// A directory tree that is ready to be packed.
pub(crate) struct SourceTree {
    /// What messages call it.
    pub(crate) name: String,
    /// Its top.
    pub(crate) root: PathBuf,
    /// What it holds.
    pub(crate) contents: Contents,
    /// The newest modification time in it, in seconds since 1970.
    pub(crate) newest: u64,
    /// How many inodes it has, hard links counted once.
    pub(crate) inodes: u64,
}

impl SourceTree {
    /// Opens the directory at `input`; what has to be copied goes below `work`.
    pub(crate) fn open(input: &Path, work: &Path) -> Result<Self, Error> {
        let copy = work.join("tree");
        let root = if any(input, &tree::is_marked)? {
            // An overlay's upper: its notes about lowers mean nothing elsewhere and differ from copy to copy.
            let mut links = HashMap::new();
            tree::copy_tree(&real(input)?, &copy, &mut links)?;
            copy
        } else {
            real(input)?
        };
        let contents =
            inspect::tree(&root).map_err(|(path, error)| Error::io("read", &path, error))?;
        let (newest, inodes) = survey(&root)?;
        Ok(Self { name: input.display().to_string(), root, contents, newest, inodes })
    }
}

fn real(input: &Path) -> Result<PathBuf, Error> {
    input.canonicalize().map_err(|error| Error::io("open", input, error))
}

/// The newest modification time in a tree, in seconds since 1970, and how many inodes it has.
fn survey(root: &Path) -> Result<(u64, u64), Error> {
    let mut newest = UNIX_EPOCH;
    let mut inodes = 0;
    let mut linked = HashSet::new();
    walk(root, &mut |path| {
        let metadata =
            fs::symlink_metadata(path).map_err(|error| Error::io("read", path, error))?;
        newest = newest.max(metadata.modified().unwrap_or(UNIX_EPOCH));
        let alone = metadata.is_dir() || metadata.nlink() == 1;
        inodes += u64::from(alone || linked.insert((metadata.dev(), metadata.ino())));
        Ok(true)
    })?;
    let newest = newest.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok((newest, inodes))
}

fn any(root: &Path, test: &dyn Fn(&Path) -> io::Result<bool>) -> Result<bool, Error> {
    let mut found = false;
    walk(root, &mut |path| {
        found |= test(path).map_err(|error| Error::io("read attributes of", path, error))?;
        Ok(!found)
    })?;
    Ok(found)
}

/// Visits every entry of a tree, its top first, until `visit` says `false`.
fn walk(root: &Path, visit: &mut dyn FnMut(&Path) -> Result<bool, Error>) -> Result<(), Error> {
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        if !visit(&path)? {
            return Ok(());
        }
        let failed = |error| Error::io("read", &path, error);
        // Through the link for the top itself, which the user may have named by one.
        let metadata = if path == root { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        if metadata.map_err(failed)?.is_dir() {
            for entry in fs::read_dir(&path).map_err(failed)? {
                todo.push(entry.map_err(failed)?.path());
            }
        }
    }
    Ok(())
}
