//! What lets an image in the store be checked as it is read: its hash tree beside it, and fs-verity where that can be had.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::{publish, stage};
use crate::exec::HostError;
use crate::id::Digest;
use crate::manifest::Verity;
use crate::superblock::Format;
use crate::sys;
use crate::verity::{self, BLOCK, Superblock, VerityError};

/// Makes the hash tree of the store's own copy of an image and publishes it as `tree`; refused without a trace where that has
/// not the root and the digest that its manifest says. The file of an EROFS image is given to fs-verity then, where its file
/// system has that: from then on nobody can write it.
pub fn stage(image: &Path, tree: &Path, verity: &Verity) -> Result<(), HostError> {
    let file = File::open(image).map_err(|error| HostError::io("open", image, error))?;
    let temporary = publish::beside(tree);
    let result = build(&file, image, &temporary, verity).and_then(|()| {
        publish::rename(&temporary, tree).map_err(|error| HostError::io("publish", tree, error))
    });
    if result.is_err() {
        // The disk may be full: give back what was taken. What cannot be removed here, cleanup removes.
        let _ = publish::remove_any(&temporary);
    }
    result?;
    match stage::superblock(image).map_err(|error| HostError::io("read", image, error))? {
        Ok(superblock) if superblock.format == Format::Erofs => seal(&file, image, verity),
        _ => Ok(()),
    }
}

/// Writes the tree to the file `to`, flushed.
fn build(image: &File, path: &Path, to: &Path, verity: &Verity) -> Result<(), HostError> {
    let reading = |error| HostError::io("read", path, error);
    let writing = |error| HostError::io("write", to, error);
    let size = image.metadata().map_err(reading)?.len();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let target = options.open(to).map_err(|error| HostError::io("create", to, error))?;
    // The first block is the superblock's.
    let mut sink = |place: u64, block: &[u8; BLOCK]| {
        target.write_all_at(block, place.saturating_add(1).saturating_mul(BLOCK as u64))
    };
    let failed = |error| match error {
        VerityError::Read(error) => reading(error),
        VerityError::Write(error) => writing(error),
        error => reading(io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let measured = verity::build(image, size, &verity.salt, &mut sink).map_err(failed)?.verity;
    agree(path, measured.root, verity.root)?;
    agree(path, measured.fsverity, verity.fsverity)?;
    if measured.data_blocks != verity.data_blocks {
        let text = "its manifest speaks of another number of blocks";
        return Err(reading(io::Error::new(io::ErrorKind::InvalidData, text)));
    }
    let superblock = Superblock::block(verity).map_err(failed)?;
    target.write_all_at(&superblock, 0).map_err(writing)?;
    target.sync_all().map_err(|error| HostError::io("flush", to, error))
}

/// Whether image and tree are what `verity` says; gives the root that the image has where that is another one.
pub(super) fn check(
    image: &Path,
    tree: &Path,
    verity: &Verity,
) -> Result<Option<Digest>, HostError> {
    let hashes = File::open(tree).map_err(|error| HostError::io("open", tree, error))?;
    let data = File::open(image).map_err(|error| HostError::io("open", image, error))?;
    let reading = |error| HostError::io("read", tree, error);
    let differs = || reading(io::Error::new(io::ErrorKind::InvalidData, "its hashes are wrong"));
    let mut wrong = false;
    let mut sink = |place: u64, block: &[u8; BLOCK]| {
        let mut there = [0; BLOCK];
        hashes.read_exact_at(&mut there, place.saturating_add(1).saturating_mul(BLOCK as u64))?;
        wrong |= there != *block;
        Ok(())
    };
    let size = data.metadata().map_err(|error| HostError::io("read", image, error))?.len();
    let measured =
        verity::build(&data, size, &verity.salt, &mut sink).map_err(|error| match error {
            VerityError::Read(error) => HostError::io("read", image, error),
            VerityError::Write(error) => reading(error),
            error => {
                HostError::io("read", image, io::Error::new(io::ErrorKind::InvalidData, error))
            }
        })?;
    if measured.verity != *verity {
        return Ok(Some(measured.verity.root));
    }
    if wrong { Err(differs()) } else { Ok(None) }
}

fn agree(path: &Path, is: Digest, want: Digest) -> Result<(), HostError> {
    if is == want { Ok(()) } else { Err(HostError::Digest { path: path.to_owned(), is, want }) }
}

/// Enables fs-verity. Where there is none, dm-verity serves as well.
fn seal(file: &File, path: &Path, verity: &Verity) -> Result<(), HostError> {
    let done = sys::enable_fsverity(file).and_then(|()| file.sync_all());
    match done.map_err(|error| (error.raw_os_error(), error)) {
        Ok(()) | Err((Some(libc::EEXIST), _)) => {}
        Err((Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::EINVAL | libc::EROFS), _)) => {
            return Ok(());
        }
        Err((_, error)) => return Err(HostError::io("enable fs-verity of", path, error)),
    }
    let is = sys::fsverity_digest(file).map_err(|error| HostError::io("measure", path, error))?;
    is.map_or(Ok(()), |is| agree(path, is, verity.fsverity))
}
