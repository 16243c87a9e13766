//! What a boot does to an upper before it is mounted: emptying, what is kept, what the images own, what is bound.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use super::discard::Discard;
use super::{kept, publish, tree};
use crate::etc::decide::STAMP;
use crate::exec::HostError;
use crate::layout::Layout;
use crate::machine_id::MachineId;

/// Empties the upper in `dir` and what is bound beside it, all but the kept paths and the directories above them: a fresh
/// one takes its place in one exchange, and the old one lies in a directory to discard. Before the exchange nothing has
/// changed. The record of what was preset goes with it: the links that presets make are gone.
pub fn wipe(dir: &Path, keep: &[String]) -> Result<(), HostError> {
    for old in [dir.join("upper"), Layout::bound(dir)] {
        if old.is_dir() {
            exchange(dir, &old, keep)?;
        }
    }
    Ok(())
}

fn exchange(dir: &Path, old: &Path, keep: &[String]) -> Result<(), HostError> {
    let fresh = Discard::new(dir)?.join("upper");
    copy_kept(old, &fresh, keep)?;
    // What is kept is on disk before the old one goes: a power cut must not take the host keys.
    tree::sync_all(&fresh)
        .and_then(|()| Ok(renameat_with(CWD, &fresh, CWD, old, RenameFlags::EXCHANGE)?))
        .and_then(|()| publish::remove_any(&Layout::presets(dir)))
        .and_then(|()| publish::sync(dir))
        .map_err(|error| HostError::io("empty", old, error))
}

/// Makes `to` with what is kept of the upper `from`, and the directories above it.
pub fn copy_kept(from: &Path, to: &Path, keep: &[String]) -> Result<(), HostError> {
    if !from.is_dir() {
        return Ok(());
    }
    let parent = to.parent().unwrap_or(Path::new("/"));
    tree::make_directories(parent)?;
    kept::copy(from, to, keep)
}

/// Takes `paths` out of the upper in `dir`.
pub fn drop_owned(dir: &Path, paths: &[String]) -> Result<(), HostError> {
    let upper = dir.join("upper");
    let mut found = Vec::new();
    for path in paths {
        found.extend(kept::matches(&upper, path)?);
    }
    if found.is_empty() {
        return Ok(());
    }
    let discard = Discard::new(dir)?;
    let mut parents = BTreeSet::new();
    for (number, path) in found.iter().enumerate() {
        let path = upper.join(path);
        fs::rename(&path, discard.join(&number.to_string()))
            .map_err(|error| HostError::io("take out", &path, error))?;
        parents.extend(path.parent().map(Path::to_owned));
    }
    // The directories that lost something: XFS and Btrfs flush no more than what they are asked for.
    parents.iter().try_for_each(|parent| {
        publish::sync(parent).map_err(|error| HostError::io("flush", parent, error))
    })
}

/// Hides the stamps of `lowers` by a whiteout, where one of them has one, and takes the upper's own away.
pub fn hide_stamp(upper: &Path, lowers: &[PathBuf]) -> Result<(), HostError> {
    let stamp = upper.join(STAMP);
    let covered = lowers.iter().any(|lower| fs::symlink_metadata(lower.join(STAMP)).is_ok());
    let there = fs::symlink_metadata(&stamp);
    if there.as_ref().is_ok_and(is_whiteout) {
        return Ok(());
    }
    // On disk before any record says over which images the upper lies: no later boot would do it again.
    publish::remove_any(&stamp)
        .and_then(|()| if covered { whiteout(&stamp) } else { Ok(()) })
        .and_then(|()| publish::sync(upper))
        .map_err(|error| HostError::io("hide", &stamp, error))
}

/// Writes /etc/machine-id into an upper, where neither it nor the topmost of `lowers` that has the file has an ID in it.
pub fn make_machine_id(upper: &Path, lowers: &[PathBuf], id: MachineId) -> Result<(), HostError> {
    let path = upper.join("machine-id");
    let shown = std::iter::once(upper).chain(lowers.iter().map(PathBuf::as_path));
    let shown =
        shown.map(|top| top.join("machine-id")).find(|path| fs::symlink_metadata(path).is_ok());
    if shown.is_some_and(|path| fs::read(path).is_ok_and(|text| MachineId::is_one(&text))) {
        return Ok(());
    }
    publish::remove_any(&path)
        .and_then(|()| fs::write(&path, format!("{id}\n")))
        .and_then(|()| fs::set_permissions(&path, permissions(0o444)))
        .map_err(|error| HostError::io("write", &path, error))
}

pub(super) fn permissions(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

fn whiteout(path: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0)?)
}

pub(super) fn is_whiteout(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == 0
}
