//! What triggers write: put into an upper beforehand, and afterwards cut down to what the trigger layer keeps.

#![expect(clippy::disallowed_methods, reason = "writes and removes files of an upper")]

use std::collections::BTreeSet;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, lremovexattr, utimensat};
use rustix::io::Errno;

use super::table::Table;
use super::union::{Union, is_whiteout};
use crate::error::Error;

/// OverlayFS gives it to every directory that it makes in an upper.
const OPAQUE: &str = "trusted.overlay.opaque";

/// The directory that gets what is written.
pub(super) struct Upper<'a> {
    path: &'a Path,
    union: &'a Union<'a>,
}

impl<'a> Upper<'a> {
    /// Makes an empty one, whose root is the union's.
    pub(super) fn new(path: &'a Path, union: &'a Union<'a>) -> Result<Self, Error> {
        let upper = Self::opened(path, union);
        upper.directory(Path::new("/"))?;
        Ok(upper)
    }

    /// One that is there.
    pub(super) fn opened(path: &'a Path, union: &'a Union<'a>) -> Self {
        Self { path, union }
    }

    /// Writes a file, with owner and mode of the one that it takes the place of.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.directory(path.parent().unwrap_or(Path::new("/")))?;
        let to = self.at(path);
        fs::write(&to, bytes).map_err(|error| Error::io("write", &to, error))?;
        match self.union.find(path)? {
            Some(like) if like.metadata.is_file() => same_access(&to, &like.metadata),
            _ => fs::set_permissions(&to, Permissions::from_mode(0o644)),
        }
        .map_err(|error| Error::io("set owner and mode of", &to, error))
    }

    /// Makes a directory and those above it, each like the union's.
    fn directory(&self, path: &Path) -> Result<(), Error> {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for path in above {
            let to = self.at(path);
            match fs::create_dir(&to) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::io("create", &to, error)),
            }
            match self.union.find(path)? {
                Some(like) => same_access(&to, &like.metadata),
                None => fs::set_permissions(&to, Permissions::from_mode(0o755)),
            }
            .map_err(|error| Error::io("set owner and mode of", &to, error))?;
        }
        Ok(())
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Removes all that the table does not keep, that is no link of `links`, or that is as the union has it anyway; gives
    /// every remaining file the time `epoch`, in seconds since 1970. Says whether anything remains.
    pub(super) fn cut(
        &self,
        table: &Table,
        links: &BTreeSet<PathBuf>,
        epoch: u64,
    ) -> Result<bool, Error> {
        let keeps = |path: &Path| table.is_kept(path) || links.contains(path);
        self.cut_directory(Path::new("/"), &keeps, epoch)
    }

    fn cut_directory(
        &self,
        directory: &Path,
        keeps: &dyn Fn(&Path) -> bool,
        epoch: u64,
    ) -> Result<bool, Error> {
        let here = self.at(directory);
        let mut remains = false;
        for entry in fs::read_dir(&here).map_err(|error| Error::io("read", &here, error))? {
            let entry = entry.map_err(|error| Error::io("read", &here, error))?;
            let (at, path) = (entry.path(), directory.join(entry.file_name()));
            let metadata = entry.metadata().map_err(|error| Error::io("read", &at, error))?;
            let stays = if metadata.is_dir() {
                self.cut_directory(&path, keeps, epoch)?
            } else if !keeps(&path) {
                log::debug!("a trigger wrote {}, which no trigger keeps", path.display());
                false
            } else {
                !self.is_below(&path, &at, &metadata)?
            };
            let done = match (stays, metadata.is_dir()) {
                (true, true) => Ok(()),
                (true, false) => set_time(&at, epoch),
                (false, true) => fs::remove_dir(&at),
                (false, false) => fs::remove_file(&at),
            };
            done.map_err(|error| Error::io("settle", &at, error))?;
            remains |= stays;
        }
        if remains {
            self.settle_directory(directory, &here, epoch)?;
        }
        Ok(remains)
    }

    /// A directory hides nothing and has the time of the union's.
    fn settle_directory(&self, path: &Path, at: &Path, epoch: u64) -> Result<(), Error> {
        let below = self.union.find(path)?.filter(|below| below.metadata.is_dir());
        let time = below.map_or(epoch, |below| below.metadata.mtime().try_into().unwrap_or(epoch));
        match lremovexattr(at, OPAQUE) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => set_time(at, time),
            Err(error) => Err(error.into()),
        }
        .map_err(|error| Error::io("settle", at, error))
    }

    /// Whether the union has the same without the upper.
    fn is_below(&self, path: &Path, at: &Path, metadata: &Metadata) -> Result<bool, Error> {
        let Some(below) = self.union.find(path)? else {
            // A deletion of nothing.
            return Ok(is_whiteout(metadata));
        };
        let access = |of: &Metadata| (of.mode(), of.uid(), of.gid());
        if access(&below.metadata) != access(metadata) {
            return Ok(false);
        }
        let read = |error| Error::io("read", at, error);
        if metadata.is_symlink() {
            return Ok(below.target().map_err(read)? == fs::read_link(at).map_err(read)?);
        }
        if !metadata.is_file() || below.metadata.len() != metadata.len() {
            return Ok(false);
        }
        Ok(below.read(path)? == Some(fs::read(at).map_err(read)?))
    }
}

fn same_access(to: &Path, like: &Metadata) -> io::Result<()> {
    chown(to, Some(like.uid()), Some(like.gid()))?;
    fs::set_permissions(to, Permissions::from_mode(like.mode() & 0o7777))
}

fn set_time(path: &Path, seconds: u64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds.try_into().unwrap_or_default(), tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
