//! Which states a disk may be in after its power went: a pure function of the requests that reached it.
//!
//! ```text
//! write write FLUSH write write write FLUSH write …
//! └──── surely ────┘└─ any of these ─┘
//! ```
//!
//! What was written before a flush is there. Of what came after the last flush, any part may be: all up to some request
//! (a *prefix*), or any choice (a *subset*), in pieces of one block, since no disk promises to write more as one.

use super::random::Random;
use std::collections::BTreeSet;
use std::ops::Range;

/// A longer request is not the end of a prefix: it is an image's content, and its pieces are part of subsets.
const LONG: u64 = 64 << 10;

/// One request to the disk, as far as the states after it depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// The number of blocks that it writes to; none for a flush.
    pub(super) pieces: usize,
    /// The length of its data in bytes.
    pub(super) bytes: u64,
    /// Whether all before it is on the disk first.
    pub(super) flushes: bool,
    /// Whether its own data is on the disk once it is done.
    pub(super) forced: bool,
}

/// A state of the disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CrashState {
    /// The requests before this one are there: it is the last flush before `end`.
    pub(super) flushed: usize,
    /// No request from this one on is there.
    pub(super) end: usize,
    /// Which pieces of the requests between are there, in order; all, where nothing is said.
    pub(super) kept: Option<Vec<bool>>,
}

/// The last flush before `end`, or the beginning.
fn flushed(requests: &[Request], end: usize) -> usize {
    requests.iter().take(end).rposition(|request| request.flushes).unwrap_or(0)
}

/// Every prefix that ends in `range`: at flushes, and between them after each request that is not long. One that differs
/// from the next only by a flush is left out: that one has to hold more.
pub(super) fn prefixes(requests: &[Request], range: &Range<usize>) -> Vec<CrashState> {
    let ends = range.clone().map(|last| last + 1).filter(|&end| {
        let at = |place: usize| requests.get(place);
        let Some(last) = at(end - 1) else { return false };
        let flush_follows = at(end).is_some_and(|next| next.flushes && next.pieces == 0);
        if last.pieces == 0 {
            // Nothing was written since the flush before: the same state again.
            return end > 1 && at(end - 2).is_some_and(|before| before.pieces > 0);
        }
        let inside = range.contains(&end);
        !(flush_follows && inside) && last.bytes < LONG
    });
    ends.map(|end| CrashState { flushed: flushed(requests, end), end, kept: None }).collect()
}

/// Random subsets of what was written since the last flush, for ends in a range; none comes twice.
pub(super) struct Subsets<'a> {
    requests: &'a [Request],
    /// Ends, in epochs of which at least two pieces may be there or not.
    epochs: Vec<Vec<usize>>,
    random: Random,
    seen: BTreeSet<CrashState>,
}

/// So many times in a row a subset may come again before there seem to be no others.
const REPEATS: usize = 50;

impl<'a> Subsets<'a> {
    pub(super) fn new(requests: &'a [Request], range: &Range<usize>, random: Random) -> Self {
        let mut epochs: Vec<(usize, Vec<usize>)> = Vec::new();
        for end in range.clone().map(|last| last + 1) {
            let start = flushed(requests, end);
            if loose(requests, start, end).filter(|loose| *loose).count() < 2 {
                continue;
            }
            match epochs.last_mut() {
                Some((last, ends)) if *last == start => ends.push(end),
                _ => epochs.push((start, vec![end])),
            }
        }
        let epochs = epochs.into_iter().map(|(_, ends)| ends).collect();
        Self { requests, epochs, random, seen: BTreeSet::new() }
    }

    fn draw(&mut self) -> Option<CrashState> {
        let ends = self.epochs.get(self.random.below(self.epochs.len()))?;
        // The whole epoch gives the most to choose from.
        let place =
            if self.random.below(2) == 0 { ends.len() - 1 } else { self.random.below(ends.len()) };
        let end = *ends.get(place)?;
        let flushed = flushed(self.requests, end);
        // Few, half, most: a single piece that is missing or is alone there breaks other things than half of them.
        let share = [1, 4, 8, 12, 15].get(self.random.below(5)).copied().unwrap_or_default();
        let kept = loose(self.requests, flushed, end)
            .map(|loose| !loose || self.random.below(16) < share)
            .collect();
        Some(CrashState { flushed, end, kept: Some(kept) })
    }
}

/// For each piece between two requests, whether it may be lost.
fn loose(requests: &[Request], start: usize, end: usize) -> impl Iterator<Item = bool> {
    let between = requests.iter().take(end).skip(start);
    between.flat_map(|request| std::iter::repeat_n(!request.forced, request.pieces))
}

impl Iterator for Subsets<'_> {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        for _ in 0..REPEATS {
            let state = self.draw()?;
            let whole = state.kept.iter().flatten().all(|kept| *kept);
            if !whole && self.seen.insert(state.clone()) {
                return Some(state);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: Request = Request { pieces: 0, bytes: 0, flushes: true, forced: false };

    fn write(pieces: usize) -> Request {
        Request { pieces, bytes: pieces as u64 * 4096, flushes: false, forced: false }
    }

    fn ends(requests: &[Request], range: Range<usize>) -> Vec<(usize, usize)> {
        prefixes(requests, &range).iter().map(|state| (state.flushed, state.end)).collect()
    }

    #[test]
    fn prefixes_end_at_flushes_and_between_them() {
        let requests = [write(1), write(2), FLUSH, FLUSH, write(1), FLUSH, write(1)];
        assert_eq!(ends(&requests, 0..7), [(0, 1), (2, 3), (5, 6), (5, 7)]);
        assert_eq!(ends(&requests, 0..2), [(0, 1), (0, 2)], "the flush is not of this range");
        assert_eq!(ends(&requests, 2..5), [(2, 3), (3, 5)]);
        assert_eq!(ends(&requests, 3..3), []);
    }

    #[test]
    fn a_long_request_ends_no_prefix_between_flushes() {
        assert_eq!(ends(&[write(16), write(15), write(1)], 0..3), [(0, 2), (0, 3)]);
        assert_eq!(ends(&[write(16), FLUSH], 0..2), [(1, 2)]);
    }

    #[test]
    fn subsets_leave_out_only_what_no_flush_followed() {
        let requests = [write(1), write(1), FLUSH, write(2), write(1), FLUSH, write(1)];
        let states: Vec<_> = Subsets::new(&requests, &(0..7), Random::new(1, "")).collect();
        assert!(states.iter().all(|state| state.end <= 6));
        for state in &states {
            let kept = state.kept.as_ref().unwrap();
            let between = &requests[state.flushed..state.end];
            assert_eq!(kept.len(), between.iter().map(|request| request.pieces).sum::<usize>());
            assert!(!between.iter().skip(1).any(|request| request.flushes), "{state:?}");
            assert!(kept.contains(&false));
        }
        // Of two pieces three subsets are not whole, of three seven; the second epoch may also end within.
        assert_eq!(states.len(), 3 + 3 + 7);
    }

    #[test]
    fn what_was_forced_is_there() {
        let forced = Request { forced: true, ..write(1) };
        let requests = [write(1), forced, write(1)];
        let states: Vec<_> = Subsets::new(&requests, &(0..3), Random::new(1, "")).collect();
        assert_eq!(states.len(), 3);
        assert!(states.iter().all(|state| state.kept.as_ref().unwrap()[1]));
    }

    #[test]
    fn a_longer_run_begins_as_the_shorter_one() {
        let requests = vec![write(3); 10];
        let take = |count| -> Vec<_> {
            Subsets::new(&requests, &(0..10), Random::new(3, "x")).take(count).collect()
        };
        assert_eq!(take(5), take(50)[..5]);
    }

    #[test]
    fn nothing_to_choose_from_gives_nothing() {
        assert_eq!(Subsets::new(&[write(1), FLUSH], &(0..2), Random::new(1, "")).next(), None);
    }
}
