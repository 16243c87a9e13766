//! What an image is made from: a directory tree.

#![expect(clippy::disallowed_methods, reason = "looks at directories and archives")]

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
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
        let mut root = real(input)?;
        let Survey { newest, inodes, marked } = Survey::of(&root)?;
        if marked {
            // An overlay's upper: its notes about lowers mean nothing elsewhere and differ from copy to copy.
            let copy = work.join("tree");
            tree::copy_tree(&root, &copy, &mut HashMap::new())?;
            root = copy;
        }
        let contents =
            inspect::tree(&root).map_err(|(path, error)| Error::io("read", &path, error))?;
        Ok(Self { name: input.display().to_string(), root, contents, newest, inodes })
    }
}

fn real(input: &Path) -> Result<PathBuf, Error> {
    input.canonicalize().map_err(|error| Error::io("open", input, error))
}

/// What is to be known of a tree before it is packed.
struct Survey {
    /// The newest modification time in it, in seconds since 1970.
    newest: u64,
    /// How many inodes it has, hard links counted once.
    inodes: u64,
    /// Whether there is anything in it that OverlayFS notes about lowers.
    marked: bool,
}

impl Survey {
    fn of(root: &Path) -> Result<Self, Error> {
        let mut newest = UNIX_EPOCH;
        let (mut inodes, mut marked) = (0, false);
        let mut linked = HashSet::new();
        walk(root, &mut |path, metadata| {
            newest = newest.max(metadata.modified().unwrap_or(UNIX_EPOCH));
            let alone = metadata.is_dir() || metadata.nlink() == 1;
            inodes += u64::from(alone || linked.insert((metadata.dev(), metadata.ino())));
            let failed = |error| Error::io("read attributes of", path, error);
            marked = marked || tree::is_marked(path).map_err(failed)?;
            Ok(())
        })?;
        let newest = newest.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
        Ok(Self { newest, inodes, marked })
    }
}

/// Visits every entry of a tree, its top first; directories are listed after they were visited.
fn walk(
    root: &Path,
    visit: &mut dyn FnMut(&Path, &Metadata) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let failed = |error| Error::io("read", &path, error);
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        visit(&path, &metadata)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(failed)? {
                todo.push(entry.map_err(failed)?.path());
            }
        }
    }
    Ok(())
}
