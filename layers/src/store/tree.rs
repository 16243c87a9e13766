//! New uppers, and what the work on uppers shares.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, lgetxattr, statat};
use rustix::io::Errno;

pub use super::copy::{Links, copy_tree};
use super::copy::{read_directory, set_owner_and_mode};
use super::publish;
use super::xattr::ABOUT_LOWERS;
use crate::exec::HostError;
use crate::plan::Upper;

/// Whether an entry of a tree carries what OverlayFS notes about the lowers under an upper.
pub fn is_marked(path: &Path) -> io::Result<bool> {
    for name in ABOUT_LOWERS {
        match lgetxattr(path, name, &mut [0_u8; 0]) {
            Ok(_) => return Ok(true),
            // A file system without attributes has none of these either.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Makes `upper` and `work` if they are missing; a new upper gets owner and mode of `like`.
pub fn make_upper(upper: &Upper, like: Option<&Path>) -> Result<(), HostError> {
    if !upper.upper.is_dir() {
        let parent = upper.upper.parent().unwrap_or(Path::new("/"));
        make_directories(parent)?;
        let temporary = publish::beside(&upper.upper);
        let done = publish::remove_any(&temporary)
            .and_then(|()| DirBuilder::new().mode(0o755).create(&temporary))
            .and_then(|()| match like.map(|like| statat(CWD, like, AtFlags::empty())) {
                Some(Ok(metadata)) => set_owner_and_mode(&temporary, &metadata),
                _ => Ok(()),
            })
            .and_then(|()| publish::rename(&temporary, &upper.upper));
        done.map_err(|error| HostError::io("create", &upper.upper, error))?;
    }
    match DirBuilder::new().mode(0o700).create(&upper.work) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(HostError::io("create", &upper.work, error))
        }
        _ => Ok(()),
    }
}

/// Flushes the whole file system that holds `path`.
pub(super) fn sync_all(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

pub(super) fn make_directories(path: &Path) -> Result<(), HostError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| HostError::io("create", path, error))
}

pub(super) fn sorted(directory: &Path) -> Result<Vec<OsString>, HostError> {
    let (_, names) =
        read_directory(directory).map_err(|error| HostError::io("read", directory, error))?;
    Ok(names.into_iter().map(|name| OsString::from_vec(name.into_bytes())).collect())
}
