//! The block index beside an image in a repository, `FILE.blocks`: what each 4 KiB of it hash to, so that a machine which has
//! an older image fetches only what is new.
//!
//! ```text
//! 0   magic "LCBLOCKS"
//! 8   u64  the image's length in bytes
//! 16  the image's SHA-256
//! 48  for each whole block in turn: u32 weak sum, u32 the first bytes of the block's SHA-256
//! ```
//!
//! Numbers are little-endian. Nothing is believed of it: an image that is put together by a wrong one has another SHA-256 than
//! the repository's index tells, and is downloaded whole. So eight bytes a block will do, and nobody has to sign it.
//!
//! Blocks are those of the new image; in the old one they are looked for at every byte (as zsync does), since squashfs puts
//! compressed blocks one after the other without padding. Of a Debian base in which libssl3t64 was replaced 4.0 % are new that
//! way, 33 % where blocks are looked for at their own places, 4.1 % with chunks that content defines; of EROFS with LZ4 5.3, 31
//! and 6.3 %. The squashfs blocks of the package alone are 3.6 %.

use std::io::{self, ErrorKind, Read};

use layers::id::Digest;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::weak::Weak;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 4096;
/// What is added to an image file's name.
pub(crate) const ENDING: &str = ".blocks";
/// The least length of an image that has an index: requests for parts of smaller ones cost as much as they save.
pub(crate) const IMAGE_MIN: u64 = 256 << 10;
/// The greatest length of an image that has an index, 32 GiB: its index is 64 MiB.
pub(crate) const IMAGE_MAX: u64 = 32 << 30;

const MAGIC: &[u8; 8] = b"LCBLOCKS";
/// Bytes before the first block's entry.
pub(crate) const HEAD: usize = 48;
const ENTRY: usize = 8;

/// What a block hashes to: the weak sum in the upper half, the beginning of its SHA-256 in the lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockHash(u64);

/// Why bytes are no block index of an image, as the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BlocksError {
    /// Another length than the image's has.
    #[error("has {is} bytes, not {want}")]
    Length {
        /// Its length.
        is: usize,
        /// What it should be.
        want: usize,
    },
    /// Something else altogether.
    #[error("is no block index")]
    Magic,
    /// It belongs to another image.
    #[error("is of another image")]
    Image,
}

/// The block index of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// The image's length in bytes.
    pub(crate) size: u64,
    /// The image's SHA-256.
    pub(crate) digest: Digest,
    /// One for each whole block; what is shorter at the end has none.
    pub(crate) hashes: Vec<BlockHash>,
}

impl BlockHash {
    /// Of a block whose weak sum is known.
    pub(crate) fn new(weak: u32, block: &[u8]) -> Self {
        let strong = Sha256::digest(block);
        let strong = strong.iter().take(4).fold(0, |number, &byte| number << 8 | u64::from(byte));
        Self(u64::from(weak) << 32 | strong)
    }

    /// The weak sum.
    pub(crate) fn weak(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or_default()
    }
}

/// Whether an image of that length has a block index.
pub(crate) fn is_indexed(size: u64) -> bool {
    (IMAGE_MIN..=IMAGE_MAX).contains(&size)
}

/// The length of the index of an image, in bytes.
pub(crate) fn length(size: u64) -> usize {
    usize::try_from(size / BLOCK as u64)
        .unwrap_or(usize::MAX)
        .saturating_mul(ENTRY)
        .saturating_add(HEAD)
}

impl Blocks {
    /// Hashes an image block by block; `progress` is told of every one's length.
    pub(crate) fn compute(
        mut image: impl Read,
        size: u64,
        digest: Digest,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<Self> {
        let mut hashes = Vec::new();
        let mut block = vec![0; BLOCK];
        for _ in 0..size / BLOCK as u64 {
            image.read_exact(&mut block)?;
            hashes.push(BlockHash::new(Weak::of(&block).sum(), &block));
            progress(BLOCK as u64);
        }
        let rest = io::copy(&mut image, &mut io::sink())?;
        if rest != size % BLOCK as u64 {
            return Err(io::Error::new(ErrorKind::InvalidData, "it changed meanwhile"));
        }
        Ok(Self { size, digest, hashes })
    }

    /// The index as a file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length(self.size));
        bytes.extend(MAGIC);
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(self.digest.bytes());
        for BlockHash(number) in &self.hashes {
            let strong = u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
            bytes.extend(BlockHash(*number).weak().to_le_bytes());
            bytes.extend(strong.to_le_bytes());
        }
        bytes
    }

    /// Reads the index of the image that has this length and SHA-256.
    pub(crate) fn parse(bytes: &[u8], size: u64, digest: &Digest) -> Result<Self, BlocksError> {
        let (is, want) = (bytes.len(), length(size));
        if !bytes.starts_with(MAGIC) {
            return Err(BlocksError::Magic);
        }
        if is != want {
            return Err(BlocksError::Length { is, want });
        }
        if !is_head_of(bytes, size, digest) {
            return Err(BlocksError::Image);
        }
        let entries = bytes.get(HEAD..).unwrap_or_default().chunks_exact(ENTRY);
        let hashes = entries.map(|entry| {
            let half =
                |bytes: &[u8]| bytes.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte));
            let (weak, strong) = entry.split_at(ENTRY / 2);
            BlockHash(half(weak) << 32 | half(strong))
        });
        Ok(Self { size, digest: *digest, hashes: hashes.collect() })
    }
}

/// Whether a file that begins so says that it is the index of this image.
pub(crate) fn is_head_of(bytes: &[u8], size: u64, digest: &Digest) -> bool {
    let head = [MAGIC.as_slice(), &size.to_le_bytes(), digest.bytes()].concat();
    bytes.starts_with(&head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(bytes: &[u8]) -> Digest {
        layers::store::stage::digest(bytes)
    }

    fn of(image: &[u8]) -> Blocks {
        let mut seen = 0;
        let size = image.len() as u64;
        let blocks = Blocks::compute(image, size, digest(image), &mut |bytes| seen += bytes);
        assert_eq!(seen, size - size % BLOCK as u64);
        blocks.unwrap()
    }

    #[test]
    fn an_index_is_of_one_image_alone() {
        let image: Vec<u8> = (0..3 * BLOCK + 17).map(|n| (n % 251) as u8).collect();
        let (size, is) = (image.len() as u64, digest(&image));
        let blocks = of(&image);
        assert_eq!(blocks.hashes.len(), 3);
        let bytes = blocks.bytes();
        assert_eq!(bytes.len(), length(size));
        assert_eq!(Blocks::parse(&bytes, size, &is), Ok(blocks));
        let cut = Blocks::parse(&bytes[..bytes.len() - 1], size, &is);
        assert_eq!(cut, Err(BlocksError::Length { is: 71, want: 72 }));
        assert_eq!(Blocks::parse(b"<html>", size, &is), Err(BlocksError::Magic));
        assert_eq!(Blocks::parse(&bytes, size, &digest(b"")), Err(BlocksError::Image));
        assert_eq!(Blocks::parse(&bytes, size - 1, &is), Err(BlocksError::Image));
    }

    #[test]
    fn an_image_that_changes_meanwhile_has_no_index() {
        let image = vec![1; BLOCK + 1];
        for size in [BLOCK as u64, 2 * BLOCK as u64] {
            let digest = digest(&image);
            assert!(Blocks::compute(image.as_slice(), size, digest, &mut |_| {}).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), size in any::<u64>()) {
            let whole = [MAGIC.as_slice(), &bytes].concat();
            prop_assert!(Blocks::parse(&bytes, size, &digest(b"")).is_err());
            prop_assert!(Blocks::parse(&whole, size, &digest(b"")).is_err());
        }
    }
}
