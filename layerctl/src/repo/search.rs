//! Where an older image has the blocks of a new one, and which parts of the new one have to be fetched.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use super::blocks::{BLOCK, BlockHash, Blocks};
use super::weak::Weak;

/// Bytes of the older image that are looked at, at a time.
const WINDOW: usize = 1 << 20;
/// So many times as many blocks as the older image has may be hashed in vain: an index that asks for more wants to cost time.
const VAIN: usize = 4;
/// What the older image has is fetched all the same if it is this short and lies between two parts that are fetched: a request
/// costs more.
const GAP: u64 = 2 * BLOCK as u64;
/// The most parts that are asked for, one after the other; beyond, the shortest gaps are fetched too.
const PARTS: usize = 128;

/// A part of a new image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where the older image has it; it has to be fetched if nowhere.
    pub(crate) old: Option<u64>,
    /// Its place in the new image.
    pub(crate) at: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
}

/// Where an image has blocks that are wanted, by their first bytes.
#[derive(Debug, Default)]
pub(crate) struct Found(HashMap<BlockHash, u64>);

/// Looks for the blocks of a new image at every byte of an older one.
pub(crate) fn search(
    blocks: &Blocks,
    mut image: impl Read,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Found> {
    let mut search = Search::new(blocks);
    let mut window = Vec::with_capacity(WINDOW + BLOCK);
    let mut begin = 0;
    loop {
        let before = window.len();
        let room = (WINDOW + BLOCK - before) as u64;
        let read = image.by_ref().take(room).read_to_end(&mut window)?;
        search.allowed += VAIN * read / BLOCK;
        let done = search.window(&window, begin);
        if read == 0 || search.is_over() {
            return Ok(Found(search.found));
        }
        window.drain(..done);
        begin += done as u64;
        progress(done as u64);
    }
}

struct Search {
    /// Blocks that are not found yet.
    wanted: HashSet<BlockHash>,
    /// Their weak sums.
    weak: HashSet<u32>,
    /// One bit for each value of a weak sum's upper bits: whether there is one with them.
    bits: Vec<u64>,
    /// How far a weak sum is shifted to give the number of its bit.
    shift: u32,
    found: HashMap<BlockHash, u64>,
    /// How many blocks may still be hashed in vain.
    allowed: usize,
}

impl Search {
    fn new(blocks: &Blocks) -> Self {
        // 64 bits for each block: most of the bytes that begin nothing are told by one look.
        let width = (blocks.hashes.len().max(1) * 64).ilog2().clamp(10, 28);
        let mut search = Self {
            wanted: blocks.hashes.iter().copied().collect(),
            weak: blocks.hashes.iter().map(|hash| hash.weak()).collect(),
            bits: vec![0; 1 << (width - 6)],
            shift: 32 - width,
            found: HashMap::new(),
            allowed: VAIN,
        };
        let places: Vec<(usize, u64)> = search.weak.iter().map(|&weak| search.bit(weak)).collect();
        for (word, bit) in places {
            if let Some(word) = search.bits.get_mut(word) {
                *word |= bit;
            }
        }
        search
    }

    fn bit(&self, weak: u32) -> (usize, u64) {
        let number = weak >> self.shift;
        (number as usize / 64, 1 << (number % 64))
    }

    /// Whether there is no use in looking on.
    fn is_over(&self) -> bool {
        self.allowed == 0 || self.wanted.is_empty()
    }

    /// Looks at every whole block in `window`, which begins at the byte `begin` of the image; gives how many bytes are done with.
    fn window(&mut self, window: &[u8], begin: u64) -> usize {
        let mut at = 0;
        while let Some(block) = window.get(at..at + BLOCK) {
            let (Some(leave), Some(enter)) = (window.get(at..), window.get(at + BLOCK..)) else {
                break;
            };
            let mut sum = Weak::of(block);
            let mut steps = leave.iter().zip(enter);
            loop {
                if self.is_wanted(sum.sum())
                    && let Some(block) = window.get(at..at + BLOCK)
                    && self.is_found(sum.sum(), block, begin + at as u64)
                {
                    at += BLOCK;
                    break;
                }
                at += 1;
                let Some((&leaves, &enters)) = steps.next() else { break };
                sum = sum.roll(leaves, enters);
            }
            if self.is_over() {
                break;
            }
        }
        at.min(window.len())
    }

    fn is_wanted(&self, weak: u32) -> bool {
        let (word, bit) = self.bit(weak);
        self.bits.get(word).is_some_and(|word| word & bit != 0) && self.weak.contains(&weak)
    }

    /// Whether the block at `place` is one of the new image's.
    fn is_found(&mut self, weak: u32, block: &[u8], place: u64) -> bool {
        if self.allowed == 0 {
            return false;
        }
        let hash = BlockHash::new(weak, block);
        if self.wanted.remove(&hash) {
            self.found.insert(hash, place);
        } else if !self.found.contains_key(&hash) {
            self.allowed -= 1;
            return false;
        }
        true
    }
}

/// What the new image is put together of, from its byte `from` on and in order: where blocks follow one another in the older
/// image too, they are one piece.
pub(crate) fn pieces(blocks: &Blocks, found: &Found, from: u64) -> Vec<Piece> {
    let block = BLOCK as u64;
    let mut pieces: Vec<Piece> = Vec::new();
    for (number, hash) in (0_u64..).zip(&blocks.hashes) {
        let end = (number + 1) * block;
        if end > from {
            let at = from.max(end - block);
            let old = found.0.get(hash).map(|old| old + at - (end - block));
            join(&mut pieces, Piece { old, at, length: end - at });
        }
    }
    let at = from.max(blocks.hashes.len() as u64 * block);
    if at < blocks.size {
        join(&mut pieces, Piece { old: None, at, length: blocks.size - at });
    }
    close(pieces)
}

fn join(pieces: &mut Vec<Piece>, next: Piece) {
    if let Some(last) = pieces.last_mut() {
        let follows = match (last.old, next.old) {
            (Some(last_old), Some(old)) => last_old + last.length == old,
            (None, None) => true,
            _ => false,
        };
        if follows {
            last.length += next.length;
            return;
        }
    }
    pieces.push(next);
}

/// Has gaps that are not worth a request fetched as well.
fn close(pieces: Vec<Piece>) -> Vec<Piece> {
    let between = |place: usize| {
        let fetched = |place: usize| pieces.get(place).is_some_and(|piece| piece.old.is_none());
        place > 0 && fetched(place - 1) && fetched(place + 1)
    };
    let mut gaps: Vec<u64> = (0..pieces.len())
        .filter(|&place| between(place))
        .filter_map(|place| Some(pieces.get(place)?.length))
        .collect();
    let parts = pieces.iter().filter(|piece| piece.old.is_none()).count();
    gaps.sort_unstable();
    let beyond = gaps.get(parts.saturating_sub(PARTS).saturating_sub(1)).filter(|_| parts > PARTS);
    let limit = beyond.copied().unwrap_or_default().max(GAP);
    let mut closed = Vec::new();
    for (place, piece) in pieces.iter().enumerate() {
        let old = piece.old.filter(|_| !(between(place) && piece.length <= limit));
        join(&mut closed, Piece { old, ..*piece });
    }
    closed
}

/// Bytes of pieces that have to be fetched.
pub(crate) fn fetched(pieces: &[Piece]) -> u64 {
    let sizes = pieces.iter().filter(|piece| piece.old.is_none());
    sizes.fold(0, |sum, piece| sum.saturating_add(piece.length))
}

impl Found {
    /// How many different blocks were found.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests;
