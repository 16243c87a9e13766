//! What makes a read of an image fail where its bytes are not those that were signed: dm-verity's hash tree and fs-verity's
//! digest, both by SHA-256 over blocks of 4096 bytes.
//!
//! ```text
//! image            data blocks                      hashed, 128 hashes a block, until one hash is left: the root
//! <sha256>.verity  superblock, tree from its top    as `veritysetup format` writes it (superblock, version 1, type 1)
//! fs-verity        SHA-256 of a descriptor          which holds the root of the same tree, without salt
//! ```
//!
//! Sources: Linux `Documentation/admin-guide/device-mapper/verity.rst`, `Documentation/filesystems/fsverity.rst`; cryptsetup
//! `lib/verity`.

use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::exec::HostError;
use crate::id::Digest;
use crate::manifest::{self, Verity};

mod descriptor;
mod merkle;
mod superblock;
mod table;

use merkle::{Geometry, Merkle};
pub use superblock::{Superblock, SuperblockError};
pub use table::{sectors, table};

/// The length of a data block and of a hash block, in bytes.
pub const BLOCK: usize = manifest::BLOCK as usize;

/// What one pass over an image tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// What verity goes by.
    pub verity: Verity,
}

/// Why an image has no hash tree.
#[derive(Debug, Error)]
pub enum VerityError {
    /// It has no bytes.
    #[error("it is empty")]
    Empty,
    /// It does not end where a block ends.
    #[error(
        "its length is no multiple of {BLOCK} bytes, and verity goes by whole blocks: pad it with zeros"
    )]
    Partial,
    /// The salt is no text of at most 512 hexadecimal digits, two for each byte.
    #[error("its salt {0:?} is not written in hexadecimal digits, or is longer than 256 bytes")]
    Salt(String),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// What is made of it cannot be written.
    #[error(transparent)]
    Write(io::Error),
}

/// Takes the blocks of a hash tree: where each stands, counted in blocks from the tree's beginning, and its bytes.
pub type Sink<'a> = dyn FnMut(u64, &[u8; BLOCK]) -> io::Result<()> + 'a;

/// Measures an image of unknown length that is read once, from its beginning to its end. Memory does not depend on the
/// length.
pub fn measure_stream(image: impl Read, salt: &str) -> Result<Measured, VerityError> {
    pass(image, salt, &Geometry::new(0), &mut |_, _| Ok(()))
}

/// As [`measure_stream`], for an image of `size` bytes; gives the blocks of its tree to `sink`.
pub fn build(
    image: impl Read,
    size: u64,
    salt: &str,
    sink: &mut Sink<'_>,
) -> Result<Measured, VerityError> {
    let measured = pass(image, salt, &Geometry::new(blocks_of(size)?), sink)?;
    if measured.size != size {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(measured)
}

/// Measures the image at `path`, as it is signed: without salt.
#[expect(clippy::disallowed_methods, reason = "opens what is measured")]
pub fn measure(path: &Path) -> Result<Measured, MeasureError> {
    let file = std::fs::File::open(path)
        .map_err(|error| MeasureError::Host(HostError::io("open", path, error)))?;
    measure_stream(file, "").map_err(|error| MeasureError::of(path, error))
}

/// Why a file could not be measured.
#[derive(Debug, Error)]
pub enum MeasureError {
    /// A file operation failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It can have no tree.
    #[error("{} cannot be covered by verity: {why}", .path.display())]
    Verity {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        why: VerityError,
    },
}

impl MeasureError {
    fn of(path: &Path, error: VerityError) -> Self {
        match error {
            VerityError::Read(error) => Self::Host(HostError::io("read", path, error)),
            why => Self::Verity { path: path.to_owned(), why },
        }
    }
}

/// How many blocks an image of that many bytes has.
fn blocks_of(size: u64) -> Result<u64, VerityError> {
    match size {
        0 => Err(VerityError::Empty),
        size if size.is_multiple_of(BLOCK as u64) => Ok(size / BLOCK as u64),
        _ => Err(VerityError::Partial),
    }
}

fn pass(
    mut image: impl Read,
    salt: &str,
    geometry: &Geometry,
    sink: &mut Sink<'_>,
) -> Result<Measured, VerityError> {
    let bytes = salt_bytes(salt)?;
    let mut whole = Sha256::new();
    let mut tree = Merkle::new(&bytes);
    // fs-verity's tree has no salt. Where dm-verity's has none either, both are the same.
    let mut plain = (!bytes.is_empty()).then(|| Merkle::new(&[]));
    let mut place = |level, number, block: &_| sink(geometry.place(level, number), block);
    let mut size = 0;
    let mut chunk = vec![0; 64 * BLOCK];
    loop {
        let length = fill(&mut image, &mut chunk)?;
        let read = chunk.get(..length).unwrap_or_default();
        let (blocks, rest) = read.as_chunks::<BLOCK>();
        if !rest.is_empty() {
            return Err(VerityError::Partial);
        }
        whole.update(read);
        size += length as u64;
        for block in blocks {
            tree.push(block, &mut place).map_err(VerityError::Write)?;
            if let Some(plain) = &mut plain {
                plain.push(block, &mut nowhere)?;
            }
        }
        if length < chunk.len() {
            break;
        }
    }
    let data_blocks = blocks_of(size)?;
    let root = tree.finish(&mut place).map_err(VerityError::Write)?;
    let plain_root = plain.map_or(Ok(root), |plain| plain.finish(&mut nowhere))?;
    let verity = Verity {
        root: Digest::new(root),
        salt: salt.to_owned(),
        data_blocks,
        fsverity: descriptor::digest(size, &plain_root),
    };
    Ok(Measured { digest: Digest::new(whole.finalize().into()), size, verity })
}

/// For a tree of which only the root is asked for.
fn nowhere(_: usize, _: u64, _: &[u8; BLOCK]) -> io::Result<()> {
    Ok(())
}

/// Reads until the buffer is full or the end has come.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while let Some(rest) = buffer.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(length) => have += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

/// The most bytes that a superblock has room for.
const SALT_MAX: usize = 256;

fn salt_bytes(digits: &str) -> Result<Vec<u8>, VerityError> {
    let wrong = || VerityError::Salt(digits.to_owned());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > SALT_MAX {
        return Err(wrong());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
    pairs.iter().map(byte).collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salts_are_read_and_others_refused() {
        assert!(salt_bytes("").unwrap().is_empty());
        assert_eq!(salt_bytes("00fFa1").unwrap(), [0, 255, 0xa1]);
        let long = "0".repeat(514);
        for wrong in ["0", "0g", "-", "é", &long] {
            assert!(matches!(salt_bytes(wrong), Err(VerityError::Salt(_))), "{wrong}");
        }
        assert_eq!(salt_bytes(&"0".repeat(512)).unwrap().len(), 256);
    }

    #[test]
    fn what_has_no_whole_blocks_is_refused() {
        let measured = |length: usize| measure_stream(io::Cursor::new(vec![1; length]), "");
        assert!(matches!(measured(0), Err(VerityError::Empty)));
        for length in [1, 4095, 4097, 64 * BLOCK + 1] {
            assert!(matches!(measured(length), Err(VerityError::Partial)), "{length}");
        }
        assert_eq!(measured(64 * BLOCK).unwrap().verity.data_blocks, 64);
        let mut none = |_: u64, _: &[u8; BLOCK]| Ok(());
        let grown = build(io::Cursor::new(vec![1; 2 * BLOCK]), BLOCK as u64, "", &mut none);
        assert!(grown.is_err(), "it is not as long as was said");
        let shrunk = build(io::Cursor::new(vec![1; BLOCK]), 2 * BLOCK as u64, "", &mut none);
        assert!(shrunk.is_err(), "it is not as long as was said");
    }
}
