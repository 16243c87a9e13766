//! Carries edits out in a mounted /etc: each entry is made beside its name and renamed over it, so that a reader sees the
//! old one or the new.

#![expect(clippy::disallowed_methods, reason = "changes /etc")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use layers::exec::HostError;
use layers::store::publish;
use layers::store::tree::{Links, copy_tree};
use rustix::fs::{XattrFlags, lremovexattr, lsetxattr};

use super::edits::Edit;
use super::tree::Entry;

/// An /etc that is changed, and the view that entries are taken from.
pub(crate) struct Editor<'a> {
    /// The view.
    pub(crate) source: &'a Path,
    /// The mounted directory.
    pub(crate) etc: &'a Path,
}

impl Editor<'_> {
    /// Carries one edit out. The error names the path as people know it.
    pub(crate) fn apply(&self, edit: &Edit) -> Result<(), HostError> {
        let at = self.etc.join(edit.path());
        let from = self.source.join(edit.path());
        let failed = |error: io::Error| HostError::io("change", &shown(edit), error);
        match edit {
            Edit::Delete(_) => match publish::remove(&at) {
                Err(error) if is_of_an_image(&error) => publish::remove_any(&at),
                done => done,
            }
            .map_err(failed),
            Edit::DeleteEmpty(_) => match fs::remove_dir(&at) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                    Err(failed(error))
                }
                _ => Ok(()),
            },
            Edit::MakeDirectory(_) => {
                let new = publish::beside(&at);
                let made = publish::remove_any(&new)
                    .and_then(|()| fs::create_dir(&new))
                    .and_then(|()| take_attributes(&from, &new))
                    .and_then(|()| publish::rename(&new, &at));
                clear(&new, made.map_err(failed))
            }
            // Owner, mode and attributes come one after the other.
            Edit::TakeAttributes(_) => {
                take_attributes(&from, &at).map_err(publish::unsettled).map_err(failed)
            }
            Edit::Replace(_) => self.replace(edit, &from, &at),
            Edit::Write(_, text) => {
                let new = publish::beside(&at);
                clear(&new, write(&new, &at, text).map_err(failed))
            }
        }
    }

    fn replace(&self, edit: &Edit, from: &Path, at: &Path) -> Result<(), HostError> {
        let failed = |error: io::Error| HostError::io("change", &shown(edit), error);
        let new = publish::beside(at);
        publish::remove_any(&new).map_err(failed)?;
        let copied = copy_tree(from, &new, &mut Links::new()).map_err(|error| match error {
            HostError::Io { doing, source, detail, .. } => {
                HostError::Io { doing, path: shown(edit), source, detail }
            }
            other => other,
        });
        let done = copied.and_then(|()| flush(&new).and_then(|()| put(&new, at)).map_err(failed));
        clear(&new, done)
    }
}

/// Takes away what a failed attempt left beside.
fn clear(new: &Path, done: Result<(), HostError>) -> Result<(), HostError> {
    if done.is_err() {
        // The first error is the one to tell; what stays all the same, the next attempt removes.
        let _ = publish::remove_any(new);
    }
    done
}

fn shown(edit: &Edit) -> PathBuf {
    Path::new("/etc").join(edit.path())
}

/// Renames `new` over what is at `at`. A directory, or what a directory comes in place of, goes aside first: no rename
/// replaces it.
fn put(new: &Path, at: &Path) -> io::Result<()> {
    let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    if fs::symlink_metadata(at).is_err() || !(is_directory(at) || is_directory(new)) {
        return publish::rename(new, at);
    }
    let aside = publish::beside(new);
    publish::remove_any(&aside)?;
    match fs::rename(at, &aside) {
        Err(error) if is_of_an_image(&error) => publish::remove_any(at)?,
        moved => moved?,
    }
    publish::rename(new, at)?;
    publish::remove_any(&aside)
}

/// OverlayFS renames no directory that an image has a part of (EXDEV, with redirect_dir off).
fn is_of_an_image(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::CrossesDevices
}

/// What is about to be renamed is on disk before.
fn flush(path: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_file() {
        return File::open(path)?.sync_all();
    }
    if kind.is_dir() {
        return Ok(rustix::fs::syncfs(File::open(path)?)?);
    }
    Ok(())
}

/// A new text for a file that keeps all else.
fn write(new: &Path, at: &Path, text: &[u8]) -> io::Result<()> {
    publish::remove_any(new)?;
    // Nobody else reads it before it has its owner and mode: it may hold passwords.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(new)?.write_all(text)?;
    take_attributes(at, new)?;
    flush(new)?;
    publish::rename(new, at)
}

/// Gives `to` the owner, mode and extended attributes of `from`; neither is a symbolic link.
fn take_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let (wanted, here) = (Entry::read(from)?, Entry::read(to)?);
    // Owner first: chown(2) takes set-user-ID bits away.
    std::os::unix::fs::lchown(to, Some(wanted.uid), Some(wanted.gid))?;
    fs::set_permissions(to, fs::Permissions::from_mode(wanted.mode))?;
    for name in here.xattrs.keys().filter(|name| !wanted.xattrs.contains_key(*name)) {
        lremovexattr(to, name.as_slice())?;
    }
    for (name, value) in &wanted.xattrs {
        lsetxattr(to, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(())
}
