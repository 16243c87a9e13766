//! The GUID partition table of a disk image (UEFI specification 2.10, chapter 5.3), and which of its partitions hold a
//! system's files (UAPI.2, Discoverable Partitions Specification).
//!
//! An image file is a whole: what its table says must lie in the file, all checksums must hold, and the copy of the table
//! at the end must be where it belongs. A disk may be mended by its copy; a file is fetched again.

use std::io;

use flate2::Crc;
use thiserror::Error;

/// The sector sizes that a table is looked for with, in bytes.
const SECTORS: [u64; 2] = [512, 4096];

const SIGNATURE: &[u8; 8] = b"EFI PART";
/// The length of the header that is defined, in bytes.
const HEADER: usize = 92;
/// The length of an entry that is defined, in bytes.
const ENTRY: usize = 128;
/// The most entries that are read. Tools make 128.
const ENTRIES_MAX: usize = 1024;

/// By architecture, as systemd names it: the types of the root and /usr partitions and of their verity data.
const TYPES: [(&str, [&str; 4]); 8] = [
    (
        "x86-64",
        [
            "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
            "8484680c-9521-48c6-9c11-b0720656f69e",
            "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
            "77ff5f63-e7b6-4633-acf4-1565b864c0e6",
        ],
    ),
    (
        "arm64",
        [
            "b921b045-1df0-41c3-af44-4c6f280d3fae",
            "b0e01050-ee5f-4390-949a-9101b17104e9",
            "df3300ce-d69f-4c92-978c-9bfb0f38d820",
            "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e",
        ],
    ),
    (
        "x86",
        [
            "44479540-f297-41b2-9af7-d131d5f0458a",
            "75250d76-8cc6-458e-bd66-bd47cc81a812",
            "d13c5d3b-b5d1-422a-b29f-9454fdc89d76",
            "8f461b0d-14ee-4e81-9aa9-049b6fb97abd",
        ],
    ),
    (
        "arm",
        [
            "69dad710-2ce4-4e3c-b16c-21a1d49abed3",
            "7d0359a3-02b3-4f0a-865c-654403e70625",
            "7386cdf2-203c-47a9-a498-f2ecce45a2d6",
            "c215d751-7bcd-4649-be90-6627490a4c05",
        ],
    ),
    (
        "riscv64",
        [
            "72ec70a6-cf74-40e6-bd49-4bda08e8f224",
            "beaec34b-8442-439b-a40b-984381ed097d",
            "b6ed5582-440b-4209-b8da-5ff7c419ea3d",
            "8f1056be-9b05-47c4-81d6-be53128e5b54",
        ],
    ),
    (
        "ppc64-le",
        [
            "c31c45e6-3f39-412e-80fb-4809c4980599",
            "15bb03af-77e7-4d4a-b12b-c0d084f7491c",
            "906bd944-4589-4aae-a4e4-dd983917446a",
            "ee2b9983-21e8-4153-86d9-b6901a54d1ce",
        ],
    ),
    (
        "s390x",
        [
            "5eead9a9-fe09-4a1e-a1d7-520d00531306",
            "8a4f5770-50aa-4ed3-874a-99b710db6fea",
            "b325bfbe-c7be-4ab8-8357-139e652d2f6b",
            "31741cc4-1a2a-4111-a581-e00b447d2d06",
        ],
    ),
    (
        "loongarch64",
        [
            "77055800-792c-4f94-b39a-98c91b762bb6",
            "e611c702-575c-4cbe-9a46-434fa0bf7e3f",
            "f3393b22-e9af-4613-a948-9d3bfbd0c535",
            "f46b2c26-59ae-48f0-9106-c50ed47f673d",
        ],
    ),
];

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A system's root.
    Root,
    /// What belongs below /usr.
    Usr,
    /// The hash tree of a root partition.
    RootVerity,
    /// The hash tree of a /usr partition.
    UsrVerity,
}

/// A partition of a type that says what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    /// What it holds.
    pub(super) purpose: Purpose,
    /// For which architecture, as systemd names it.
    pub(super) architecture: &'static str,
    /// Its own GUID. Those of a file system and of its hashes are the two halves of the root hash.
    pub(super) id: u128,
    /// The byte that it begins at.
    pub(super) start: u64,
    /// Its length in bytes.
    pub(super) length: u64,
}

/// Why a table cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TableError {
    /// A checksum does not hold, or a field contradicts another.
    #[error("has a damaged partition table: {0}")]
    Damaged(String),
    /// The file is shorter than its table says.
    #[error("is truncated: its partition table speaks of {want} bytes, the file has {have}")]
    Truncated {
        /// Bytes that the table speaks of.
        want: u64,
        /// Bytes that the file has.
        have: u64,
    },
}

fn damaged(what: impl Into<String>) -> TableError {
    TableError::Damaged(what.into())
}

/// Where bytes of a file come from: `read(at, length)` gives as many, or fewer where the file ends.
pub(super) type Read<'a> = dyn FnMut(u64, usize) -> io::Result<Vec<u8>> + 'a;

/// The partitions of the file of that length, in the order of the table; `None` where there is no table. The outer error
/// is the file's, the inner one the table's.
pub(super) fn partitions(
    read: &mut Read<'_>,
    length: u64,
) -> io::Result<Option<Result<Vec<Partition>, TableError>>> {
    for sector in SECTORS {
        let bytes = read(sector, HEADER)?;
        if bytes.get(..SIGNATURE.len()) != Some(SIGNATURE) {
            continue;
        }
        return match header(&bytes, sector, length) {
            Err(error) => Ok(Some(Err(error))),
            Ok(header) => {
                let entries = read(header.entries, header.count * header.size)?;
                Ok(Some(table(&header, &entries, sector, length)))
            }
        };
    }
    Ok(None)
}

/// What is used of a header.
struct Header {
    /// The byte that the entries begin at.
    entries: u64,
    count: usize,
    /// The length of an entry in bytes.
    size: usize,
    checksum: u32,
    /// The first byte that partitions may use, and the first after them.
    usable: (u64, u64),
}

fn header(bytes: &[u8], sector: u64, length: u64) -> Result<Header, TableError> {
    let short = || damaged("its header is cut off");
    let word = |at: usize| field(bytes, at).map(u32::from_le_bytes).ok_or_else(short);
    let long = |at: usize| field(bytes, at).map(u64::from_le_bytes).ok_or_else(short);
    let to_bytes = |sectors: u64| {
        sectors.checked_mul(sector).ok_or_else(|| damaged(format!("sector {sectors}")))
    };
    // A longer header is allowed, and nobody has made one.
    if usize::try_from(word(12)?).ok() != Some(HEADER) {
        return Err(damaged(format!("its header has {} bytes", word(12)?)));
    }
    let mut plain = bytes.get(..HEADER).ok_or_else(short)?.to_vec();
    plain.iter_mut().skip(16).take(4).for_each(|byte| *byte = 0);
    if crc(&plain) != word(16)? {
        return Err(damaged("the checksum of its header is wrong"));
    }
    if long(24)? != 1 {
        return Err(damaged(format!("its header says that it is in sector {}", long(24)?)));
    }
    let end =
        to_bytes(long(32)?)?.checked_add(sector).ok_or_else(|| damaged("its copy's place"))?;
    if end > length {
        return Err(TableError::Truncated { want: end, have: length });
    }
    let (count, size) = (word(80)? as usize, word(84)? as usize);
    if count > ENTRIES_MAX || !(ENTRY..=4096).contains(&size) || !size.is_power_of_two() {
        return Err(damaged(format!("{count} entries of {size} bytes")));
    }
    let after = long(48)?.checked_add(1).ok_or_else(|| damaged("its last usable sector"))?;
    Ok(Header {
        entries: to_bytes(long(72)?)?,
        count,
        size,
        checksum: word(88)?,
        usable: (to_bytes(long(40)?)?, to_bytes(after)?),
    })
}

fn table(
    header: &Header,
    entries: &[u8],
    sector: u64,
    length: u64,
) -> Result<Vec<Partition>, TableError> {
    if entries.len() != header.count * header.size {
        let want = header.entries.saturating_add((header.count * header.size) as u64);
        return Err(TableError::Truncated { want, have: length });
    }
    if crc(entries) != header.checksum {
        return Err(damaged("the checksum of its entries is wrong"));
    }
    let mut partitions = Vec::new();
    let mut taken: Vec<(u64, u64)> = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(header.size)) {
        let short = || damaged(format!("entry {number} is cut off"));
        let kind: [u8; 16] = field(entry, 0).ok_or_else(short)?;
        if kind == [0; 16] {
            continue;
        }
        let first = u64::from_le_bytes(field(entry, 32).ok_or_else(short)?);
        let last = u64::from_le_bytes(field(entry, 40).ok_or_else(short)?);
        let wrong = || damaged(format!("partition {number} is from sector {first} to {last}"));
        let start = first.checked_mul(sector).ok_or_else(wrong)?;
        let end = last.checked_add(1).and_then(|end| end.checked_mul(sector)).ok_or_else(wrong)?;
        if start >= end || start < header.usable.0 || end > header.usable.1 {
            return Err(wrong());
        }
        if end > length {
            return Err(TableError::Truncated { want: end, have: length });
        }
        if taken.iter().any(|(from, to)| start < *to && *from < end) {
            return Err(damaged(format!("partition {number} overlaps another one")));
        }
        taken.push((start, end));
        if let Some((purpose, architecture)) = known(&guid(kind)) {
            let id = mixed(field(entry, 16).ok_or_else(short)?);
            partitions.push(Partition { purpose, architecture, id, start, length: end - start });
        }
    }
    Ok(partitions)
}

fn known(kind: &str) -> Option<(Purpose, &'static str)> {
    TYPES.iter().find_map(|(architecture, [root, usr, root_verity, usr_verity])| {
        let purpose = match kind {
            _ if kind == *root => Purpose::Root,
            _ if kind == *usr => Purpose::Usr,
            _ if kind == *root_verity => Purpose::RootVerity,
            _ if kind == *usr_verity => Purpose::UsrVerity,
            _ => return None,
        };
        Some((purpose, *architecture))
    })
}

/// A GUID as text.
fn guid(bytes: [u8; 16]) -> String {
    let digits = format!("{:032x}", mixed(bytes));
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// A GUID as the number that its digits are: the first three of its fields are little-endian on disk.
fn mixed(bytes: [u8; 16]) -> u128 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
    u128::from_be_bytes([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
