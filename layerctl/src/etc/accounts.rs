//! Account files of another generation: merged by key into the current ones, never put in their place.

#![expect(clippy::disallowed_methods, reason = "reads and locks account files")]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use layers::etc::accounts::{Database, Input, References, Upper, Versions, merge};
use layers::etc::report::Note;
use layers::plan::change::Refusal;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use super::edits::Edit;
use super::tree::Tree;
use crate::error::Error;

/// The lock that programs hold which change account files (lckpwdf(3)); it is given back when the file is closed.
pub(crate) fn lock() -> Result<File, Error> {
    let path = Path::new("/etc/.pwd.lock");
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::io("open", path, error))?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::AGAIN | Errno::ACCESS) => {
            let what = "another program is changing accounts";
            Err(Refusal::new(what, "wait until it has ended, then try again").into())
        }
        Err(error) => Err(Error::io("lock", path, error)),
    }
}

/// What a merge comes to.
pub(crate) struct Merged {
    /// New texts of account files.
    pub(crate) edits: Vec<Edit>,
    /// What is to be told.
    pub(crate) notes: Vec<Note>,
}

/// Whether a path is an account file that all three views have as a regular file.
pub(crate) fn is_merged(path: &Path, image: &Tree, source: &Tree, current: &Tree) -> bool {
    let is_file = |tree: &Tree| tree.get(path).is_some_and(|entry| entry.is_file());
    Database::ALL.iter().any(|database| database.path() == path)
        && is_file(source)
        && is_file(current)
        && (is_file(image) || image.get(path).is_none())
}

/// Merges what leads from `image` to `source` into `current`, in those account files that `wanted` names.
pub(crate) fn bring(
    image: &Tree,
    source: &Tree,
    current: &Tree,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<Merged, Error> {
    let mut files = BTreeMap::new();
    for database in Database::ALL {
        let path = database.path();
        if !wanted(path) || !is_merged(path, image, source, current) {
            continue;
        }
        let old = image.get(path).map(|_| read(image, path)).transpose()?;
        let (new, upper) = (Some(read(source, path)?), Upper::Text(read(current, path)?));
        files.insert(database, Versions { old, new, upper });
    }
    let input = Input { files, full: true };
    // Whoever deleted an account there wanted it gone: nothing here is asked whether it refers to it.
    let merged = merge(&input, &References::default());
    let is_new = |database: &Database, text: &Vec<u8>| {
        let upper = input.files.get(database).map(|versions| &versions.upper);
        !matches!(upper, Some(Upper::Text(here)) if here == text)
    };
    let edits = merged.files.into_iter().filter(|(database, text)| is_new(database, text));
    let edits = edits.map(|(database, text)| Edit::Write(database.path().to_owned(), text));
    Ok(Merged { edits: edits.collect(), notes: merged.notes })
}

fn read(tree: &Tree, path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(tree.at(path)).map_err(|error| Error::io("read", &Path::new("/etc").join(path), error))
}
