//! What a block device holds, from its bytes: file system, UUID and label as blkid prints them, and its partition table.
//!
//! Each format has one file with a pure `parse` over the bytes; [`read`] fetches only the ranges that they need.

#![expect(clippy::disallowed_methods, reason = "reads block devices")]

use std::{
    fmt,
    fs::File,
    io::{self, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

pub mod btrfs;
mod checksum;
pub mod ext4;
mod fields;
pub mod gpt;
pub mod vfat;
pub mod xfs;

#[cfg(test)]
mod tests;

/// A file system that can be the state file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilesystemType {
    /// ext2, mounted by the ext4 driver.
    Ext2,
    /// ext3, mounted by the ext4 driver.
    Ext3,
    /// ext4.
    Ext4,
    /// btrfs.
    Btrfs,
    /// XFS.
    Xfs,
    /// FAT12, FAT16 or FAT32 with long names.
    Vfat,
}

impl FilesystemType {
    /// The name that blkid prints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Btrfs => "btrfs",
            Self::Xfs => "xfs",
            Self::Vfat => "vfat",
        }
    }

    /// The type to give to mount(2), which is the name of the driver: ext4's serves ext2 and ext3 too.
    pub fn driver(self) -> &'static str {
        match self {
            Self::Ext2 | Self::Ext3 | Self::Ext4 => "ext4",
            Self::Btrfs | Self::Xfs | Self::Vfat => self.name(),
        }
    }
}

impl fmt::Display for FilesystemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a superblock says of its file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The type.
    pub kind: FilesystemType,
    /// The UUID as blkid prints it; for FAT the serial number.
    pub uuid: Option<String>,
    /// The label as blkid prints it.
    pub label: Option<String>,
}

/// What a device holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// The superblocks found. More than one means that the device was formatted anew over an old file system; which
    /// one is meant can't be known.
    pub superblocks: Vec<Superblock>,
    /// The partition table, if it has one.
    pub table: Option<gpt::Table>,
}

impl Content {
    /// The file system, where it is beyond doubt.
    pub fn filesystem(&self) -> Option<&Superblock> {
        match self.superblocks.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// Bytes at any place, as pread(2) has them.
pub trait ReadAt {
    /// Reads `length` bytes at `offset`; fewer where the source ends.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// How many bytes there are.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        let mut filled = 0;
        while let Some(rest @ [_, ..]) = buffer.get_mut(filled..) {
            match FileExt::read_at(self, rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        Ok(buffer)
    }

    fn length(&self) -> io::Result<u64> {
        let mut file = self;
        file.seek(SeekFrom::End(0))
    }
}

/// A device that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub struct Error {
    /// The device's node.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

/// Reads what the block device (or image file) at `path` holds; `table` says whether to look for partitions as well.
pub fn read(path: &Path, table: bool) -> Result<Content, Error> {
    let attempt = || {
        let device = File::open(path)?;
        content(&device, table)
    };
    attempt().map_err(|source| Error { path: path.to_owned(), source })
}

/// Probes any source of bytes; see [`read`].
pub fn content(device: &dyn ReadAt, table: bool) -> io::Result<Content> {
    let head = device.read_at(0, 4096)?;
    let superblock = usize::try_from(ext4::OFFSET).unwrap_or(usize::MAX);
    let mut superblocks = Vec::new();
    superblocks.extend(head.get(superblock..).and_then(ext4::parse));
    superblocks.extend(match xfs::sector_size(&head) {
        Some(size) if size > head.len() => xfs::parse(&device.read_at(xfs::OFFSET, size)?),
        Some(_) => xfs::parse(&head),
        None => None,
    });
    superblocks.extend(vfat::probe(device, &head)?);
    superblocks.extend(btrfs::parse(&device.read_at(btrfs::OFFSET, btrfs::LENGTH)?));
    let table = if table { gpt::probe(device)? } else { None };
    Ok(Content { superblocks, table })
}
