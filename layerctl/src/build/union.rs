//! A directory tree and files that it lacks, seen as one: nothing of it is copied or changed.
//!
//! It is an overlay in a mount namespace of this process alone, so nobody else sees it and it is gone when the process
//! ends, however it ends.

#![expect(clippy::disallowed_methods, reason = "looks at trees and makes a mount point")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use caps::{CapSet, Capability};
use layers::plan::Overlay;
use layers::store::{inspect, tree};
use layers::sys;
use nix::sched::CloneFlags;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use crate::error::Error;

/// A mounted union; it is unmounted when it is dropped.
pub(crate) struct Union {
    at: PathBuf,
}

impl Drop for Union {
    fn drop(&mut self) {
        // Before the directory that it is in is removed with all that is seen there.
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}

impl Union {
    /// Shows `tree`, and below it `lacking`, at the new directory `at`.
    ///
    /// There is none, and the log says why, without CAP_SYS_ADMIN or where the kernel refuses it: on two overlays, or with
    /// a path of more than 255 bytes.
    pub(super) fn mount(tree: &Path, lacking: &Path, at: &Path) -> Option<Self> {
        if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false) {
            return None;
        }
        let mounted = own_mounts().map_err(|error| error.to_string()).and_then(|()| {
            fs::create_dir(at).map_err(|error| error.to_string())?;
            let overlay = Overlay {
                data: Vec::new(),
                source: "layerctl:build".to_owned(),
                lowers: vec![tree.to_owned(), lacking.to_owned()],
                upper: None,
                at: at.to_owned(),
            };
            let mount = sys::overlay(&overlay).map_err(|error| error.to_string())?;
            sys::attach(&mount, at).map_err(|error| error.to_string())
        });
        match mounted {
            Ok(()) => Some(Self { at: at.to_owned() }),
            Err(why) => {
                log::debug!("{} is copied: {why}", tree.display());
                None
            }
        }
    }
}

/// What is mounted elsewhere still arrives here, what is mounted here stays here.
fn own_mounts() -> Result<(), rustix::io::Errno> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|error| rustix::io::Errno::from_raw_os_error(error as i32))?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
}

/// What decides how a tree can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    /// Whether an overlay shows all of it: there are no whiteouts and marks in it, which the overlay would take as meant
    /// for itself, and no other file systems, which it would not show.
    pub(super) plain: bool,
    /// The newest modification time.
    pub(super) newest: SystemTime,
}

impl Survey {
    /// Looks at every entry.
    pub(super) fn of(root: &Path) -> Result<Self, Error> {
        let mut survey = Self { plain: true, newest: SystemTime::UNIX_EPOCH };
        let mut device = None;
        let mut todo = vec![root.to_owned()];
        while let Some(path) = todo.pop() {
            let failed = |error| Error::io("read", &path, error);
            let found = fs::symlink_metadata(&path).map_err(failed)?;
            survey.newest = survey.newest.max(found.modified().map_err(failed)?);
            let kind = found.file_type();
            let whiteout = kind.is_char_device() && found.rdev() == 0;
            let elsewhere = *device.get_or_insert(found.dev()) != found.dev();
            survey.plain &= !whiteout && !elsewhere && !tree::is_marked(&path).map_err(failed)?;
            if kind.is_dir() {
                survey.plain &= !inspect::is_opaque(&path).map_err(failed)?;
                for entry in fs::read_dir(&path).map_err(failed)? {
                    todo.push(entry.map_err(failed)?.path());
                }
            }
        }
        Ok(survey)
    }
}
