//! Images on their way into the store: copied and hashed in one pass.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::publish;
use crate::exec::HostError;
use crate::id::Digest;
use crate::superblock::{SUPERBLOCK_BYTES, Superblock, SuperblockError};

/// Bytes that are read, hashed and written at a time.
const CHUNK: usize = 1 << 20;

/// Called with the number of bytes that were just handled.
pub type Progress<'a> = dyn FnMut(u64) + 'a;

/// Copies `from` to `to`, hashing on the way, and publishes it; refused without a trace if the digest is not `want`.
pub fn copy(
    from: &Path,
    to: &Path,
    want: &Digest,
    progress: &mut Progress<'_>,
) -> Result<(), HostError> {
    let temporary = publish::beside(to);
    let result = copy_hashed(from, &temporary, progress).and_then(|is| {
        if is == *want {
            publish::rename(&temporary, to).map_err(|error| HostError::io("publish", to, error))
        } else {
            Err(HostError::Digest { path: from.to_owned(), is, want: *want })
        }
    });
    if result.is_err() {
        // The disk may be full: give back what was taken. What cannot be removed here, cleanup removes.
        let _ = publish::remove_any(&temporary);
    }
    result
}

/// Copies `from` to `to`, flushed, and gives what its bytes hash to.
pub(super) fn copy_hashed(
    from: &Path,
    to: &Path,
    progress: &mut Progress<'_>,
) -> Result<Digest, HostError> {
    let source = File::open(from).map_err(|error| HostError::io("open", from, error))?;
    let mut options = OpenOptions::new();
    let mut target = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)
        .map_err(|error| HostError::io("create", to, error))?;
    let digest = each_chunk(source, from, |chunk| {
        target.write_all(chunk).map_err(|error| HostError::io("write", to, error))?;
        progress(chunk.len() as u64);
        Ok(())
    })?;
    target.sync_all().map_err(|error| HostError::io("flush", to, error))?;
    Ok(digest)
}

/// Bytes that a user may still write to the file system of `directory`.
pub fn free(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// SHA-256 of bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::new(Sha256::digest(bytes).into())
}

/// SHA-256 of a file's bytes.
pub fn hash(path: &Path, progress: &mut Progress<'_>) -> Result<Digest, HostError> {
    let file = File::open(path).map_err(|error| HostError::io("open", path, error))?;
    each_chunk(file, path, |chunk| {
        progress(chunk.len() as u64);
        Ok(())
    })
}

fn each_chunk(
    mut file: File,
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), HostError>,
) -> Result<Digest, HostError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = match file.read(&mut buffer) {
            Ok(0) => return Ok(Digest::new(hasher.finalize().into())),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(HostError::io("read", path, error)),
        };
        let chunk = buffer.get(..length).unwrap_or_default();
        hasher.update(chunk);
        take(chunk)?;
    }
}

/// Reads an image's superblock; the outer error is the file's, the inner one the image's.
pub fn superblock(path: &Path) -> io::Result<Result<Superblock, SuperblockError>> {
    // A pipe would be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Err(SuperblockError::Unknown));
    }
    let mut head = vec![0; SUPERBLOCK_BYTES];
    let mut have = 0;
    while let Some(rest) = head.get_mut(have..)
        && !rest.is_empty()
    {
        match file.read_at(rest, have as u64) {
            Ok(0) => break,
            Ok(length) => have += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(have);
    Ok(Superblock::parse(&head, metadata.len()))
}
