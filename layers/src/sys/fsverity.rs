//! fs-verity: a file that its file system checks at each read, and that nobody can write any more.
//!
//! Source: `include/uapi/linux/fsverity.h`; FS_IOC_ENABLE_VERITY, FS_IOC_MEASURE_VERITY since Linux 5.4.

#![expect(unsafe_code, reason = "ioctls take raw descriptors and pointers")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::id::Digest;

nix::ioctl_write_ptr!(enable, b'f', 133, Enable);
nix::ioctl_readwrite!(measure, b'f', 134, Header);

const SHA256: u16 = 1;

/// `struct fsverity_enable_arg`.
#[repr(C)]
struct Enable {
    version: u32,
    hash_algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt: u64,
    signature_size: u32,
    reserved: u32,
    signature: u64,
    reserved_more: [u64; 11],
}

/// `struct fsverity_digest`, whose bytes stand behind it.
#[repr(C)]
struct Header {
    algorithm: u16,
    size: u16,
}

#[repr(C)]
struct Room {
    header: Header,
    digest: [u8; 32],
}

/// What the kernel checks the reads of this file against, where that is a SHA-256 digest; `None` for a file without
/// fs-verity, or with another algorithm, or on a file system that has none.
pub fn fsverity_digest(file: &File) -> io::Result<Option<Digest>> {
    let mut room = Room { header: Header { algorithm: 0, size: 32 }, digest: [0; 32] };
    // SAFETY: the kernel writes at most `size` bytes behind the header, and that room is there; `room` outlives the call,
    // and its header is its first field. The descriptor is open.
    match unsafe { measure(file.as_raw_fd(), (&raw mut room).cast()) } {
        Ok(_) if room.header.algorithm == SHA256 => Ok(Some(Digest::new(room.digest))),
        Ok(_)
        | Err(
            nix::Error::ENODATA
            | nix::Error::EOVERFLOW
            | nix::Error::ENOTTY
            | nix::Error::EOPNOTSUPP,
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives a file fs-verity: SHA-256 over blocks of 4096 bytes, without salt. The kernel reads the whole file. Nobody may have it
/// open for writing (ETXTBSY). Where it has fs-verity already, this is EEXIST; where the file system or the kernel has none,
/// ENOTTY or EOPNOTSUPP.
pub fn enable_fsverity(file: &File) -> io::Result<()> {
    let argument = Enable {
        version: 1,
        hash_algorithm: u32::from(SHA256),
        block_size: 4096,
        salt_size: 0,
        salt: 0,
        signature_size: 0,
        reserved: 0,
        signature: 0,
        reserved_more: [0; 11],
    };
    // SAFETY: the argument is a whole `struct fsverity_enable_arg` that outlives the call, and points to nothing. The
    // descriptor is open.
    unsafe { enable(file.as_raw_fd(), &raw const argument) }?;
    Ok(())
}
