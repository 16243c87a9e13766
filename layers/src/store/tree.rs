//! Copies of uppers: content, owner, mode, times, extended attributes (ACLs among them), hard links, whiteouts, opaque
//! marks; and their emptying.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, ioctl_ficlone, lgetxattr,
    llistxattr, lsetxattr, mknodat, utimensat,
};

use super::publish;
use crate::exec::HostError;
use crate::plan::Upper;

/// What OverlayFS notes about the lowers under an upper: file handles that mean nothing over other lowers.
const ABOUT_LOWERS: [&str; 3] =
    ["trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.uuid"];

/// Whether an entry of a tree carries what OverlayFS notes about the lowers under an upper.
pub fn is_marked(path: &Path) -> bool {
    ABOUT_LOWERS.iter().any(|name| lgetxattr(path, *name, &mut [0_u8; 0]).is_ok())
}

/// Makes `upper` and `work` if they are missing; a new upper gets owner, mode and attributes of `like`.
pub fn make_upper(upper: &Upper, like: Option<&Path>) -> Result<(), HostError> {
    if !upper.upper.is_dir() {
        let parent = upper.upper.parent().unwrap_or(Path::new("/"));
        make_directories(parent)?;
        let temporary = publish::beside(&upper.upper);
        let done = publish::remove_any(&temporary)
            .and_then(|()| DirBuilder::new().mode(0o755).create(&temporary))
            .and_then(|()| match like.map(fs::metadata) {
                Some(Ok(metadata)) => set_owner_and_mode(&temporary, &metadata),
                _ => Ok(()),
            })
            .and_then(|()| publish::rename(&temporary, &upper.upper));
        done.map_err(|error| HostError::io("create", &upper.upper, error))?;
    }
    match DirBuilder::new().mode(0o700).create(&upper.work) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(HostError::io("create", &upper.work, error))
        }
        _ => Ok(()),
    }
}

/// Copies the upper in `from` to a new directory `to`, published whole.
pub fn clone_upper(from: &Path, to: &Path) -> Result<(), HostError> {
    let temporary = publish::beside(to);
    publish::remove_any(&temporary)
        .and_then(|()| DirBuilder::new().mode(0o700).create(&temporary))
        .map_err(|error| HostError::io("create", &temporary, error))?;
    copy_tree(&from.join("upper"), &temporary.join("upper"))?;
    DirBuilder::new()
        .mode(0o700)
        .create(temporary.join("work"))
        .and_then(|()| rustix::fs::syncfs(File::open(&temporary)?).map_err(io::Error::from))
        .and_then(|()| publish::rename(&temporary, to))
        .map_err(|error| HostError::io("publish", to, error))
}

/// Empties the upper in `dir`, all but the kept paths: a fresh one with these takes its place, then the old one goes.
pub fn wipe_upper(dir: &Path, keep: &[String]) -> Result<(), HostError> {
    let old = dir.join("upper");
    if !old.is_dir() {
        return Ok(());
    }
    let fresh = publish::beside(&old);
    let aside = dir.join(format!("{}wiped", crate::layout::UNPUBLISHED));
    let prepared = publish::remove_any(&fresh).and_then(|()| publish::remove_any(&aside));
    prepared.map_err(|error| HostError::io("clear", dir, error))?;
    copy_entry(&old, &fresh, &mut HashMap::new())?;
    for pattern in keep {
        for path in matches(&old, pattern)? {
            copy_kept(&old, &fresh, &path)?;
        }
    }
    copy_attributes(&old, &fresh)?;
    rustix::fs::renameat_with(CWD, &fresh, CWD, &old, rustix::fs::RenameFlags::EXCHANGE)
        .map_err(io::Error::from)
        .and_then(|()| publish::sync(dir))
        .and_then(|()| fs::rename(&fresh, &aside))
        .and_then(|()| publish::remove_any(&aside))
        .map_err(|error| HostError::io("empty", &old, error))
}

/// The entries of `top` that a relative pattern names; its last component may end in `*`.
fn matches(top: &Path, pattern: &str) -> Result<Vec<PathBuf>, HostError> {
    let (parent, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let Some(prefix) = last.strip_suffix('*') else {
        let path = PathBuf::from(pattern);
        return Ok(if fs::symlink_metadata(top.join(&path)).is_ok() { vec![path] } else { vec![] });
    };
    let directory = top.join(parent);
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let names = sorted(&directory)?;
    let starts = |name: &OsStr| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    Ok(names
        .into_iter()
        .filter(|name| starts(name))
        .map(|name| Path::new(parent).join(name))
        .collect())
}

/// Copies one kept path with the directories above it.
fn copy_kept(from: &Path, to: &Path, path: &Path) -> Result<(), HostError> {
    let mut links = HashMap::new();
    let parents: Vec<&Path> =
        path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).collect();
    for parent in parents.into_iter().rev() {
        if !to.join(parent).is_dir() {
            copy_entry(&from.join(parent), &to.join(parent), &mut links)?;
            copy_attributes(&from.join(parent), &to.join(parent))?;
        }
    }
    copy_tree(&from.join(path), &to.join(path))
}

/// Where the first of several hard links was copied to, by device and inode.
type Links = HashMap<(u64, u64), PathBuf>;

/// Copies a file or a whole tree, without what OverlayFS notes about the lowers; nothing may be at `to`.
pub fn copy_tree(from: &Path, to: &Path) -> Result<(), HostError> {
    // A stack of its own: an upper may be deeper than PID 1's stack allows.
    let mut links = Links::new();
    let mut todo = vec![(from.to_owned(), to.to_owned())];
    let mut directories = Vec::new();
    while let Some((from, to)) = todo.pop() {
        if copy_entry(&from, &to, &mut links)? {
            for name in sorted(&from)? {
                todo.push((from.join(&name), to.join(&name)));
            }
            directories.push((from, to));
        } else {
            copy_attributes(&from, &to)?;
        }
    }
    // Deepest first, after their entries: making an entry changes its directory's times.
    directories.iter().rev().try_for_each(|(from, to)| copy_attributes(from, to))
}

/// Makes one entry with its content, without its attributes; tells whether it is a directory.
fn copy_entry(from: &Path, to: &Path, links: &mut Links) -> Result<bool, HostError> {
    let failed = |error| HostError::io("copy", from, error);
    let metadata = fs::symlink_metadata(from).map_err(failed)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        DirBuilder::new().mode(0o700).create(to).map_err(failed)?;
        return Ok(true);
    }
    let key = (metadata.dev(), metadata.ino());
    if metadata.nlink() > 1 {
        if let Some(first) = links.get(&key) {
            fs::hard_link(first, to).map_err(failed)?;
            return Ok(false);
        }
        links.insert(key, to.to_owned());
    }
    if kind.is_file() {
        copy_content(from, to)
    } else if kind.is_symlink() {
        fs::read_link(from).and_then(|target| std::os::unix::fs::symlink(target, to))
    } else {
        make_node(to, &metadata)
    }
    .map_err(failed)?;
    Ok(false)
}

fn copy_content(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut options = OpenOptions::new();
    let mut target = options.write(true).create_new(true).mode(0o600).open(to)?;
    // Shares the blocks where the file system can (btrfs, xfs).
    if ioctl_ficlone(&target, &source).is_err() {
        io::copy(&mut source, &mut target)?;
    }
    Ok(())
}

/// Whiteouts are character devices 0:0; sockets and pipes are kept as they are.
fn make_node(to: &Path, metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let file_type = if kind.is_char_device() {
        FileType::CharacterDevice
    } else if kind.is_block_device() {
        FileType::BlockDevice
    } else if kind.is_fifo() {
        FileType::Fifo
    } else {
        FileType::Socket
    };
    Ok(mknodat(CWD, to, file_type, Mode::from_raw_mode(0o600), metadata.rdev())?)
}

/// Owner, mode, extended attributes and times of one entry.
fn copy_attributes(from: &Path, to: &Path) -> Result<(), HostError> {
    let failed = |error| HostError::io("copy attributes of", from, error);
    let metadata = fs::symlink_metadata(from).map_err(failed)?;
    if metadata.is_symlink() {
        std::os::unix::fs::lchown(to, Some(metadata.uid()), Some(metadata.gid()))
            .map_err(failed)?;
    } else {
        set_owner_and_mode(to, &metadata).map_err(failed)?;
    }
    copy_xattrs(from, to).map_err(failed)?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| failed(error.into()))
}

/// Owner first: chown(2) takes setuid bits away.
fn set_owner_and_mode(to: &Path, metadata: &Metadata) -> io::Result<()> {
    std::os::unix::fs::lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))
}

fn copy_xattrs(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0; 64 << 10];
    let length = match llistxattr(from, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    names.truncate(length);
    let mut value = vec![0; 64 << 10];
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        if ABOUT_LOWERS.iter().any(|about| about.as_bytes() == name) {
            continue;
        }
        let length = lgetxattr(from, name, &mut value)?;
        lsetxattr(to, name, value.get(..length).unwrap_or_default(), XattrFlags::empty())?;
    }
    Ok(())
}

fn make_directories(path: &Path) -> Result<(), HostError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| HostError::io("create", path, error))
}

fn sorted(directory: &Path) -> Result<Vec<std::ffi::OsString>, HostError> {
    let failed = |error| HostError::io("read", directory, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}
