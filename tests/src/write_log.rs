//! What was written to a disk: the log that QEMU's blklogwrites filter keeps.
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
pub const SECTOR: u64 = 512;

/// The flag of a request that wants all that was written before it on the disk first.
const FLUSH: u64 = 1;
/// The flag of a request that is done only once its own data is on the disk.
const FUA: u64 = 1 << 1;
/// The flag of a request that discards what the sectors held; no data follows.
const DISCARD: u64 = 1 << 2;

/// One request to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The first sector that it changes.
    pub sector: u64,
    /// How many; none for a flush.
    pub sectors: u64,
    /// Where its data begins in the log, in bytes.
    pub data: u64,
    flags: u64,
}

impl Entry {
    /// Whether what was written before is on the disk before this request does anything.
    pub fn flushes(&self) -> bool {
        self.flags & FLUSH != 0
    }

    /// Whether its own data is on the disk when it is done.
    pub fn is_forced(&self) -> bool {
        self.flags & FUA != 0
    }

    /// Whether it only says that the sectors' content is of no use any more, which a disk may ignore.
    pub fn is_discard(&self) -> bool {
        self.flags & DISCARD != 0
    }

    /// The length of its data in bytes.
    pub fn length(&self) -> u64 {
        if self.is_discard() { 0 } else { self.sectors.saturating_mul(SECTOR) }
    }

    /// Where the next entry begins in the log, in bytes.
    pub fn end(&self) -> u64 {
        self.data.saturating_add(self.length())
    }
}

/// Reads the entries of a log, while its disk is in use or afterwards, up to the first that is not there in full length.
///
/// QEMU brings the superblock's count of entries up to date only now and then, so the end of the file counts.
pub fn entries(path: &Path) -> Result<Vec<Entry>, FileError> {
    let failed = |e| FileError::new("read", path, e);
    read(&mut files::open(path)?, files::size(path)?).map_err(failed)
}

fn read(log: &mut File, size: u64) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    if size == 0 {
        return Ok(found);
    }
    if numbers(log)?[0] != MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no log of writes"));
    }
    let mut at = SECTOR;
    while at + SECTOR <= size {
        log.seek(SeekFrom::Start(at))?;
        let [sector, sectors, flags, _] = numbers(log)?;
        let entry = Entry { sector, sectors, flags, data: at + SECTOR };
        if entry.end() > size {
            break;
        }
        at = entry.end();
        found.push(entry);
    }
    Ok(found)
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

/// How often a disk was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteLog {
    /// Requests that changed a sector: writes, zeroes and discards.
    pub writes: u64,
    /// Requests that asked for nothing but that what was written before is on the disk.
    pub flushes: u64,
}

impl WriteLog {
    /// Counts what is in the log of a disk that records its writes.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let entries = entries(path)?;
        let writes = entries.iter().filter(|entry| entry.sectors > 0).count() as u64;
        Ok(Self { writes, flushes: entries.len() as u64 - writes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(numbers: [u64; 4]) -> Vec<u8> {
        let mut bytes: Vec<_> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.resize(512, 0);
        bytes
    }

    fn file(log: &[Vec<u8>]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        files::write(file.path(), log.concat()).unwrap();
        file
    }

    fn load(log: &[Vec<u8>]) -> Result<WriteLog, FileError> {
        WriteLog::load(file(log).path())
    }

    fn log() -> Vec<Vec<u8>> {
        vec![
            sector([MAGIC, 1, 0, 512]),
            sector([8, 2, 0, 1024]),
            vec![1; 1024],
            sector([0, 0, FLUSH, 0]),
            sector([64, 4096, DISCARD, 0]),
            sector([8, 1, FLUSH | FUA, 512]),
            vec![2; 512],
        ]
    }

    #[test]
    fn writes_and_discards_count_and_flushes_are_told_apart() {
        let log = log();
        assert_eq!(load(&log).unwrap(), WriteLog { writes: 3, flushes: 1 });
        assert_eq!(load(&log[..1]).unwrap(), WriteLog::default());
        assert_eq!(load(&[]).unwrap(), WriteLog::default());
    }

    #[test]
    fn entries_say_where_their_data_is() {
        let found = entries(file(&log()).path()).unwrap();
        let places: Vec<_> = found.iter().map(|entry| (entry.data, entry.length())).collect();
        assert_eq!(places, [(1024, 1024), (2560, 0), (3072, 0), (3584, 512)]);
        let kinds: Vec<_> =
            found.iter().map(|e| (e.flushes(), e.is_forced(), e.is_discard())).collect();
        let (no, yes) = (false, true);
        assert_eq!(kinds, [(no, no, no), (yes, no, no), (no, no, yes), (yes, yes, no)]);
    }

    #[test]
    fn an_entry_without_all_of_its_data_is_not_there_yet() {
        assert_eq!(entries(file(&log()[..2]).path()).unwrap(), []);
    }

    #[test]
    fn another_file_is_refused() {
        assert!(load(&[vec![0; 512]]).is_err());
        assert!(load(&[vec![0; 5]]).is_err());
    }
}
