//! What is taken out of uppers: renamed aside at boot, deleted once the system runs.
//!
//! It lies beside the upper in a directory with an unpublished name that carries a marker. Nothing without the marker is
//! ever deleted here, whatever its name.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::publish;
use crate::exec::HostError;
use crate::layout::UNPUBLISHED;

/// The file that says that all beside it may go.
const MARKER: &str = ".layerctl-discarded";

/// A directory for what goes.
#[derive(Debug)]
pub struct Discard(PathBuf);

impl Discard {
    /// Makes one in `dir`, on disk with its marker before anything comes into it.
    pub fn new(dir: &Path) -> Result<Self, HostError> {
        let mut number = 0_u32;
        loop {
            let path = dir.join(format!("{UNPUBLISHED}discarded-{number}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                made => {
                    let marked = made
                        .and_then(|()| File::create(path.join(MARKER))?.sync_all())
                        .and_then(|()| publish::sync(&path));
                    marked.map_err(|error| HostError::io("create", &path, error))?;
                    return Ok(Self(path));
                }
            }
        }
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// The marked directories in `dir`.
pub fn pending(dir: &Path) -> Vec<PathBuf> {
    let prefix = format!("{UNPUBLISHED}discarded-");
    let Ok(listing) = fs::read_dir(dir) else { return Vec::new() };
    let names = listing.flatten().filter(|entry| {
        entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes())
            && fs::symlink_metadata(entry.path().join(MARKER)).is_ok_and(|found| found.is_file())
    });
    names.map(|entry| entry.path()).collect()
}

/// Deletes the marked directories in `dir`; the marker goes last, so that what an interruption leaves is found again.
pub fn delete(dir: &Path) -> io::Result<()> {
    for directory in pending(dir) {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_name() != MARKER {
                publish::remove_any(&entry.path())?;
            }
        }
        fs::remove_file(directory.join(MARKER))?;
        fs::remove_dir(&directory)?;
    }
    Ok(())
}
