//! A file system being configured: fsopen(2), fsconfig(2), fsmount(2), move_mount(2), and the kernel's own words when
//! one of them refuses (Documentation/filesystems/mount_api.rst).

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use thiserror::Error;

/// A refusal by the kernel, with what it wrote to the context's log.
#[derive(Debug, Error)]
#[error("{source}{}{log}", if log.is_empty() { "" } else { ": " })]
pub struct KernelError {
    /// The error number.
    #[source]
    pub source: io::Error,
    /// The messages, one after another; often empty (ENOENT never has one).
    pub log: String,
}

/// A file system context.
pub struct FsContext {
    fd: OwnedFd,
}

impl FsContext {
    /// A context for the file system type `name`; the kernel loads its module if it can.
    pub fn open(name: &str) -> Result<Self, KernelError> {
        match fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Self { fd }),
            Err(error) => Err(KernelError { source: error.into(), log: String::new() }),
        }
    }

    /// Sets a key to a text.
    pub fn set(&self, key: &str, value: &str) -> Result<(), KernelError> {
        fsconfig_set_string(&self.fd, key, value).map_err(|error| self.explain(error))
    }

    /// Sets a key to a path.
    pub fn set_path(&self, key: &str, value: &Path) -> Result<(), KernelError> {
        let value = CString::new(value.as_os_str().as_bytes())
            .map_err(|error| KernelError { source: error.into(), log: String::new() })?;
        fsconfig_set_string(&self.fd, key, value).map_err(|error| self.explain(error))
    }

    /// Sets a flag, such as `ro`.
    pub fn flag(&self, key: &str) -> Result<(), KernelError> {
        fsconfig_set_flag(&self.fd, key).map_err(|error| self.explain(error))
    }

    /// Makes the superblock and gives a mount that is attached nowhere; it is gone when the descriptor is closed.
    pub fn mount(&self, attributes: MountAttrFlags) -> Result<OwnedFd, KernelError> {
        fsconfig_create(&self.fd).map_err(|error| self.explain(error))?;
        fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(|error| self.explain(error))
    }

    /// Adds what the kernel wrote about an error; each message is one read(2), `e ` in front of an error.
    fn explain(&self, error: rustix::io::Errno) -> KernelError {
        let mut log = Vec::new();
        let mut buffer = [0; 512];
        while let Ok(length) = rustix::io::read(&self.fd, &mut buffer)
            && length > 0
        {
            let message = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
            log.push(message.trim_end().trim_start_matches(['e', 'w', 'i']).trim().to_owned());
        }
        KernelError { source: error.into(), log: log.join("; ") }
    }
}

/// Attaches a mount at a path.
pub fn attach(mount: &OwnedFd, at: &Path) -> Result<(), KernelError> {
    move_mount(mount, "", rustix::fs::CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|error| KernelError { source: error.into(), log: String::new() })
}
