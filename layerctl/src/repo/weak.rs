//! A sum over a block's bytes that rolls: the sum of the block one byte on takes two multiplications.

use super::blocks::BLOCK;

/// An odd number without a pattern: 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming, 6.4).
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// What a byte that leaves is multiplied by: the factor to the power of the block's length.
const LEAVING: u64 = power(FACTOR, BLOCK);

const fn power(factor: u64, times: usize) -> u64 {
    let (mut product, mut done) = (1_u64, 0);
    while done < times {
        product = product.wrapping_mul(factor);
        done += 1;
    }
    product
}

/// The polynomial of a block's bytes at [`FACTOR`], modulo 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weak(u64);

impl Weak {
    /// Of a block of [`BLOCK`] bytes.
    pub(crate) fn of(block: &[u8]) -> Self {
        Self(block.iter().fold(0, |sum: u64, &byte| push(sum, byte)))
    }

    /// Of the block one byte on.
    pub(crate) fn roll(self, leaves: u8, enters: u8) -> Self {
        Self(push(self.0, enters).wrapping_sub(u64::from(leaves).wrapping_mul(LEAVING)))
    }

    /// The upper half: the lower bits depend on fewer bits of the block.
    pub(crate) fn sum(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or_default()
    }
}

fn push(sum: u64, byte: u8) -> u64 {
    sum.wrapping_mul(FACTOR).wrapping_add(u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rolling_gives_what_summing_gives(seed in any::<u8>(), steps in 1_usize..300) {
            let bytes: Vec<u8> = (0..BLOCK + steps).map(|n| ((n * n) >> 3) as u8 ^ seed).collect();
            let rolled = (0..steps).fold(Weak::of(&bytes[..BLOCK]), |sum, step| {
                sum.roll(bytes[step], bytes[step + BLOCK])
            });
            prop_assert_eq!(rolled, Weak::of(&bytes[steps..]));
        }
    }
}
