//! Random numbers that come again with their seed.

/// xorshift64* (Vigna, 2016): small, and good enough to choose writes.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// A stream of its own for each seed and name.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a over both.
        let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Zero is the one state that it never leaves.
        Self(hash.max(1))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 where that is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        // The upper bits are the better ones. The remainder is below `end`, so it fits.
        (self.next() >> 16).checked_rem(end as u64).unwrap_or(0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_comes_again_with_its_seed_and_name_alone() {
        let take = |seed, name| {
            let mut random = Random::new(seed, name);
            [0; 8].map(|_| random.next())
        };
        assert_eq!(take(1, "ext4"), take(1, "ext4"));
        assert_ne!(take(1, "ext4"), take(2, "ext4"));
        assert_ne!(take(1, "ext4"), take(1, "xfs"));
    }

    #[test]
    fn every_number_below_the_end_comes_about_as_often() {
        let mut random = Random::new(7, "");
        let mut counts = [0; 5];
        (0..5000).for_each(|_| counts[random.below(5)] += 1);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!(random.below(0), 0);
    }
}
