//! FAT12, FAT16 and FAT32: the boot sector and the volume label in the root directory (Microsoft, FAT32 File System
//! Specification 1.03).

use std::io;

use super::{FilesystemType, ReadAt, Superblock, fields};

/// How long the part of the boot sector that is read is, in bytes.
pub const LENGTH: usize = 512;

const ENTRY: usize = 32;
const ATTRIBUTE_VOLUME_ID: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
// A damaged chain of clusters may be a ring; no label stands this far down the root directory.
const MAX_CLUSTERS: usize = 100;

/// What the boot sector says: the serial number and where the root directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootSector {
    /// The volume's serial number as blkid prints it, `XXXX-XXXX`; nothing where it is zero or not recorded.
    pub serial: Option<String>,
    /// Where the root directory is.
    pub root: RootDirectory,
}

/// The root directory's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootDirectory {
    /// FAT12 and FAT16: one range, in bytes of the device.
    Range {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        length: usize,
    },
    /// FAT32: a chain of clusters in the file allocation table.
    Chain {
        /// The number of the first cluster.
        first: u32,
        /// How long a cluster is, in bytes.
        cluster_length: usize,
        /// Where the file allocation table begins, in bytes of the device.
        table: u64,
        /// Where cluster 2, the first one with data, begins, in bytes of the device.
        data: u64,
    },
}

/// Reads the boot sector; nothing where it isn't FAT's.
///
/// FAT has no magic number worth the name, so every field that has a range is held against it, and a master boot record
/// or an exFAT or NTFS boot sector is none.
pub fn parse(data: &[u8]) -> Option<BootSector> {
    if fields::bytes::<2>(data, 510)? != [0x55, 0xaa] {
        return None;
    }
    let sector = u64::from(fields::le16(data, 11)?);
    let cluster = u64::from(fields::byte(data, 13)?);
    let reserved = u64::from(fields::le16(data, 14)?);
    let tables = u64::from(fields::byte(data, 16)?);
    let media = fields::byte(data, 21)?;
    if !(512..=4096).contains(&sector)
        || !sector.is_power_of_two()
        || !cluster.is_power_of_two()
        || reserved == 0
        || tables == 0
        || !(media == 0xf0 || media >= 0xf8)
    {
        return None;
    }
    let root_entries = u64::from(fields::le16(data, 17)?);
    let table_sectors16 = fields::le16(data, 22)?;
    let fat32 = table_sectors16 == 0;
    let table_sectors = match fat32 {
        true => u64::from(fields::le32(data, 36)?),
        false => u64::from(table_sectors16),
    };
    let sectors = match fields::le16(data, 19)? {
        0 => u64::from(fields::le32(data, 32)?),
        short => u64::from(short),
    };
    let root_length = root_entries * ENTRY as u64;
    let before_data = reserved + tables * table_sectors + root_length.div_ceil(sector);
    let clusters = sectors.checked_sub(before_data)? / cluster;
    let most = if fat32 { 0x0fff_fff4 } else { 0xfff4 };
    if table_sectors == 0 || clusters > most {
        return None;
    }
    let extended = if fat32 { 66 } else { 38 };
    Some(BootSector {
        serial: serial(data, extended),
        root: if fat32 {
            RootDirectory::Chain {
                first: fields::le32(data, 44)?,
                cluster_length: usize::try_from(cluster * sector).ok()?,
                table: reserved * sector,
                data: before_data * sector,
            }
        } else {
            RootDirectory::Range {
                offset: (reserved + tables * table_sectors) * sector,
                length: usize::try_from(root_length).ok()?,
            }
        },
    })
}

/// What a stretch of the root directory says about the volume's label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// The label's entry is here.
    Found(String),
    /// No label in these entries; the directory goes on.
    Further,
    /// The directory ends here, or the label is empty.
    None,
}

/// Looks for the volume label among directory entries of 32 bytes each.
pub fn label(entries: &[u8]) -> Label {
    for entry in entries.chunks_exact(ENTRY) {
        let (Some(first), Some(attributes)) = (fields::byte(entry, 0), fields::byte(entry, 11))
        else {
            return Label::None;
        };
        if first == 0 {
            return Label::None;
        }
        let volume =
            attributes & (ATTRIBUTE_VOLUME_ID | ATTRIBUTE_DIRECTORY) == ATTRIBUTE_VOLUME_ID;
        let long_name = attributes & 0x3f == ATTRIBUTE_LONG_NAME;
        if first == 0xe5 || !volume || long_name {
            continue;
        }
        let mut name: [u8; 11] = fields::bytes(entry, 0).unwrap_or_default();
        // 0x05 stands for 0xe5, which as a first byte means "deleted".
        if let [start @ 0x05, ..] = &mut name {
            *start = 0xe5;
        }
        return fields::label(&name).map_or(Label::None, Label::Found);
    }
    Label::Further
}

/// Probes for FAT: the boot sector, then the root directory for the label.
///
/// The label is the root directory's, as for blkid; the boot sector's copy goes stale when the label is changed.
pub fn probe(device: &dyn ReadAt, boot: &[u8]) -> io::Result<Option<Superblock>> {
    let Some(boot) = parse(boot) else {
        return Ok(None);
    };
    Ok(Some(Superblock {
        kind: FilesystemType::Vfat,
        uuid: boot.serial,
        label: root_label(device, &boot.root)?,
    }))
}

fn root_label(device: &dyn ReadAt, root: &RootDirectory) -> io::Result<Option<String>> {
    let (first, cluster_length, table, data) = match *root {
        RootDirectory::Range { offset, length } => {
            return Ok(match label(&device.read_at(offset, length)?) {
                Label::Found(name) => Some(name),
                Label::Further | Label::None => None,
            });
        }
        RootDirectory::Chain { first, cluster_length, table, data } => {
            (first, cluster_length, table, data)
        }
    };
    let mut cluster = first;
    for _ in 0..MAX_CLUSTERS {
        if !(2..0x0fff_fff0).contains(&cluster) {
            break;
        }
        let offset = data + u64::from(cluster - 2) * cluster_length as u64;
        match label(&device.read_at(offset, cluster_length)?) {
            Label::Found(name) => return Ok(Some(name)),
            Label::None => break,
            Label::Further => {}
        }
        let entry = device.read_at(table + u64::from(cluster) * 4, 4)?;
        cluster = fields::le32(&entry, 0).unwrap_or(0) & 0x0fff_ffff;
    }
    Ok(None)
}

// An extended boot signature of 0x28 or 0x29 says that a serial number follows.
fn serial(data: &[u8], extended: usize) -> Option<String> {
    matches!(fields::byte(data, extended)?, 0x28 | 0x29).then_some(())?;
    let serial = fields::le32(data, extended + 1)?;
    (serial != 0).then(|| format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff))
}
