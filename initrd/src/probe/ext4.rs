//! The superblock of ext2, ext3 and ext4 (Linux, Documentation/filesystems/ext4/super.rst).

use super::{FilesystemType, Superblock, checksum, fields};

/// Where the superblock stands on the device, in bytes.
pub const OFFSET: u64 = 1024;
/// How long the superblock is, in bytes.
pub const LENGTH: usize = 1024;

const MAGIC: u16 = 0xef53;
const CHECKSUM_AT: usize = 0x3fc;

const COMPAT_HAS_JOURNAL: u32 = 0x4;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

// What the ext2 and the ext3 driver understood; a feature beyond them makes the file system an ext4.
const EXT2_INCOMPAT: u32 = 0x2 | 0x10;
const EXT3_INCOMPAT: u32 = EXT2_INCOMPAT | 0x4;
const EXT2_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;

/// Reads the [`LENGTH`] bytes at [`OFFSET`]; nothing where they are no superblock or its checksum is wrong.
///
/// A separate journal device has the same magic number and is not a file system: nothing.
pub fn parse(data: &[u8]) -> Option<Superblock> {
    if fields::le16(data, 0x38)? != MAGIC {
        return None;
    }
    let compat = fields::le32(data, 0x5c)?;
    let incompat = fields::le32(data, 0x60)?;
    let ro_compat = fields::le32(data, 0x64)?;
    if incompat & INCOMPAT_JOURNAL_DEV != 0 {
        return None;
    }
    if ro_compat & RO_COMPAT_METADATA_CSUM != 0
        && checksum::crc32c_uninverted(&[data.get(..CHECKSUM_AT)?])
            != fields::le32(data, CHECKSUM_AT)?
    {
        return None;
    }
    let journal = compat & COMPAT_HAS_JOURNAL != 0;
    let kind = if ro_compat & !EXT2_RO_COMPAT != 0 || incompat & !EXT3_INCOMPAT != 0 {
        FilesystemType::Ext4
    } else if journal {
        FilesystemType::Ext3
    } else if incompat & !EXT2_INCOMPAT == 0 {
        FilesystemType::Ext2
    } else {
        return None;
    };
    Some(Superblock {
        kind,
        uuid: fields::uuid(fields::bytes(data, 0x68)?),
        label: fields::label(data.get(0x78..0x88)?),
    })
}

/// Whether the journal has to be replayed, by the [`LENGTH`] bytes at [`OFFSET`].
pub fn needs_recovery(data: &[u8]) -> bool {
    fields::le32(data, 0x60).is_some_and(|incompat| incompat & INCOMPAT_RECOVER != 0)
}
