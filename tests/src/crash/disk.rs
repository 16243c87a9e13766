//! The content of a disk at one point of its log, and the way from there to any state that a crash may leave.

use super::states::{CrashState, Request};
use crate::files::{self, FileError};
use crate::write_log::{self, Entry, SECTOR};
use rustix::fs::{FallocateFlags, fallocate};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What every file system here takes as one unit; a longer request may be on the disk in part.
const BLOCK: usize = 4096;

/// What a block holds that nobody wrote to.
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// How much of an image is read at a time.
const CHUNK: usize = 1 << 20;

/// A disk's log with its data.
pub(super) struct Log {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// A part of a request that is within one block: where on the disk, and which bytes of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    at: usize,
    data: Range<usize>,
}

impl Log {
    pub(super) fn load(path: &Path) -> Result<Self, FileError> {
        Ok(Self { entries: write_log::entries(path)?, bytes: files::read(path)? })
    }

    /// The requests, as the enumeration of states wants them. A discard is as good as ignored.
    pub(super) fn requests(&self) -> Vec<Request> {
        let request = |entry: &Entry| Request {
            pieces: pieces(entry).count(),
            bytes: entry.length(),
            flushes: entry.flushes(),
            forced: entry.is_forced(),
        };
        self.entries.iter().map(request).collect()
    }

    fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = (Piece, &[u8])> {
        let entries = self.entries.get(range).unwrap_or_default();
        entries.iter().flat_map(pieces).map(|piece| {
            let data = self.bytes.get(piece.data.clone()).unwrap_or_default();
            (piece, data)
        })
    }
}

/// Cuts a request at the borders of blocks.
fn pieces(entry: &Entry) -> impl Iterator<Item = Piece> {
    let mut at = (entry.sector * SECTOR) as usize;
    let mut data = entry.data as usize..entry.end() as usize;
    std::iter::from_fn(move || {
        let length = (BLOCK - at % BLOCK).min(data.len());
        let piece = Piece { at, data: data.start..data.start + length };
        (at, data.start) = (at + length, data.start + length);
        (length > 0).then_some(piece)
    })
}

/// The content of a disk after the first requests of its log.
pub(super) struct Disk {
    /// Blocks that were never written to cost no memory: nothing touches their pages.
    bytes: Vec<u8>,
    /// The blocks that hold something.
    used: BTreeSet<usize>,
    /// How many requests are in it.
    position: usize,
}

impl Disk {
    /// The content of an image, before the first request.
    pub(super) fn load(image: &Path) -> Result<Self, FileError> {
        let failed = |e| FileError::new("read", image, e);
        let size = files::size(image)?;
        let mut disk = Self {
            bytes: vec![0; usize::try_from(size).unwrap_or(usize::MAX)],
            used: BTreeSet::new(),
            position: 0,
        };
        let mut file = files::open(image)?;
        let mut chunk = vec![0; CHUNK];
        for start in (0..disk.bytes.len()).step_by(CHUNK) {
            let length = CHUNK.min(disk.bytes.len() - start);
            let chunk = chunk.get_mut(..length).unwrap_or_default();
            file.read_exact(chunk).map_err(failed)?;
            for (place, block) in chunk.chunks(BLOCK).enumerate() {
                if !ZEROS.starts_with(block) {
                    disk.write(start + place * BLOCK, block);
                }
            }
        }
        Ok(disk)
    }

    fn write(&mut self, at: usize, data: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + data.len()) {
            place.copy_from_slice(data);
            self.used.insert(at / BLOCK);
        }
    }

    /// Takes in all requests before `position`; those of a disk are never taken back.
    pub(super) fn advance(&mut self, log: &Log, position: usize) {
        for (piece, data) in log.pieces(self.position..position) {
            self.write(piece.at, data);
        }
        self.position = self.position.max(position);
    }

    /// Writes a state to a block device of this size, whatever was on it. `flushed` must not be behind the position.
    pub(super) fn write_state(
        &mut self,
        log: &Log,
        state: &CrashState,
        device: &File,
    ) -> io::Result<()> {
        self.advance(log, state.flushed);
        let kept =
            state.kept.iter().flatten().copied().chain(std::iter::repeat(state.kept.is_none()));
        let mut before = Vec::new();
        for ((piece, data), kept) in log.pieces(state.flushed..state.end).zip(kept) {
            if kept {
                let old = self.bytes.get(piece.at..piece.at + data.len()).unwrap_or_default();
                before.push((piece.at, old.to_vec()));
                self.write(piece.at, data);
            }
        }
        let written = self.copy_to(device);
        for (at, old) in before.into_iter().rev() {
            self.write(at, &old);
        }
        written
    }

    fn copy_to(&self, device: &File) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(device, flags, 0, self.bytes.len() as u64)?;
        let mut used = self.used.iter().copied().peekable();
        while let Some(first) = used.next() {
            let mut end = first + 1;
            while used.next_if_eq(&end).is_some() {
                end += 1;
            }
            let run = first * BLOCK..(end * BLOCK).min(self.bytes.len());
            device.write_all_at(self.bytes.get(run).unwrap_or_default(), (first * BLOCK) as u64)?;
        }
        device.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests of whole sectors: the first sector, and the bytes that fill each.
    fn log(writes: &[(u64, &[u8])]) -> Log {
        let mut text: Vec<u8> = 0x006a_7366_7773_6872_u64.to_le_bytes().to_vec();
        text.resize(512, 0);
        for (sector, fill) in writes {
            let start = text.len();
            for number in [*sector, fill.len() as u64, u64::from(fill.is_empty()), 0] {
                text.extend(number.to_le_bytes());
            }
            text.resize(start + 512, 0);
            fill.iter().for_each(|byte| text.extend([*byte; 512]));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        files::write(file.path(), text).unwrap();
        Log::load(file.path()).unwrap()
    }

    fn sectors(log: &Log, disk: &mut Disk, state: &CrashState) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(disk.bytes.len() as u64).unwrap();
        // What an earlier state left there does not matter.
        file.as_file().write_all_at(&[9; 700], 5000).unwrap();
        disk.write_state(log, state, file.as_file()).unwrap();
        let bytes = files::read(file.path()).unwrap();
        bytes.chunks(512).map(|sector| sector[0]).collect()
    }

    fn disk() -> Disk {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(3 * BLOCK as u64).unwrap();
        image.as_file().write_all_at(&[7; 512], 512).unwrap();
        Disk::load(image.path()).unwrap()
    }

    #[test]
    fn requests_are_cut_at_blocks() {
        let log = log(&[(6, &[1, 2, 3]), (0, &[])]);
        let requests = log.requests();
        assert_eq!((requests[0].pieces, requests[0].bytes, requests[0].flushes), (2, 1536, false));
        assert_eq!((requests[1].pieces, requests[1].bytes, requests[1].flushes), (0, 0, true));
    }

    #[test]
    fn a_state_has_what_was_flushed_and_what_was_kept() {
        let log = log(&[(0, &[1]), (0, &[]), (6, &[2, 3, 4]), (0, &[5])]);
        let mut disk = disk();
        let mut state = CrashState { flushed: 1, end: 4, kept: None };
        let all = |head: &[(usize, u8)]| {
            let mut sectors = vec![0; 24];
            sectors[1] = 7;
            head.iter().for_each(|(sector, byte)| sectors[*sector] = *byte);
            sectors
        };
        assert_eq!(sectors(&log, &mut disk, &state), all(&[(0, 5), (6, 2), (7, 3), (8, 4)]));
        state.kept = Some(vec![false, true, false]);
        assert_eq!(sectors(&log, &mut disk, &state), all(&[(0, 1), (8, 4)]));
        state.kept = Some(vec![true, false, true]);
        assert_eq!(sectors(&log, &mut disk, &state), all(&[(0, 5), (6, 2), (7, 3)]));
        state = CrashState { flushed: 1, end: 3, kept: None };
        assert_eq!(sectors(&log, &mut disk, &state), all(&[(0, 1), (6, 2), (7, 3), (8, 4)]));
    }
}
