//! Squashfs and EROFS, told apart by superblock, and whether a file is long enough to hold what its superblock says.
//!
//! Sources: Linux `fs/squashfs/squashfs_fs.h` (`struct squashfs_super_block`), `fs/erofs/erofs_fs.h`
//! (`struct erofs_super_block`, at byte 1024).

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How many bytes from the start of a file [`Superblock::parse`] wants to see.
pub const SUPERBLOCK_BYTES: usize = 1024 + 128;

/// An image's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Squashfs 4.0; needs a loop device.
    Squashfs,
    /// EROFS; mounts from a plain file since Linux 6.12.
    Erofs,
}

impl Format {
    /// The name under which the kernel knows the file system.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a file is not a usable image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SuperblockError {
    /// Neither magic is there.
    #[error("is no squashfs or EROFS image")]
    Unknown,
    /// A superblock whose fields contradict each other.
    #[error("has a damaged {format} superblock: {what}")]
    Damaged {
        /// Which file system's.
        format: Format,
        /// Which field, and what it holds.
        what: String,
    },
    /// The file is shorter than its superblock says.
    #[error("is truncated: its {format} superblock says {want} bytes, the file has {have}")]
    Truncated {
        /// Which file system's.
        format: Format,
        /// Bytes that the superblock speaks of.
        want: u64,
        /// Bytes that the file has.
        have: u64,
    },
}

/// What a superblock says of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// The file system.
    pub format: Format,
    /// Bytes that the file system uses, from the start of the file.
    pub bytes: u64,
}

impl Superblock {
    /// Reads a superblock from the first [`SUPERBLOCK_BYTES`] bytes of a file that is `file_bytes` long.
    pub fn parse(head: &[u8], file_bytes: u64) -> Result<Self, SuperblockError> {
        let superblock = if field(head, 0) == Some(*b"hsqs") {
            squashfs(head)?
        } else if field(head, 1024) == Some(0xe0f5_e1e2_u32.to_le_bytes()) {
            erofs(head)?
        } else {
            return Err(SuperblockError::Unknown);
        };
        if superblock.bytes > file_bytes {
            return Err(SuperblockError::Truncated {
                format: superblock.format,
                want: superblock.bytes,
                have: file_bytes,
            });
        }
        Ok(superblock)
    }
}

/// How many inodes the squashfs image has whose file starts with `head`: its files, directories and the rest, hard links
/// counted once; `None` for anything else.
pub fn squashfs_inodes(head: &[u8]) -> Option<u64> {
    field(head, 0).filter(|magic: &[u8; 4]| magic == b"hsqs")?;
    field(head, 4).map(|count| u64::from(u32::from_le_bytes(count)))
}

fn squashfs(head: &[u8]) -> Result<Superblock, SuperblockError> {
    let damaged = |what: String| SuperblockError::Damaged { format: Format::Squashfs, what };
    let short = || damaged("it is cut off".to_owned());
    let block_size = u32::from_le_bytes(field(head, 12).ok_or_else(short)?);
    let block_log = u16::from_le_bytes(field(head, 22).ok_or_else(short)?);
    let major = u16::from_le_bytes(field(head, 28).ok_or_else(short)?);
    let bytes = u64::from_le_bytes(field(head, 40).ok_or_else(short)?);
    if major != 4 {
        return Err(damaged(format!("version {major}, not 4")));
    }
    if !(12..=20).contains(&block_log) || block_size != 1 << block_log {
        return Err(damaged(format!("block size {block_size} with logarithm {block_log}")));
    }
    // The inode, directory and id tables lie inside what the image uses.
    for (name, at) in [("id", 48), ("inode", 64), ("directory", 72)] {
        let start = u64::from_le_bytes(field(head, at).ok_or_else(short)?);
        if start >= bytes {
            return Err(damaged(format!("the {name} table is at byte {start} of {bytes}")));
        }
    }
    Ok(Superblock { format: Format::Squashfs, bytes })
}

fn erofs(head: &[u8]) -> Result<Superblock, SuperblockError> {
    let damaged = |what: String| SuperblockError::Damaged { format: Format::Erofs, what };
    let short = || damaged("it is cut off".to_owned());
    let [block_bits] = field(head, 1024 + 12).ok_or_else(short)?;
    let blocks = u32::from_le_bytes(field(head, 1024 + 36).ok_or_else(short)?);
    if !(9..=16).contains(&block_bits) {
        return Err(damaged(format!("block size 2^{block_bits}")));
    }
    if blocks == 0 {
        return Err(damaged("no blocks".to_owned()));
    }
    Ok(Superblock { format: Format::Erofs, bytes: u64::from(blocks) << block_bits })
}

fn field<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..at.checked_add(N)?)?.try_into().ok()
}
