//! Chance that can be repeated: numbers that follow from a seed.

/// A source of numbers; the same seed gives the same ones on every machine.
///
/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// The numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that nobody has chosen: the time, to the second.
    #[expect(clippy::disallowed_methods, reason = "chance has to come from somewhere")]
    pub fn of_now() -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |since| since.as_secs())
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number from 0 up to, and without, `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw().checked_rem(end).unwrap_or(0)
    }

    /// `count` of the items, or all where there are no more, in their order.
    pub fn sample<T>(&mut self, items: Vec<T>, count: usize) -> Vec<T> {
        let mut left = items.len() as u64;
        let mut wanted = (count as u64).min(left);
        let mut taken = Vec::new();
        for item in items {
            // Each subset of this size is as likely as any other (Knuth, 3.4.2, algorithm S).
            if self.below(left) < wanted {
                wanted -= 1;
                taken.push(item);
            }
            left -= 1;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_and_another_one_others() {
        let draw = |seed| {
            let mut seed = Seed::new(seed);
            [seed.draw(), seed.draw(), seed.draw()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_sample_keeps_the_order_and_has_the_size_that_was_asked_for() {
        let mut seed = Seed::new(3);
        for count in [0, 1, 5, 9, 10, 20] {
            let taken = seed.sample((0..10).collect(), count);
            assert_eq!(taken.len(), count.min(10));
            assert!(taken.is_sorted());
        }
    }
}
