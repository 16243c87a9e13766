//! Whether two entries of two trees are the same: type, owner, mode, extended attributes, content; never their times.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::exec::HostError;
use crate::store::copy::read_directory;
use crate::store::xattr::Xattrs;

/// How many entries of a directory in an image are compared before it counts as changed.
const MOST: usize = 10_000;

/// An entry's attributes; none if nothing is there or can be.
///
/// # Errors
/// Whatever the file system answers but that nothing is there.
pub(super) fn look(path: &Path) -> Result<Option<Stat>, HostError> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(HostError::io("read", path, error)),
    }
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Compares entries, with buffers that serve all of them.
pub(super) struct Comparer {
    xattrs: Xattrs,
    one: Vec<u8>,
    other: Vec<u8>,
}

impl Comparer {
    pub(super) fn new() -> Self {
        Self { xattrs: Xattrs::default(), one: vec![0; 64 << 10], other: vec![0; 64 << 10] }
    }

    /// Whether two entries are the same; of directories, without what is in them.
    pub(super) fn equal(
        &mut self,
        one: (&Path, &Stat),
        other: (&Path, &Stat),
    ) -> Result<bool, HostError> {
        self.equal_but_xattrs(one, other)
            .and_then(|same| Ok(same && self.xattrs.equal(one.0, other.0)?))
            .map_err(|error| HostError::io("compare", one.0, error))
    }

    /// Whether an entry that has no extended attributes is the same as another.
    pub(super) fn equal_plain(
        &mut self,
        one: (&Path, &Stat),
        other: (&Path, &Stat),
    ) -> Result<bool, HostError> {
        self.equal_but_xattrs(one, other)
            .and_then(|same| Ok(same && !self.xattrs.marks(other.0)?.others))
            .map_err(|error| HostError::io("compare", one.0, error))
    }

    fn equal_but_xattrs(
        &mut self,
        (one, stat): (&Path, &Stat),
        (other, other_stat): (&Path, &Stat),
    ) -> io::Result<bool> {
        if !same_attributes(stat, other_stat) {
            return Ok(false);
        }
        match kind(stat) {
            FileType::RegularFile => {
                let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
                self.same_bytes(open(one)?, open(other)?, size)
            }
            FileType::Symlink => {
                Ok(readlinkat(CWD, one, Vec::new())? == readlinkat(CWD, other, Vec::new())?)
            }
            _ => Ok(true),
        }
    }

    /// Whether two paths hold the same, directories with all that is in them. A very large directory counts as
    /// changed: at worst that is one note too many.
    pub(super) fn same_tree(&mut self, one: &Path, other: &Path) -> Result<bool, HostError> {
        let mut todo: Vec<(PathBuf, PathBuf)> = vec![(one.to_owned(), other.to_owned())];
        let mut seen = 0;
        while let Some((one, other)) = todo.pop() {
            seen += 1;
            let (stat, other_stat) = match (look(&one)?, look(&other)?) {
                (Some(stat), Some(other)) => (stat, other),
                (None, None) => continue,
                _ => return Ok(false),
            };
            if seen > MOST || !self.equal((&one, &stat), (&other, &other_stat))? {
                return Ok(false);
            }
            if kind(&stat) != FileType::Directory {
                continue;
            }
            let names = |path: &Path| {
                let read = read_directory(path).map(|(_, names)| names);
                read.map_err(|error| HostError::io("read", path, error))
            };
            let found = names(&one)?;
            if found != names(&other)? {
                return Ok(false);
            }
            for name in found {
                use std::os::unix::ffi::OsStrExt as _;
                let name = std::ffi::OsStr::from_bytes(name.as_bytes());
                todo.push((one.join(name), other.join(name)));
            }
        }
        Ok(true)
    }

    /// Whether two files of one size are the same.
    fn same_bytes(&mut self, mut one: File, mut other: File, size: usize) -> io::Result<bool> {
        let mut left = size;
        while left > 0 {
            let length = left.min(self.one.len());
            let bytes = self.one.get_mut(..length).unwrap_or_default();
            one.read_exact(bytes)?;
            let others = self.other.get_mut(..length).unwrap_or_default();
            other.read_exact(others)?;
            if bytes != others {
                return Ok(false);
            }
            left -= length;
        }
        Ok(true)
    }
}

fn same_attributes(one: &Stat, other: &Stat) -> bool {
    let device = matches!(kind(one), FileType::CharacterDevice | FileType::BlockDevice);
    // Symbolic links have no mode of their own.
    let modes = kind(one) == FileType::Symlink || one.st_mode == other.st_mode;
    kind(one) == kind(other)
        && modes
        && (one.st_uid, one.st_gid) == (other.st_uid, other.st_gid)
        && (kind(one) == FileType::Directory || one.st_size == other.st_size)
        && (!device || one.st_rdev == other.st_rdev)
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(CWD, path, flags, Mode::empty())?))
}
