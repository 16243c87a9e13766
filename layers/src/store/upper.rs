//! What a boot does to an upper before it is mounted: emptying, what is kept, what the images own, what is bound.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, XattrFlags, lsetxattr, mknodat, renameat_with};

use super::copy::{Links, copy_directory, copy_over, copy_tree};
use super::discard::Discard;
use super::xattr::{OPAQUE, clear_opaque};
use super::{kept, publish, tree};
use crate::etc::decide::STAMP;
use crate::exec::HostError;
use crate::machine_id::MachineId;

/// Empties the upper in `dir`, all but the kept paths and the directories above them: a fresh one takes its place in one
/// exchange, and the old one lies in a directory to discard. Before the exchange nothing has changed.
pub fn wipe(dir: &Path, keep: &[String]) -> Result<(), HostError> {
    let old = dir.join("upper");
    if !old.is_dir() {
        return Ok(());
    }
    let fresh = Discard::new(dir)?.join("upper");
    copy_kept(&old, &fresh, keep)?;
    // What is kept is on disk before the old one goes: a power cut must not take the host keys.
    tree::sync_all(&fresh)
        .and_then(|()| Ok(renameat_with(CWD, &fresh, CWD, &old, RenameFlags::EXCHANGE)?))
        .and_then(|()| publish::sync(dir))
        .map_err(|error| HostError::io("empty", &old, error))
}

/// Makes `to` with what is kept of the upper `from`, and the directories above it.
pub fn copy_kept(from: &Path, to: &Path, keep: &[String]) -> Result<(), HostError> {
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
    for (number, path) in found.iter().enumerate() {
        let path = upper.join(path);
        fs::rename(&path, discard.join(&number.to_string()))
            .map_err(|error| HostError::io("take out", &path, error))?;
    }
    publish::sync(dir).map_err(|error| HostError::io("flush", dir, error))
}

/// Hides the stamps of `lowers` by a whiteout, where one of them has one, and takes the upper's own away.
pub fn hide_stamp(upper: &Path, lowers: &[PathBuf]) -> Result<(), HostError> {
    let stamp = upper.join(STAMP);
    let covered = lowers.iter().any(|lower| fs::symlink_metadata(lower.join(STAMP)).is_ok());
    let there = fs::symlink_metadata(&stamp);
    if there.as_ref().is_ok_and(is_whiteout) {
        return Ok(());
    }
    publish::remove_any(&stamp)
        .and_then(|()| if covered { whiteout(&stamp) } else { Ok(()) })
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

/// Makes the directory `path` of an upper with mode `mode`. The directories above it are as the topmost of `lowers` has
/// them; so is `path` itself, with all that is in it, where one has it. What is no directory is an error.
pub fn make_bound(
    upper: &Path,
    path: &str,
    mode: u32,
    lowers: &[PathBuf],
) -> Result<(), HostError> {
    let path = Path::new(path);
    let mut deleted = false;
    let above = path.ancestors().filter(|above| !above.as_os_str().is_empty()).collect::<Vec<_>>();
    for part in above.into_iter().rev() {
        let at = upper.join(part);
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => continue,
            // The administrator deleted it: what the images have there stays hidden.
            Ok(found) if is_whiteout(&found) => {
                deleted = true;
                fs::remove_file(&at).map_err(|error| HostError::io("replace", &at, error))?;
            }
            Ok(_) => {
                let error = io::Error::from(io::ErrorKind::NotADirectory);
                return Err(HostError::io("make", &at, error));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(HostError::io("look at", &at, error)),
        }
        let below: Vec<PathBuf> = if deleted {
            Vec::new()
        } else {
            let all = lowers.iter().map(|lower| lower.join(part));
            all.filter(|lower| fs::symlink_metadata(lower).is_ok_and(|found| found.is_dir()))
                .collect()
        };
        let whole = part == path;
        make_like(upper, &at, if whole { mode } else { 0o755 }, &below, whole)?;
        if deleted {
            lsetxattr(&at, OPAQUE, b"y", XattrFlags::empty())
                .map_err(|error| HostError::io("mark", &at, error))?;
        }
    }
    Ok(())
}

/// Makes one directory, as the first of `below` has it; with `whole` all that `below` have in it comes along.
fn make_like(
    upper: &Path,
    at: &Path,
    mode: u32,
    below: &[PathBuf],
    whole: bool,
) -> Result<(), HostError> {
    // Beside the upper, where nobody sees it when the power goes half-way.
    let staged = publish::beside(upper);
    publish::remove_any(&staged).map_err(|error| HostError::io("clear", &staged, error))?;
    match below.first() {
        None => DirBuilder::new()
            .mode(0o700)
            .create(&staged)
            .and_then(|()| fs::set_permissions(&staged, permissions(mode)))
            .map_err(|error| HostError::io("create", &staged, error))?,
        Some(first) if whole => {
            let (last, others) = below.split_last().unwrap_or((first, &[]));
            copy_tree(last, &staged, &mut Links::new())?;
            others.iter().rev().try_for_each(|lower| copy_over(lower, &staged))?;
        }
        Some(first) => {
            let made = DirBuilder::new().mode(0o700).create(&staged);
            made.map_err(|error| HostError::io("create", &staged, error))?;
            copy_directory(first, &staged)?;
        }
    }
    let done = if whole && !below.is_empty() { tree::sync_all(&staged) } else { Ok(()) };
    done.and_then(|()| fs::rename(&staged, at)).map_err(|error| HostError::io("create", at, error))
}

fn permissions(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

/// Takes out of an upper the whiteouts over entries of `lowers`, and the opaque marks of directories over theirs. Other
/// devices 0:0 stay: they are a container's, which has its own stack of images here.
pub fn forget_lowers(upper: &Path, lowers: &[PathBuf]) -> Result<(), HostError> {
    let mut todo: Vec<(PathBuf, PathBuf)> =
        lowers.iter().map(|lower| (lower.clone(), upper.to_owned())).collect();
    while let Some((lower, upper)) = todo.pop() {
        let failed = |error| HostError::io("read", &lower, error);
        for entry in fs::read_dir(&lower).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let at = upper.join(&name);
            let Ok(found) = fs::symlink_metadata(&at) else { continue };
            if is_whiteout(&found) {
                fs::remove_file(&at).map_err(|error| HostError::io("remove", &at, error))?;
            } else if found.is_dir() {
                clear_opaque(&at).map_err(|error| HostError::io("clear", &at, error))?;
                let lower = lower.join(&name);
                if fs::symlink_metadata(&lower).is_ok_and(|found| found.is_dir()) {
                    todo.push((lower, at));
                }
            }
        }
    }
    Ok(())
}

fn whiteout(path: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0)?)
}

fn is_whiteout(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == 0
}
