//! Looks in uppers for files of accounts that would go, and for their home directories.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;

use super::compare::{kind, look};
use super::gather::is_whiteout;
use crate::etc::accounts::{Candidates, References};
use crate::exec::HostError;

/// How deep below an upper files are looked at.
const DEPTH: usize = 3;
/// How many entries are looked at in all. Where there are more, every account stays: better one too many than files
/// that belong to nobody, or to whom gets the number next.
const MOST: usize = 20_000;

/// Which candidates something in the uppers belongs to. An upper that is not there has nothing.
pub(super) fn references(
    candidates: &Candidates,
    etc: &Path,
    users: &[PathBuf],
) -> Result<References, HostError> {
    let mut found = References::default();
    if candidates.is_empty() {
        return Ok(found);
    }
    for home in &candidates.homes {
        if has_home(home, users)? {
            found.homes.insert(home.clone());
        }
    }
    let tops = users.iter().map(PathBuf::as_path).chain([etc]);
    let mut todo: Vec<(PathBuf, usize)> = tops.map(|top| (top.to_owned(), 0)).collect();
    let mut seen = 0;
    while let Some((path, depth)) = todo.pop() {
        let Some(stat) = look(&path)? else { continue };
        seen += 1;
        if seen > MOST {
            return Ok(candidates.clone());
        }
        if depth > 0 && !is_whiteout(&stat) {
            found.uids.extend(candidates.uids.get(&stat.st_uid));
            found.gids.extend(candidates.gids.get(&stat.st_gid));
        }
        if found.uids == candidates.uids && found.gids == candidates.gids {
            break;
        }
        if kind(&stat) == FileType::Directory && depth < DEPTH {
            let failed = |error| HostError::io("read", &path, error);
            for entry in fs::read_dir(&path).map_err(failed)? {
                // Nor are more names remembered: anybody can make millions of them.
                if todo.len() > MOST {
                    return Ok(candidates.clone());
                }
                todo.push((entry.map_err(failed)?.path(), depth + 1));
            }
        }
    }
    Ok(found)
}

/// Whether a home directory in /var or /home is in one of their uppers.
fn has_home(home: &[u8], users: &[PathBuf]) -> Result<bool, HostError> {
    let mut parts = Path::new(OsStr::from_bytes(home)).components();
    let known = matches!(parts.next(), Some(Component::RootDir))
        && matches!(parts.next(), Some(Component::Normal(top)) if top == "var" || top == "home");
    let inside = parts.as_path();
    let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
    if !known || !plain || inside.as_os_str().is_empty() || home.contains(&0) {
        return Ok(false);
    }
    for upper in users {
        if is_directory(upper, inside)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether there are directories all along a path. No link is followed: it is some user's, and leads anywhere.
fn is_directory(top: &Path, inside: &Path) -> Result<bool, HostError> {
    let mut path = top.to_owned();
    for part in inside.components() {
        path.push(part);
        if look(&path)?.is_none_or(|stat| kind(&stat) != FileType::Directory) {
            return Ok(false);
        }
    }
    Ok(true)
}
