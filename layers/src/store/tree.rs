//! Copies of uppers: content, owner, mode, times, extended attributes (ACLs among them), hard links, whiteouts, opaque
//! marks; and their emptying.

use std::collections::{BTreeSet, HashMap};
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

/// And what hides or moves lowers, which each new directory of an upper has.
const OF_ONE_STACK: [&str; 5] = [
    "trusted.overlay.origin",
    "trusted.overlay.impure",
    "trusted.overlay.uuid",
    "trusted.overlay.opaque",
    "trusted.overlay.redirect",
];

/// Whether an entry of a tree carries what OverlayFS notes about the lowers under an upper.
pub fn is_marked(path: &Path) -> bool {
    ABOUT_LOWERS.iter().any(|name| lgetxattr(path, *name, &mut [0_u8; 0]).is_ok())
}

/// Makes `upper` and `work` if they are missing; a new upper gets owner and mode of `like`.
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

/// Copies the upper in `from` to a new directory `to`, published whole. A directory without an upper, which an
/// interrupted boot left at `to`, is replaced; an upper never is.
pub fn clone_upper(from: &Path, to: &Path) -> Result<(), HostError> {
    if to.join("upper").is_dir() {
        return Err(HostError::io("publish", to, io::Error::from(io::ErrorKind::AlreadyExists)));
    }
    let temporary = publish::beside(to);
    publish::remove_any(&temporary)
        .and_then(|()| publish::remove_any(to))
        .and_then(|()| DirBuilder::new().mode(0o700).create(&temporary))
        .map_err(|error| HostError::io("create", &temporary, error))?;
    copy_tree(&from.join("upper"), &temporary.join("upper"), &mut Links::new())?;
    DirBuilder::new()
        .mode(0o700)
        .create(temporary.join("work"))
        .and_then(|()| sync_all(&temporary))
        .and_then(|()| publish::rename(&temporary, to))
        .map_err(|error| HostError::io("publish", to, error))
}

/// Empties the upper in `dir`, all but the kept paths and the directories above them: a fresh one takes its place,
/// then the old one goes. Killed before the exchange it leaves the old upper, after it the new one; what else is left
/// has an unpublished name.
pub fn wipe_upper(dir: &Path, keep: &[String]) -> Result<(), HostError> {
    let old = dir.join("upper");
    if !old.is_dir() {
        return Ok(());
    }
    let fresh = publish::beside(&old);
    let aside = dir.join(format!("{}wiped", crate::layout::UNPUBLISHED));
    let prepared = publish::remove_any(&fresh).and_then(|()| publish::remove_any(&aside));
    prepared.map_err(|error| HostError::io("clear", dir, error))?;
    copy_kept(&old, &fresh, &kept_paths(&old, keep)?)?;
    // What is kept is on disk before the old one goes: a power cut must not take the host keys.
    sync_all(&fresh)
        .and_then(|()| {
            rustix::fs::renameat_with(CWD, &fresh, CWD, &old, rustix::fs::RenameFlags::EXCHANGE)
                .map_err(io::Error::from)
        })
        .and_then(|()| publish::sync(dir))
        .and_then(|()| fs::rename(&fresh, &aside))
        .and_then(|()| publish::remove_any(&aside))
        .map_err(|error| HostError::io("empty", &old, error))
}

/// The paths that the patterns name, each once, none of them below another.
fn kept_paths(top: &Path, patterns: &[String]) -> Result<BTreeSet<PathBuf>, HostError> {
    let mut named = BTreeSet::new();
    for pattern in patterns {
        named.extend(matches(top, pattern)?);
    }
    let alone = |path: &PathBuf| path.ancestors().skip(1).all(|above| !named.contains(above));
    Ok(named.iter().filter(|path| alone(path)).cloned().collect())
}

/// The entries of `top` that a relative pattern names; its last component may end in `*`. Symbolic links are not
/// followed: they may lead out of the upper.
fn matches(top: &Path, pattern: &str) -> Result<Vec<PathBuf>, HostError> {
    let (parent, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let parent = Path::new(parent);
    let found = |path: &Path| fs::symlink_metadata(top.join(path));
    if !parent.ancestors().all(|above| found(above).is_ok_and(|above| above.is_dir())) {
        return Ok(Vec::new());
    }
    let Some(prefix) = last.strip_suffix('*') else {
        let path = parent.join(last);
        return Ok(if found(&path).is_ok() { vec![path] } else { vec![] });
    };
    let names = sorted(&top.join(parent))?;
    let starts = |name: &OsStr| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    Ok(names.into_iter().filter(|name| starts(name)).map(|name| parent.join(name)).collect())
}

/// Copies the kept paths and the directories above them, `from` itself among these.
fn copy_kept(from: &Path, to: &Path, kept: &BTreeSet<PathBuf>) -> Result<(), HostError> {
    let mut links = Links::new();
    let mut above = BTreeSet::from([Path::new("")]);
    above.extend(kept.iter().flat_map(|path| path.ancestors().skip(1)));
    for directory in &above {
        copy_entry(&from.join(directory), &to.join(directory), &mut links)?;
    }
    for path in kept {
        copy_tree(&from.join(path), &to.join(path), &mut links)?;
    }
    // Without the opaque mark: what the images have beside the kept paths must show again.
    above.iter().rev().try_for_each(|directory| {
        copy_attributes(&from.join(directory), &to.join(directory), &OF_ONE_STACK)
    })
}

/// Where the first of several hard links was copied to, by device and inode.
type Links = HashMap<(u64, u64), PathBuf>;

/// Copies a file or a whole tree, without what OverlayFS notes about the lowers; nothing may be at `to`.
pub fn copy_tree(from: &Path, to: &Path, links: &mut Links) -> Result<(), HostError> {
    // A stack of its own: an upper may be deeper than PID 1's stack allows.
    let mut todo = vec![(from.to_owned(), to.to_owned())];
    let mut directories = Vec::new();
    while let Some((from, to)) = todo.pop() {
        if copy_entry(&from, &to, links)? {
            for name in sorted(&from)? {
                todo.push((from.join(&name), to.join(&name)));
            }
            directories.push((from, to));
        } else {
            copy_attributes(&from, &to, &ABOUT_LOWERS)?;
        }
    }
    // Deepest first, after their entries: making an entry changes its directory's times.
    directories.iter().rev().try_for_each(|(from, to)| copy_attributes(from, to, &ABOUT_LOWERS))
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

/// Owner, mode, extended attributes but the named ones, and times of one entry.
fn copy_attributes(from: &Path, to: &Path, without: &[&str]) -> Result<(), HostError> {
    let failed = |error| HostError::io("copy attributes of", from, error);
    let metadata = fs::symlink_metadata(from).map_err(failed)?;
    if metadata.is_symlink() {
        std::os::unix::fs::lchown(to, Some(metadata.uid()), Some(metadata.gid()))
            .map_err(failed)?;
    } else {
        set_owner_and_mode(to, &metadata).map_err(failed)?;
    }
    copy_xattrs(from, to, without).map_err(failed)?;
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

fn copy_xattrs(from: &Path, to: &Path, without: &[&str]) -> io::Result<()> {
    let mut names = vec![0; 64 << 10];
    let length = match llistxattr(from, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    names.truncate(length);
    let mut value = vec![0; 64 << 10];
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        if without.iter().any(|about| about.as_bytes() == name) {
            continue;
        }
        let length = lgetxattr(from, name, &mut value)?;
        lsetxattr(to, name, value.get(..length).unwrap_or_default(), XattrFlags::empty())?;
    }
    Ok(())
}

/// Flushes the whole file system that holds `path`.
fn sync_all(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
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
