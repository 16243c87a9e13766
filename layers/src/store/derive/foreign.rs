//! Finds what no mount of an upper honours.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::compare::{kind, look};
use super::gather;
use crate::etc::report::{Note, NoteKind};
use crate::exec::HostError;
use crate::store::copy::{Found, below, read_directory};
use crate::store::xattr::Xattrs;
use rustix::fs::{AtFlags, FileType, Stat, statat};

/// What decides who may do what in /etc: these files, and all that is below such a directory.
const PROTECTED: [&str; 9] = [
    "ld.so.preload",
    "ld.so.conf.d",
    "pam.d",
    "sudoers",
    "sudoers.d",
    "ssh/sshd_config",
    "ssh/sshd_config.d",
    "systemd/system",
    "systemd/system.conf",
];

/// What an audit says of an entry. A directory that is no more than one says nothing.
fn protected(found: &Found) -> Option<&'static str> {
    let directory = found.kind() == FileType::Directory && !found.marks.opaque;
    let hides = |path: &&str| Path::new(path).starts_with(&found.path);
    let inside = |path: &&str| found.path.starts_with(path);
    if directory || !PROTECTED.iter().any(|path| inside(path) || hides(path)) {
        return None;
    }
    Some(match gather::is_whiteout(&found.stat) {
        true => "deleted here, and protected",
        false => "not as the images have it, and protected",
    })
}

/// Lists device nodes, set-user-ID and set-group-ID files and OverlayFS attributes that no lower explains, among the
/// first `limit` entries of an /etc upper. An upper that is not there has none.
///
/// # Errors
/// A directory or an entry that cannot be read.
pub fn foreign(upper: &Path, limit: usize, audit: bool) -> Result<Vec<Note>, HostError> {
    let mut notes = Vec::new();
    let Some(stat) = look(upper)? else { return Ok(notes) };
    let mut xattrs = Xattrs::default();
    let mut note = |path: &Path, stat: Stat| {
        let here = below(upper, path);
        let marks = xattrs
            .marks(&here)
            .map_err(|error| HostError::io("read attributes of", &here, error))?;
        let found = Found { path: path.to_owned(), parent: None, stat, marks };
        let foreign = gather::foreign(&found);
        let audited = if audit { protected(&found) } else { None };
        let all = foreign.map(|what| what.what()).into_iter().chain(audited);
        notes.extend(all.map(|what| Note::new(path, NoteKind::Foreign, what)));
        Ok(())
    };
    note(Path::new(""), stat)?;
    let mut todo = Vec::new();
    if kind(&stat) == FileType::Directory {
        todo.push(PathBuf::new());
    }
    let mut left = limit.saturating_sub(1);
    let mut unseen = false;
    while let Some(inside) = todo.pop() {
        let directory = below(upper, &inside);
        let failed = |error| HostError::io("read", &directory, error);
        let (open, names) = read_directory(&directory).map_err(failed)?;
        let seen = left.min(names.len());
        left -= seen;
        unseen |= seen < names.len();
        for name in names.iter().take(seen) {
            let path = inside.join(OsStr::from_bytes(name.as_bytes()));
            let stat = statat(&open, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| failed(error.into()))?;
            note(&path, stat)?;
            if kind(&stat) == FileType::Directory {
                todo.push(path);
            }
        }
    }
    if audit && unseen {
        notes.push(Note::new(Path::new(""), NoteKind::Foreign, "more entries than were looked at"));
    }
    Note::sort(&mut notes);
    Ok(notes)
}
