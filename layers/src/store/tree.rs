//! Uppers as a whole: made, cloned, emptied.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, lgetxattr, statat};

pub use super::copy::{Links, copy_tree};
use super::copy::{copy_attributes, set_owner_and_mode};
use super::publish;
use super::xattr::{ABOUT_LOWERS, OF_ONE_STACK, Xattrs};
use crate::exec::HostError;
use crate::plan::Upper;

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
            .and_then(|()| match like.map(|like| statat(CWD, like, AtFlags::empty())) {
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
        let to = to.join(directory);
        let made = DirBuilder::new().mode(0o700).create(&to);
        made.map_err(|error| HostError::io("create", &to, error))?;
    }
    for path in kept {
        copy_tree(&from.join(path), &to.join(path), &mut links)?;
    }
    // Without the opaque mark: what the images have beside the kept paths must show again.
    let mut xattrs = Xattrs::new();
    above.iter().rev().try_for_each(|directory| {
        let from = from.join(directory);
        statat(CWD, &from, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(io::Error::from)
            .and_then(|stat| {
                copy_attributes(&from, &to.join(directory), &stat, &mut xattrs, &OF_ONE_STACK)
            })
            .map(drop)
            .map_err(|error| HostError::io("copy attributes of", &from, error))
    })
}

/// Flushes the whole file system that holds `path`.
pub(super) fn sync_all(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

pub(super) fn make_directories(path: &Path) -> Result<(), HostError> {
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
