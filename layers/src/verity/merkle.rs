//! The hash tree. Blocks come in one after the other; of each level only the block that is being filled is kept.

use std::io;

use sha2::{Digest as _, Sha256};

use super::BLOCK;

/// Hashes that a block has room for.
const FANOUT: u64 = (BLOCK / HASH) as u64;

/// The length of a hash in bytes.
const HASH: usize = 32;

/// Takes a block of the tree: its level (0 is the one with the hashes of data), its number in it, and its bytes.
pub(super) type Level<'a> = dyn FnMut(usize, u64, &[u8; BLOCK]) -> io::Result<()> + 'a;

/// A hash tree that grows.
pub(super) struct Merkle {
    /// What every hash begins with: the salt.
    start: Sha256,
    lowest: Filling,
}

/// A level's last block.
#[derive(Default)]
struct Filling {
    hashes: Vec<u8>,
    /// Hashes that this level was given so far.
    count: u64,
    above: Option<Box<Filling>>,
}

impl Merkle {
    /// A tree of nothing.
    pub(super) fn new(salt: &[u8]) -> Self {
        Self { start: Sha256::new_with_prefix(salt), lowest: Filling::default() }
    }

    /// Adds a block of data; gives the blocks of the tree that this completes.
    pub(super) fn push(&mut self, data: &[u8; BLOCK], to: &mut Level<'_>) -> io::Result<()> {
        self.lowest.push(hash(&self.start, data), 0, &self.start, to)
    }

    /// The root hash of a tree of one block of data or more; gives the blocks that were not full.
    pub(super) fn finish(self, to: &mut Level<'_>) -> io::Result<[u8; HASH]> {
        self.lowest.finish(0, &self.start, to)
    }
}

impl Filling {
    fn push(
        &mut self,
        hash: [u8; HASH],
        level: usize,
        start: &Sha256,
        to: &mut Level<'_>,
    ) -> io::Result<()> {
        self.hashes.extend(hash);
        self.count += 1;
        if self.hashes.len() < BLOCK { Ok(()) } else { self.complete(level, start, to) }
    }

    /// Gives the block, whose hash goes into the level above, and begins the next one.
    fn complete(&mut self, level: usize, start: &Sha256, to: &mut Level<'_>) -> io::Result<()> {
        let mut block = [0; BLOCK];
        block.iter_mut().zip(&self.hashes).for_each(|(to, from)| *to = *from);
        self.hashes.clear();
        to(level, self.count.saturating_sub(1) / FANOUT, &block)?;
        self.above.get_or_insert_default().push(hash(start, &block), level + 1, start, to)
    }

    /// A level that was given one hash has the root.
    fn finish(
        mut self,
        level: usize,
        start: &Sha256,
        to: &mut Level<'_>,
    ) -> io::Result<[u8; HASH]> {
        if self.count <= 1 {
            return Ok(self.hashes.first_chunk().copied().unwrap_or_default());
        }
        if !self.hashes.is_empty() {
            self.complete(level, start, to)?;
        }
        self.above.unwrap_or_default().finish(level + 1, start, to)
    }
}

fn hash(start: &Sha256, block: &[u8; BLOCK]) -> [u8; HASH] {
    let mut hasher = start.clone();
    hasher.update(block);
    hasher.finalize().into()
}

/// Where the blocks of a tree stand: the highest level, of one block, first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    /// By level, the block that it begins at.
    starts: Vec<u64>,
    /// Blocks of the whole tree.
    blocks: u64,
}

impl Geometry {
    /// The tree over that many blocks of data. One block is its own tree: its hash is the root.
    pub(super) fn new(data_blocks: u64) -> Self {
        let mut sizes = Vec::new();
        let mut below = data_blocks;
        while below > 1 {
            below = below.div_ceil(FANOUT);
            sizes.push(below);
        }
        let blocks = sizes.iter().sum();
        let mut start: u64 = blocks;
        let mut before = |size: &u64| {
            start = start.saturating_sub(*size);
            start
        };
        let starts = sizes.iter().map(&mut before).collect();
        Self { starts, blocks }
    }

    /// Where the block with this number in its level stands.
    pub(super) fn place(&self, level: usize, number: u64) -> u64 {
        // A tree over more data than was said is refused in the end; until then, its blocks are past the others.
        self.starts.get(level).map_or(self.blocks, |start| start.saturating_add(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_each_other_from_the_top() {
        let starts = |blocks| Geometry::new(blocks).starts;
        assert!(starts(1).is_empty());
        assert_eq!(starts(2), [0]);
        assert_eq!(starts(128), [0]);
        assert_eq!(starts(129), [1, 0]);
        assert_eq!(starts(128 * 128), [1, 0]);
        assert_eq!(starts(128 * 128 + 1), [3, 1, 0]);
        // 4 GiB: 1 block, 64, 8192.
        assert_eq!(starts(1 << 20), [65, 1, 0]);
        assert_eq!(Geometry::new(1 << 20).blocks, 8257);
    }

    /// Every block of a tree is given once, and each at a place of its own.
    #[test]
    fn every_place_is_filled_once() {
        for blocks in [1, 2, 127, 128, 129, 255, 256, 257, 128 * 128, 128 * 128 + 1, 40_000] {
            let geometry = Geometry::new(blocks);
            let mut places = Vec::new();
            let mut tree = Merkle::new(b"salt");
            for number in 0..blocks {
                let mut block = [0; BLOCK];
                block[..8].copy_from_slice(&number.to_le_bytes());
                let mut to = |level: usize, number: u64, _: &[u8; BLOCK]| {
                    places.push(geometry.place(level, number));
                    Ok(())
                };
                tree.push(&block, &mut to).unwrap();
            }
            let mut to = |level: usize, number: u64, _: &[u8; BLOCK]| {
                places.push(geometry.place(level, number));
                Ok(())
            };
            tree.finish(&mut to).unwrap();
            places.sort_unstable();
            assert!(places.iter().copied().eq(0..geometry.blocks), "{blocks}: {places:?}");
        }
    }
}
