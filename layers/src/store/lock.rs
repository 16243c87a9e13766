//! The lock that a change holds from before it reads the store until it has published.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;
use crate::layout::Layout;

/// The held lock; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who holds it. Never waits.
    pub fn acquire(layout: &Layout) -> Result<Self, StoreError> {
        let path = layout.lock();
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).map_err(
                |error| match error.kind() {
                    io::ErrorKind::ReadOnlyFilesystem => {
                        StoreError::ReadOnly(layout.top().to_owned())
                    }
                    _ => StoreError::io("open", &path, error),
                },
            )?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                return Err(StoreError::Locked { holder: known.then(|| holder.trim().to_owned()) });
            }
            Err(error) => return Err(StoreError::io("lock", &path, error)),
        }
        // The number is only for the message above: a full disk must not keep anyone from a rollback.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }

    /// Takes from everybody but its owner what they may do with the store, and tells whether that was anything: images and old
    /// uppers have set-user-ID programs and keys in them.
    pub fn shut_out_others(&self, layout: &Layout) -> Result<bool, StoreError> {
        let top = layout.top();
        let failed = |error| StoreError::io("close to others", top, error);
        let mode = fs::metadata(top).map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 == 0 {
            return Ok(false);
        }
        fs::set_permissions(top, Permissions::from_mode(0o700)).map_err(failed)?;
        Ok(true)
    }
}
