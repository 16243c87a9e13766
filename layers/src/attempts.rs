//! How often a generation may still be started before somebody says that it is good: the file `boot/tries/<id>`.
//!
//! The record has one width for all numbers, so that it is overwritten in place: that needs no free block on a file
//! system that does not copy on write, and a full disk must not keep a boot from being counted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The length of every record in bytes.
pub const RECORD: usize = 4;

/// Why a text is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("holds no number of attempts")]
pub struct NoAttempts;

/// Attempts that are left: 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempts(pub u8);

impl Attempts {
    /// What a new generation gets where nobody says otherwise.
    pub const NEW: Self = Self(3);

    /// What is left after one more start; `None` where none was left.
    pub fn count_off(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Whether none is left.
    pub fn are_used_up(self) -> bool {
        self.0 == 0
    }

    /// The text of the record, [`RECORD`] bytes long.
    pub fn record(self) -> String {
        format!("{:03}\n", self.0)
    }
}

impl FromStr for Attempts {
    type Err = NoAttempts;
    fn from_str(text: &str) -> Result<Self, NoAttempts> {
        let digits = text.strip_suffix('\n').filter(|digits| digits.len() + 1 == RECORD);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map(Self).ok_or(NoAttempts)
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written_and_all_have_one_length() {
        for left in [0, 1, 3, 10, 255] {
            let record = Attempts(left).record();
            assert_eq!(record.len(), RECORD);
            assert_eq!(record.parse(), Ok(Attempts(left)));
        }
    }

    #[test]
    fn nothing_else_is_a_record() {
        for bad in ["", "3", "3\n", "003", "0003\n", "256\n", "-01\n", "+01\n", "00a\n", "\0\0\0\0"]
        {
            assert_eq!(bad.parse::<Attempts>(), Err(NoAttempts), "{bad:?}");
        }
    }

    #[test]
    fn the_last_attempt_leaves_none() {
        assert_eq!(Attempts(1).count_off(), Some(Attempts(0)));
        assert_eq!(Attempts(0).count_off(), None);
        assert!(Attempts(0).are_used_up());
    }
}
