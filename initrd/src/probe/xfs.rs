//! The superblock of XFS (XFS Algorithms & Data Structures, "Superblocks").

use super::{FilesystemType, Superblock, checksum, fields};

/// Where the superblock stands on the device, in bytes.
pub const OFFSET: u64 = 0;
/// The longest sector that mkfs.xfs makes, in bytes: version 5 checks the whole sector.
pub const LENGTH: usize = 32 * 1024;

const MAGIC: &[u8; 4] = b"XFSB";
const CHECKSUM_AT: usize = 0xe0;

/// Reads the sector at [`OFFSET`] (more bytes do no harm); nothing where it is no superblock or its CRC-32C is wrong.
pub fn parse(data: &[u8]) -> Option<Superblock> {
    if &fields::bytes::<4>(data, 0)? != MAGIC {
        return None;
    }
    let block_size = fields::be32(data, 4)?;
    let sector_size = usize::from(fields::be16(data, 0x66)?);
    if !block_size.is_power_of_two()
        || !(512..=65536).contains(&block_size)
        || !sector_size.is_power_of_two()
        || !(512..=LENGTH).contains(&sector_size)
    {
        return None;
    }
    let version = fields::be16(data, 0x64)? & 0xf;
    if version == 5 && !checksum_holds(data.get(..sector_size)?)? {
        return None;
    }
    Some(Superblock {
        kind: FilesystemType::Xfs,
        uuid: fields::uuid(fields::bytes(data, 0x20)?),
        label: fields::label(data.get(0x6c..0x78)?),
    })
}

/// How many bytes the superblock's sector has, from its first 512: what [`parse`] needs; nothing where it is no XFS.
pub fn sector_size(data: &[u8]) -> Option<usize> {
    let size = usize::from(fields::be16(data, 0x66)?);
    (&fields::bytes::<4>(data, 0)? == MAGIC && size <= LENGTH).then_some(size)
}

// The checksum is computed over the sector with zeros in the checksum's place.
fn checksum_holds(sector: &[u8]) -> Option<bool> {
    let (before, after) = (sector.get(..CHECKSUM_AT)?, sector.get(CHECKSUM_AT + 4..)?);
    let computed = checksum::crc32c(&[before, &[0; 4], after]);
    Some(computed == fields::le32(sector, CHECKSUM_AT)?)
}
