//! Makes the /etc upper of one generation out of another's: cloned, reconciled with the new images, published whole.
//!
//! ```text
//! from/upper → .tmp-<to>/upper      cloned                       [`super::copy`]
//!            → entries              compared with both views     [`gather`]
//!            → decision             [`crate::etc::decide`]
//!            → .tmp-<to>/upper      changed in place             [`apply`], [`accounts`]
//!            → report               published
//!            → to                   renamed, or exchanged where `to` is `from`
//! ```
//!
//! Stopped anywhere, the old upper is whole and `to` is as it was; the next try begins again.

mod accounts;
mod apply;
mod compare;
mod foreign;
mod gather;
mod references;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::copy::{Links, copy_all};
use super::publish;
use super::tree::{make_directories, sync_all};
use crate::etc::Derive;
use crate::etc::decide::{Action, Decision, Facts, STAMP, decide};
use crate::etc::report::{Counts, Note, NoteKind, Report, SCHEMA};
use crate::exec::HostError;
use crate::layout::Layout;

pub use foreign::foreign;

/// Makes an /etc upper out of another.
///
/// # Errors
/// Whatever the file systems answer; an upper that is at `to` already, unless `to` is `from`. Then `from` is whole,
/// and nothing half-made is at `to`.
pub fn derive(d: &Derive) -> Result<(), HostError> {
    let published = d.to.join("upper").is_dir();
    if published && d.from != d.to {
        let exists = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(HostError::io("publish", &d.to, exists));
    }
    let staging = publish::beside(&d.to);
    if let Some(parent) = d.to.parent() {
        make_directories(parent)?;
    }
    let done = stage(d, &staging).and_then(|()| {
        place(&staging, &d.to, published).map_err(|error| HostError::io("publish", &d.to, error))
    });
    if done.is_err() {
        // The first error is the one to tell; what stays all the same has an unpublished name.
        let _ = publish::remove_any(&staging);
        return done;
    }
    if published {
        // The old upper, which has the unpublished name now. Only once the exchange is on disk may it go; and where it
        // does not, cleanup removes it.
        let parent = d.to.parent().unwrap_or(Path::new("/"));
        publish::sync(parent).map_err(|error| HostError::io("flush", parent, error))?;
        let _ = publish::remove_any(&staging);
    }
    Ok(())
}

/// Puts the new directory at `to`; where an upper is there, the two change places in one step.
fn place(staging: &Path, to: &Path, published: bool) -> io::Result<()> {
    if published {
        return Ok(renameat_with(CWD, staging, CWD, to, RenameFlags::EXCHANGE)?);
    }
    clear(to)?;
    fs::rename(staging, to)?;
    publish::sync(to.parent().unwrap_or(Path::new("/")))
}

/// Removes what a boot that was stopped has left at `to`. Anything else there is somebody's, and an error.
fn clear(to: &Path) -> io::Result<()> {
    let ours = [to.join("work"), Layout::lowers(to), Layout::presets(to)];
    match fs::read_dir(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listing => {
            for entry in listing? {
                let entry = entry?;
                if ours.contains(&entry.path()) || publish::is_unpublished(&entry.file_name()) {
                    publish::remove_any(&entry.path())?;
                }
            }
        }
    }
    fs::remove_dir(to)
}

/// Makes everything that will be at `to`, on disk, and publishes the report. The report comes first: a stop between
/// the two only makes it be written again.
fn stage(d: &Derive, staging: &Path) -> Result<(), HostError> {
    publish::remove_any(staging)
        .and_then(|()| DirBuilder::new().mode(0o700).create(staging))
        .map_err(|error| HostError::io("create", staging, error))?;
    let report = reconcile(d, staging)?;
    record(d, staging)?;
    sync_all(staging).map_err(|error| HostError::io("flush", staging, error))?;
    let text = report.to_text().map_err(io::Error::from);
    text.and_then(|text| publish::file(&d.report, &text))
        .map_err(|error| HostError::io("write", &d.report, error))
}

/// Clones the upper and reconciles the clone.
fn reconcile(d: &Derive, staging: &Path) -> Result<Report, HostError> {
    let upper = staging.join("upper");
    let found = copy_all(&d.from.join("upper"), &upper, &mut Links::new())?;
    let views = gather::Views { upper: &upper, old: d.old.as_deref(), new: &d.new };
    let accounts = accounts::Accounts::read(&views, d.whole)?;
    let entries = gather::gather(found, &views)?;
    let merged = accounts.decided();
    let facts = Facts { whole: d.whole, stamp: has_stamp(&d.new), merged: &merged };
    let Decision { actions, mut notes } = decide(&entries, facts);
    apply::apply(&actions, &upper, &d.new)?;
    let outcome = accounts.merge(&views, staging, &d.users)?;
    notes.extend(outcome.notes);
    notes.extend(of_all(d));
    Note::sort(&mut notes);
    let count =
        |wanted: fn(&Action) -> bool| actions.iter().filter(|action| wanted(action)).count();
    let counts = Counts {
        entries: entries.len(),
        dropped: count(|action| matches!(action, Action::Remove(_))) + outcome.dropped,
        aside: count(|action| matches!(action, Action::SetAside { .. })),
        merged: outcome.merged,
    };
    let (generation, source) = (d.generation, d.source);
    Ok(Report { schema: SCHEMA, generation, source, counts, notes })
}

fn has_stamp(new: &Path) -> bool {
    fs::symlink_metadata(new.join(STAMP)).is_ok()
}

/// What holds for all of /etc.
fn of_all(d: &Derive) -> impl Iterator<Item = Note> {
    let unknown = "the images that it lay on before cannot be seen: what was copied from them and not changed could not be told from changes, and stays";
    let incomplete = "not every layer of the generation was mounted: nothing was dropped for what its images lack";
    let notes = [
        (d.old.is_none(), NoteKind::OldUnknown, unknown),
        (!d.whole, NoteKind::Incomplete, incomplete),
    ];
    let notes = notes.into_iter().filter(|(holds, ..)| *holds);
    notes.map(|(_, kind, what)| Note::new(Path::new(""), kind, what))
}

/// What stands beside the upper: on which images it lies, which presets were applied, OverlayFS's working directory.
fn record(d: &Derive, staging: &Path) -> Result<(), HostError> {
    let images = Layout::lowers(staging);
    fs::write(&images, &d.images).map_err(|error| HostError::io("write", &images, error))?;
    let presets = Layout::presets(&d.from);
    match fs::read(&presets).and_then(|text| fs::write(Layout::presets(staging), text)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(HostError::io("copy", &presets, error));
        }
        _ => {}
    }
    let work = staging.join("work");
    let made = DirBuilder::new().mode(0o700).create(&work);
    made.map_err(|error| HostError::io("create", &work, error))
}
