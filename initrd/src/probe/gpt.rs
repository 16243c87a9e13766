//! The GUID partition table (UEFI specification 2.10, chapter 5.3): which partition has which GUID and name.

use std::io;

use super::{ReadAt, checksum, fields};

/// The sector sizes that a table is looked for with, in bytes.
pub const SECTOR_SIZES: [u64; 2] = [512, 4096];

const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_LENGTH: usize = 92;
const ENTRY_LENGTH: usize = 128;
// The specification's minimum is 128 entries; tables with more exist, and one with thousands is damage.
const MAX_ENTRIES: u32 = 1024;

/// A header whose own checksum holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The disk's GUID as blkid prints it.
    pub disk: String,
    /// The sector that this header says it is in.
    pub sector: u64,
    /// The sector that the entries begin in.
    pub entries_sector: u64,
    /// How many entries there are.
    pub entries: u32,
    /// How long an entry is, in bytes.
    pub entry_length: u32,
    /// The CRC-32 of all entries.
    pub entries_checksum: u32,
}

/// One partition that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The number, from 1, as in sysfs' `partition` file.
    pub number: u32,
    /// PARTUUID as blkid prints it.
    pub uuid: String,
    /// PARTLABEL; nothing where the name is empty.
    pub name: Option<String>,
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The disk's GUID.
    pub disk: String,
    /// The partitions in use, by number.
    pub partitions: Vec<Partition>,
}

/// Reads a header from its sector; nothing where it is none or its checksum is wrong.
pub fn parse_header(sector: &[u8]) -> Option<Header> {
    if &fields::bytes::<8>(sector, 0)? != SIGNATURE {
        return None;
    }
    let length = usize::try_from(fields::le32(sector, 12)?).ok()?;
    if length < HEADER_LENGTH {
        return None;
    }
    let header = sector.get(..length)?;
    let computed = checksum::crc32(&[header.get(..16)?, &[0; 4], header.get(20..)?]);
    if computed != fields::le32(header, 16)? {
        return None;
    }
    Some(Header {
        disk: fields::guid(fields::bytes(header, 56)?),
        sector: fields::le64(header, 24)?,
        entries_sector: fields::le64(header, 72)?,
        entries: fields::le32(header, 80)?,
        entry_length: fields::le32(header, 84)?,
        entries_checksum: fields::le32(header, 88)?,
    })
}

/// Reads the partitions in use from all entries; nothing where their checksum is not the header's.
pub fn parse_entries(header: &Header, entries: &[u8]) -> Option<Vec<Partition>> {
    if checksum::crc32(&[entries]) != header.entries_checksum {
        return None;
    }
    let length = usize::try_from(header.entry_length).ok()?;
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(length.max(ENTRY_LENGTH))) {
        if fields::bytes::<16>(entry, 0)? == [0; 16] {
            continue;
        }
        partitions.push(Partition {
            number,
            uuid: fields::guid(fields::bytes(entry, 16)?),
            name: name(entry.get(56..128)?),
        });
    }
    Some(partitions)
}

/// Probes for a table: the header in sector 1, and where that is damaged the backup in the last sector.
pub fn probe(device: &dyn ReadAt) -> io::Result<Option<Table>> {
    let length = device.length()?;
    for sector_size in SECTOR_SIZES {
        let sectors = length / sector_size;
        for sector in [1, sectors.saturating_sub(1)] {
            if let Some(table) = probe_at(device, sector_size, sector)? {
                return Ok(Some(table));
            }
        }
    }
    Ok(None)
}

fn probe_at(device: &dyn ReadAt, sector_size: u64, sector: u64) -> io::Result<Option<Table>> {
    let bytes = device.read_at(sector * sector_size, sector_size as usize)?;
    let Some(header) = parse_header(&bytes) else {
        return Ok(None);
    };
    let believable = header.sector == sector
        && header.entries <= MAX_ENTRIES
        && (ENTRY_LENGTH as u32..=512).contains(&header.entry_length);
    let Some(offset) = header.entries_sector.checked_mul(sector_size).filter(|_| believable) else {
        return Ok(None);
    };
    let length = header.entries as usize * header.entry_length as usize;
    let entries = device.read_at(offset, length)?;
    Ok(parse_entries(&header, &entries).map(|partitions| Table { disk: header.disk, partitions }))
}

fn name(raw: &[u8]) -> Option<String> {
    let units: Vec<u16> = raw
        .chunks_exact(2)
        .filter_map(|pair| fields::le16(pair, 0))
        .take_while(|&unit| unit != 0)
        .collect();
    (!units.is_empty()).then(|| String::from_utf16_lossy(&units))
}
