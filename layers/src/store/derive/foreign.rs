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
use rustix::fs::FileType;

/// Lists device nodes, set-user-ID and set-group-ID files and OverlayFS attributes that no lower explains, among the
/// first `limit` entries of an /etc upper. An upper that is not there has none.
///
/// # Errors
/// A directory or an entry that cannot be read.
pub fn foreign(upper: &Path, limit: usize) -> Result<Vec<Note>, HostError> {
    let mut notes = Vec::new();
    let mut xattrs = Xattrs::new();
    let mut todo = vec![PathBuf::new()];
    let mut seen = 0;
    while let Some(path) = todo.pop() {
        let here = below(upper, &path);
        let Some(stat) = look(&here)? else { continue };
        seen += 1;
        if seen > limit {
            break;
        }
        if kind(&stat) == FileType::Directory {
            let (_, names) =
                read_directory(&here).map_err(|error| HostError::io("read", &here, error))?;
            let names = names.iter().rev();
            todo.extend(names.map(|name| path.join(OsStr::from_bytes(name.as_bytes()))));
        }
        let marks = xattrs
            .marks(&here)
            .map_err(|error| HostError::io("read attributes of", &here, error))?;
        let found = Found { path, parent: None, stat, marks };
        if let Some(foreign) = gather::foreign(&found) {
            notes.push(Note::new(&found.path, NoteKind::Foreign, foreign.what()));
        }
    }
    notes.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(notes)
}
