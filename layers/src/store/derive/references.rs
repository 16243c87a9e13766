//! Looks in uppers for files of accounts that would go, and for their home directories.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;

use super::compare::{kind, look};
use super::gather::is_whiteout;
use crate::etc::accounts::{Candidates, References};
use crate::exec::HostError;
use crate::store::copy::read_directory;

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
            let (_, names) =
                read_directory(&path).map_err(|error| HostError::io("read", &path, error))?;
            todo.extend(
                names.iter().map(|name| (path.join(OsStr::from_bytes(name.as_bytes())), depth + 1)),
            );
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
        let stat = look(&upper.join(inside))?;
        if stat.is_some_and(|stat| kind(&stat) == FileType::Directory) {
            return Ok(true);
        }
    }
    Ok(false)
}
