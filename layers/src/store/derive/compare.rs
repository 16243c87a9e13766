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

/// An entry's attributes; none if nothing is there.
///
/// # Errors
/// Whatever the file system answers but that nothing is there.
pub(super) fn look(path: &Path) -> Result<Option<Stat>, HostError> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
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
        Self { xattrs: Xattrs::new(), one: vec![0; 64 << 10], other: vec![0; 64 << 10] }
    }

    /// Whether two entries are the same; of directories, without what is in them.
    pub(super) fn equal(
        &mut self,
        (one, stat): (&Path, &Stat),
        (other, other_stat): (&Path, &Stat),
    ) -> Result<bool, HostError> {
        if !same_attributes(stat, other_stat) {
            return Ok(false);
        }
        self.same_content(one, other, kind(stat))
            .and_then(|same| Ok(same && self.xattrs.equal(one, other)?))
            .map_err(|error| HostError::io("compare", one, error))
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

    fn same_content(&mut self, one: &Path, other: &Path, kind: FileType) -> io::Result<bool> {
        match kind {
            FileType::RegularFile => self.same_bytes(open(one)?, open(other)?),
            FileType::Symlink => {
                Ok(readlinkat(CWD, one, Vec::new())? == readlinkat(CWD, other, Vec::new())?)
            }
            _ => Ok(true),
        }
    }

    /// Both are read to the same length each time: their sizes are equal, and a short read is filled up.
    fn same_bytes(&mut self, mut one: File, mut other: File) -> io::Result<bool> {
        loop {
            let length = fill(&mut one, &mut self.one)?;
            if length != fill(&mut other, &mut self.other)? {
                return Ok(false);
            }
            if self.one.get(..length) != self.other.get(..length) {
                return Ok(false);
            }
            if length < self.one.len() {
                return Ok(true);
            }
        }
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

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
