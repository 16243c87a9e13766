//! The superblock of btrfs (btrfs documentation, "On-disk format").

use super::{FilesystemType, Superblock, checksum, fields};

/// Where the first superblock stands on the device, in bytes.
pub const OFFSET: u64 = 64 * 1024;
/// How long the superblock is, in bytes.
pub const LENGTH: usize = 4096;

const MAGIC: &[u8; 8] = b"_BHRfS_M";
const CHECKSUM_TYPE_CRC32C: u16 = 0;

/// Reads the [`LENGTH`] bytes at [`OFFSET`]; nothing where they are no superblock or its CRC-32C is wrong.
///
/// Superblocks with another kind of checksum (xxhash, SHA-256, BLAKE2) are taken by their magic number and their own
/// address alone: the kernel checks them when it mounts.
pub fn parse(data: &[u8]) -> Option<Superblock> {
    let data = data.get(..LENGTH)?;
    if &fields::bytes::<8>(data, 0x40)? != MAGIC || fields::le64(data, 0x30)? != OFFSET {
        return None;
    }
    if fields::le16(data, 0xc4)? == CHECKSUM_TYPE_CRC32C
        && checksum::crc32c(&[data.get(0x20..)?]) != fields::le32(data, 0)?
    {
        return None;
    }
    Some(Superblock {
        kind: FilesystemType::Btrfs,
        uuid: fields::uuid(fields::bytes(data, 0x20)?),
        label: fields::label(data.get(0x12b..0x22b)?),
    })
}
