//! Paths in a tree that is not this process's root: links in it lead nowhere else.

#![expect(clippy::disallowed_methods, reason = "asks the kernel where a path leads")]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

/// What there is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A file, directory or link.
    File,
    /// The mark by which OverlayFS hides what is below.
    Whiteout,
    /// Nothing.
    Nothing,
}

/// Looks for `path` in the tree at `root`. A link at the end counts itself.
pub(super) fn find(root: &Path, path: &str) -> io::Result<Found> {
    let Some(file) = open_in(root, Path::new(path), OFlags::NOFOLLOW)? else {
        return Ok(Found::Nothing);
    };
    let stat = fstat(&file)?;
    let device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    Ok(if device && stat.st_rdev == 0 { Found::Whiteout } else { Found::File })
}

/// Where `path` leads in the tree at `root`, links followed: relative to `root`; `None` where there is nothing.
pub(super) fn resolve(root: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(file) = open_in(root, path, OFlags::empty())? else { return Ok(None) };
    let full = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(full.strip_prefix(root).ok().map(Path::to_owned))
}

fn open_in(root: &Path, path: &Path, flags: OFlags) -> io::Result<Option<OwnedFd>> {
    let base = OFlags::PATH | OFlags::CLOEXEC;
    let top = open(root, base | OFlags::DIRECTORY, Mode::empty())?;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match openat2(&top, path, base | flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
