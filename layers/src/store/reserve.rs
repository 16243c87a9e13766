//! Room that is kept for a change on a full disk: a file whose blocks and whose inode a rollback or a cleanup gives up when
//! it finds none, so that the way back never depends on what fills the disk.
//!
//! ext4 and XFS have nothing else for root but what anybody may use up; btrfs keeps some for deletions alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::publish;
use crate::layout::Layout;

/// How much is kept, in bytes: pointers, records and directory blocks are 4 KiB each, XFS makes inodes 32 KiB at a time.
const WANTED: u64 = 1 << 20;

/// The least that is of use.
const LEAST: u64 = 1 << 16;

/// Makes the reserve where it is missing or a copy of the store has left a hole in its place; as large as there is room
/// for. Nothing but a change on a full disk needs it, so a store without one is whole.
pub fn keep(layout: &Layout) -> io::Result<()> {
    let path = layout.reserve();
    if fs::metadata(&path).is_ok_and(|there| there.blocks() * 512 >= LEAST) {
        return Ok(());
    }
    let made = make(&path);
    if made.is_err() {
        // Half a reserve would be taken for a whole one.
        let _ = publish::remove_any(&path);
    }
    made
}

fn make(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut size = WANTED;
    loop {
        match allocate(&file, size) {
            Err(error) if publish::is_full(&error) && size > LEAST => {
                file.set_len(0)?;
                size /= 2;
            }
            done => return done,
        }
    }
}

fn allocate(mut file: &File, size: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        // A file system that allocates only what is written.
        Err(Errno::OPNOTSUPP) => {
            let zeros = vec![0; usize::try_from(size).unwrap_or_default()];
            file.write_all(&zeros)
        }
        done => Ok(done?),
    }
}

/// Gives the reserve up, and waits until its blocks can be used; `false` where there is none.
pub fn release(layout: &Layout) -> io::Result<bool> {
    match fs::remove_file(layout.reserve()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    // Blocks that were freed can be used once the journal says so.
    publish::sync(layout.top())?;
    Ok(true)
}
