//! What is bound over a path of /var, and uppers that no longer lie over anything.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::copy::{Links, copy_directory, copy_tree};
use super::upper::{is_whiteout, permissions};
use super::xattr::{Xattrs, clear_opaque, hide_lowers};
use super::{publish, tree};
use crate::exec::HostError;
use crate::layout::Layout;

/// What is at a path of an upper.
enum There {
    Nothing,
    Deleted,
    Directory,
}

fn look(at: &Path) -> Result<There, HostError> {
    match fs::symlink_metadata(at) {
        Ok(found) if found.is_dir() => Ok(There::Directory),
        Ok(found) if is_whiteout(&found) => Ok(There::Deleted),
        Ok(_) => Err(HostError::io("make", at, io::Error::from(io::ErrorKind::NotADirectory))),
        // Below something that is no directory: that is told, or a whiteout.
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            Ok(There::Nothing)
        }
        Err(error) => Err(HostError::io("look at", at, error)),
    }
}

/// The parts of a path, from the first to the whole.
fn parts(path: &Path) -> Vec<&Path> {
    let mut parts: Vec<&Path> =
        path.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
    parts.reverse();
    parts
}

/// Whether the upper in `dir` has nothing but directories on the way to `path`, as far as it goes: what is mounted there
/// must not land where a link leads.
///
/// # Errors
/// Says what is in the way.
pub fn check(dir: &Path, path: &str) -> Result<(), HostError> {
    let upper = dir.join("upper");
    for part in parts(Path::new(path)) {
        if !matches!(look(&upper.join(part))?, There::Directory) {
            break;
        }
    }
    Ok(())
}

/// Makes `bound/path` beside the upper in `dir`, and a mount point for it in the upper.
///
/// What the upper has there moves; what `lowers` have there, topmost first, is copied, but for what was deleted. A path
/// that no lower has gets `mode`. Anything but a directory on the way is an error, and nothing has changed then.
pub fn make(dir: &Path, path: &str, mode: u32, lowers: &[PathBuf]) -> Result<(), HostError> {
    let (upper, path) = (dir.join("upper"), Path::new(path));
    let below = |part: &Path| -> Vec<PathBuf> {
        let all = lowers.iter().map(|lower| lower.join(part));
        all.filter(|lower| is_directory(lower)).collect()
    };
    let parts = parts(path);
    // Every part is looked at before anything is made.
    let there: Vec<There> =
        parts.iter().map(|part| look(&upper.join(part))).collect::<Result<_, _>>()?;
    let bound = Layout::bound(dir).join(path);
    let deleted = there.iter().any(|part| matches!(part, There::Deleted));
    let own = matches!(there.last(), Some(There::Directory)).then(|| upper.join(path));
    if !is_directory(&bound) {
        let lowers = if deleted { Vec::new() } else { below(path) };
        make_bound(own, &bound, mode, &lowers)?;
    } else if own.is_none() {
        // A boot was stopped between the move and the mount point.
        forget_lowers(&bound, &below(path))?;
    }
    for part in parts {
        let at = upper.join(part);
        let there = look(&at)?;
        if !matches!(there, There::Directory) {
            publish::remove_any(&at).map_err(|error| HostError::io("replace", &at, error))?;
            make_directory(&at, below(part).first(), 0o755)?;
        }
        if matches!(there, There::Deleted) {
            // What was deleted with it stays so.
            hide_lowers(&at).map_err(|error| HostError::io("hide what is below", &at, error))?;
        }
    }
    Ok(())
}

/// Makes one directory that is bound: out of the upper's own, or a new one.
fn make_bound(
    own: Option<PathBuf>,
    bound: &Path,
    mode: u32,
    lowers: &[PathBuf],
) -> Result<(), HostError> {
    tree::make_directories(bound.parent().unwrap_or(bound))?;
    let from = match own {
        // Filled where it is: only the rename takes it away from there.
        Some(own) => own,
        None => {
            let staged = publish::beside(bound);
            publish::remove_any(&staged).map_err(|error| HostError::io("clear", &staged, error))?;
            make_directory(&staged, lowers.first(), mode)?;
            staged
        }
    };
    lowers.iter().try_for_each(|lower| fill_in(lower, &from))?;
    let synced = if lowers.is_empty() { Ok(()) } else { tree::sync_all(&from) };
    synced
        .and_then(|()| publish::rename(&from, bound))
        .map_err(|error| HostError::io("move to", bound, error))?;
    forget_lowers(bound, lowers)
}

fn make_directory(at: &Path, like: Option<&PathBuf>, mode: u32) -> Result<(), HostError> {
    DirBuilder::new()
        .mode(0o700)
        .create(at)
        .and_then(|()| fs::set_permissions(at, permissions(mode)))
        .map_err(|error| HostError::io("create", at, error))?;
    like.map_or(Ok(()), |like| copy_directory(like, at))
}

/// Copies what the directory `lower` has and `upper` has not, and does not hide.
fn fill_in(lower: &Path, upper: &Path) -> Result<(), HostError> {
    let mut xattrs = Xattrs::default();
    let mut todo = vec![(lower.to_owned(), upper.to_owned())];
    while let Some((lower, upper)) = todo.pop() {
        let marks = xattrs.marks(&upper);
        if marks.map_err(|error| HostError::io("read attributes of", &upper, error))?.opaque {
            continue;
        }
        for name in tree::sorted(&lower)? {
            let (from, to) = (lower.join(&name), upper.join(&name));
            match fs::symlink_metadata(&to) {
                Ok(found) if found.is_dir() && is_directory(&from) => todo.push((from, to)),
                Ok(_) => {}
                Err(_) => copy_tree(&from, &to, &mut Links::new())?,
            }
        }
    }
    Ok(())
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Takes out of an upper the whiteouts over entries of `lowers`, and the opaque marks of directories over theirs. Other
/// devices 0:0 stay: they are a container's, which has its own stack of images here.
pub fn forget_lowers(upper: &Path, lowers: &[PathBuf]) -> Result<(), HostError> {
    let mut todo: Vec<(PathBuf, PathBuf)> =
        lowers.iter().map(|lower| (lower.clone(), upper.to_owned())).collect();
    let mut changed = false;
    while let Some((lower, upper)) = todo.pop() {
        let failed = |error| HostError::io("read", &lower, error);
        for entry in fs::read_dir(&lower).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let at = upper.join(&name);
            let Ok(found) = fs::symlink_metadata(&at) else { continue };
            if is_whiteout(&found) {
                fs::remove_file(&at).map_err(|error| HostError::io("remove", &at, error))?;
                changed = true;
            } else if found.is_dir() {
                clear_opaque(&at).map_err(|error| HostError::io("clear", &at, error))?;
                changed = true;
                let lower = lower.join(&name);
                if fs::symlink_metadata(&lower).is_ok_and(|found| found.is_dir()) {
                    todo.push((lower, at));
                }
            }
        }
    }
    // On disk before any record says over which images the upper lies: no later boot would do it again.
    let synced = if changed { tree::sync_all(upper) } else { Ok(()) };
    synced.map_err(|error| HostError::io("flush", upper, error))
}
