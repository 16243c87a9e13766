//! Directories for the time of one run. Each is locked while its run lasts, so that a later one can take away what a run
//! left that was killed.

#![expect(clippy::disallowed_methods, reason = "makes and removes work directories")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use tempfile::TempDir;

use crate::error::Error;

/// How often another name is tried, where a run beside this one takes a new directory for a forgotten one.
const ATTEMPTS: usize = 16;

/// What is in a work directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Files, which go with it.
    Files,
    /// Mounts: it is empty when they are gone, and nothing in it is ever deleted.
    Mounts,
}

/// A directory that is gone with its value.
#[derive(Debug)]
pub(crate) struct WorkDirectory {
    /// None once it is removed.
    directory: Option<TempDir>,
    holds: Holds,
    /// Held as long as the directory is in use.
    _lock: File,
}

impl WorkDirectory {
    /// Makes one below `parent` whose name starts with `prefix`, and takes away those of this user and prefix that no run
    /// uses any more. `prefix` is one that nothing else has there.
    pub(crate) fn new(prefix: &str, parent: &Path, holds: Holds) -> Result<Self, Error> {
        Self::make(prefix, parent, holds)
            .inspect(|made| forget(prefix, parent, holds, made))
            .map_err(|error| Error::io("create a directory in", parent, error))
    }

    /// Makes one in a store, where cleanup finds it: its name starts with `prefix`. Others of that prefix are left alone.
    pub(crate) fn in_store(prefix: &str, parent: &Path) -> Result<Self, Error> {
        Self::make(prefix, parent, Holds::Files)
            .map_err(|error| Error::io("create a directory in", parent, error))
    }

    fn make(prefix: &str, parent: &Path, holds: Holds) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
            if let Some(lock) = lock(directory.path())? {
                return Ok(Self { directory: Some(directory), holds, _lock: lock });
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.as_ref().map_or(Path::new("/"), TempDir::path)
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.take()
            && self.holds == Holds::Mounts
        {
            // Never with what is in it: a mount that is still there is somebody's /etc.
            let _ = fs::remove_dir(directory.keep());
        }
    }
}

/// Opens and locks a directory; `None` where another run has it, or has taken it away.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let directory = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let number = |found: &fs::Metadata| (found.dev(), found.ino());
    match fs::symlink_metadata(path) {
        Ok(there) if number(&there) == number(&directory.metadata()?) => Ok(Some(directory)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(None),
    }
}

/// Removes the directories beside `made` that runs have left which did not live to do it. What cannot be removed now, a
/// later run removes.
fn forget(prefix: &str, parent: &Path, holds: Holds, made: &WorkDirectory) {
    let Ok(own) = fs::metadata(made.path()) else { return };
    let Ok(listing) = fs::read_dir(parent) else { return };
    let named =
        |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes());
    for entry in listing.flatten().filter(named) {
        let path = entry.path();
        let mine = fs::symlink_metadata(&path)
            .is_ok_and(|found| found.is_dir() && found.uid() == own.uid());
        if mine && let Ok(Some(_lock)) = lock(&path) {
            let _ = match holds {
                Holds::Files => fs::remove_dir_all(&path),
                Holds::Mounts => fs::remove_dir(&path),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays_and_what_a_killed_run_left_goes() {
        let parent = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(parent.path()).unwrap().count();
        fs::create_dir_all(parent.path().join(".work-killed/tree")).unwrap();
        fs::create_dir_all(parent.path().join("other")).unwrap();
        let one = WorkDirectory::new(".work-", parent.path(), Holds::Files).unwrap();
        assert_eq!(names(), 2, "one and the other");
        let two = WorkDirectory::new(".work-", parent.path(), Holds::Files).unwrap();
        assert!(one.path().is_dir() && two.path().is_dir());
        drop((one, two));
        assert_eq!(names(), 1);
    }

    #[test]
    fn a_directory_that_another_run_has_taken_away_is_nobodys() {
        let parent = tempfile::tempdir().unwrap();
        assert!(lock(&parent.path().join(".work-gone")).unwrap().is_none());
    }

    #[test]
    fn nothing_is_deleted_where_mounts_are() {
        let parent = tempfile::tempdir().unwrap();
        let work = WorkDirectory::new("work-", parent.path(), Holds::Mounts).unwrap();
        let file = work.path().join("somebody's");
        fs::write(&file, "x").unwrap();
        drop(work);
        assert!(file.is_file());
        let next = WorkDirectory::new("work-", parent.path(), Holds::Mounts).unwrap();
        assert!(file.is_file());
        fs::remove_file(file).unwrap();
        drop(next);
        drop(WorkDirectory::new("work-", parent.path(), Holds::Mounts).unwrap());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
