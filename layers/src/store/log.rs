//! The log: one line for each change, appended in place.
//!
//! What an append left that never came to its end is no line: after a power cut a file may have its new length before its new
//! bytes (ext4 shows zeros there), or only the first blocks of them. Readers leave it out, and the next append cuts it off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::StoreError;
use super::publish::unsettled;
use crate::layout::Layout;

/// Adds one line to a file, durably; makes it if it is missing. What does not get there whole is taken away again.
pub fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut log = options.read(true).append(true).create(true).mode(0o600).open(path)?;
    cut_unfinished(path, &log)?;
    let before = log.metadata()?.len();
    if let Err(error) = log.write_all(format!("{line}\n").as_bytes()) {
        // The first error is the one to tell; what stays all the same, the next append cuts off.
        let _ = log.set_len(before);
        return Err(error);
    }
    log.sync_all().map_err(unsettled)
}

/// Makes a file end where its last line does.
fn cut_unfinished(path: &Path, log: &File) -> io::Result<()> {
    let Some(last) = log.metadata()?.len().checked_sub(1) else { return Ok(()) };
    let mut byte = [0];
    log.read_exact_at(&mut byte, last)?;
    if byte == *b"\n" {
        return Ok(());
    }
    let whole = fs::read(path)?.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    log.set_len(whole as u64)
}

/// The lines of a log that were written to their end, without their line feeds.
pub fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    // A block that was never written shows zeros, and no change has one in its words.
    lines.filter_map(|line| line.strip_suffix(b"\n")).filter(|line| !line.contains(&0))
}

/// The changes of a store, oldest first: time, generation (`-` for none), what was asked.
pub fn changes(layout: &Layout) -> Result<Vec<[String; 3]>, StoreError> {
    let path = layout.log();
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(StoreError::io("read", &path, error)),
    };
    let parts = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let mut parts = line.splitn(3, '\t').map(str::to_owned);
        Some([parts.next()?, parts.next()?, parts.next()?])
    };
    Ok(whole_lines(&bytes).filter_map(parts).collect())
}
