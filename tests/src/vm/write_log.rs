//! What a machine wrote to a disk: the log that QEMU's blklogwrites filter keeps.
//!
//! The format is that of dm-log-writes (Linux, drivers/md/dm-log-writes.c), in little-endian numbers: a sector with the
//! superblock, then for each request a sector with the entry and, unless it is a discard, the data.

use crate::files::{self, FileError};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The superblock's first number.
const MAGIC: u64 = 0x006a_7366_7773_6872;

/// The size of the log's sectors in bytes, as the drive asks for it.
pub(super) const SECTOR: u64 = 512;

/// The flag of a request that discards what the sectors held; no data follows.
const DISCARD: u64 = 1 << 2;

/// How often a disk was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteLog {
    /// Requests that changed a sector: writes, zeroes and discards.
    pub writes: u64,
    /// Requests that asked for nothing but that what was written before is on the disk.
    pub flushes: u64,
}

impl WriteLog {
    /// Reads the log of a [`Drive::logged`](super::Drive::logged), while its machine runs or afterwards.
    ///
    /// QEMU brings the superblock's count of entries up to date only now and then, so the end of the file counts.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let failed = |e| FileError::new("read", path, e);
        Self::read(&mut files::open(path)?, files::size(path)?).map_err(failed)
    }

    fn read(log: &mut File, size: u64) -> io::Result<Self> {
        let mut found = Self::default();
        if size == 0 {
            return Ok(found);
        }
        if numbers(log)?[0] != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no log of writes"));
        }
        let mut at = SECTOR;
        while at + SECTOR <= size {
            log.seek(SeekFrom::Start(at))?;
            let [_, sectors, flags, _] = numbers(log)?;
            at += SECTOR;
            if sectors == 0 {
                found.flushes += 1;
                continue;
            }
            found.writes += 1;
            if flags & DISCARD == 0 {
                at = at.saturating_add(sectors.saturating_mul(SECTOR));
            }
        }
        Ok(found)
    }
}

/// The four numbers that a sector of the log starts with.
fn numbers(log: &mut File) -> io::Result<[u64; 4]> {
    let mut found = [0; 4];
    for number in &mut found {
        let mut bytes = [0; 8];
        log.read_exact(&mut bytes)?;
        *number = u64::from_le_bytes(bytes);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(numbers: [u64; 4]) -> Vec<u8> {
        let mut bytes: Vec<_> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.resize(512, 0);
        bytes
    }

    fn load(log: &[Vec<u8>]) -> Result<WriteLog, FileError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        files::write(file.path(), log.concat()).unwrap();
        WriteLog::load(file.path())
    }

    #[test]
    fn writes_and_discards_count_and_flushes_are_told_apart() {
        let log = [
            sector([MAGIC, 1, 0, 512]),
            sector([8, 2, 0, 1024]),
            vec![1; 1024],
            sector([0, 0, 1, 0]),
            sector([64, 4096, DISCARD, 0]),
            sector([8, 1, 3, 512]),
            vec![2; 512],
        ];
        assert_eq!(load(&log).unwrap(), WriteLog { writes: 3, flushes: 1 });
        assert_eq!(load(&log[..1]).unwrap(), WriteLog::default());
        assert_eq!(load(&[]).unwrap(), WriteLog::default());
    }

    #[test]
    fn another_file_is_refused() {
        assert!(load(&[vec![0; 512]]).is_err());
        assert!(load(&[vec![0; 5]]).is_err());
    }
}
