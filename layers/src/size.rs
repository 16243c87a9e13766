//! The size of a tmpfs, as tmpfs(5) has it: a share of memory or a number of bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no size: 50%, 512M, 2G or a number of bytes is expected")]
pub struct SizeError(String);

/// How much a tmpfs may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Size {
    /// A share of physical memory, from 1 to 100 per cent.
    Percent(u8),
    /// A number of bytes, at least one page of 4096.
    Bytes(u64),
}

impl Default for Size {
    /// Half of memory, as tmpfs has it by default.
    fn default() -> Self {
        Self::Percent(50)
    }
}

impl Size {
    /// The most inodes that go with this size, where it does not depend on memory: one for each page. Each costs about
    /// a kilobyte of kernel memory that the size does not count. For a share of memory the kernel's own limit holds,
    /// one inode for each two pages of memory (tmpfs(5)).
    pub fn inodes(self) -> Option<u64> {
        match self {
            Self::Percent(_) => None,
            Self::Bytes(bytes) => Some((bytes / PAGE).max(INODES_MIN)),
        }
    }
}

const PAGE: u64 = 4096;
/// Fewer than these are used up by a bare /etc.
const INODES_MIN: u64 = 4096;

impl FromStr for Size {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let wrong = || SizeError(text.to_owned());
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse().map_err(|_| wrong())?;
            return if (1..=100).contains(&percent) {
                Ok(Self::Percent(percent))
            } else {
                Err(wrong())
            };
        }
        let units = [(['k', 'K'], 10), (['m', 'M'], 20), (['g', 'G'], 30)];
        let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
        let (number, shift) = unit.unwrap_or((text, 0));
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let bytes = number.parse::<u64>().ok().filter(|_| digits);
        match bytes.and_then(|bytes| bytes.checked_mul(1 << shift)) {
            Some(bytes) if bytes >= PAGE => Ok(Self::Bytes(bytes)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => write!(f, "{bytes}"),
        }
    }
}

impl TryFrom<String> for Size {
    type Error = SizeError;
    fn try_from(text: String) -> Result<Self, SizeError> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shares_or_bytes() {
        let parse = |text: &str| text.parse::<Size>().ok();
        assert_eq!(parse("50%"), Some(Size::Percent(50)));
        assert_eq!(parse("64M"), Some(Size::Bytes(64 << 20)));
        assert_eq!(parse("2g"), Some(Size::Bytes(2 << 30)));
        assert_eq!(parse("8192"), Some(Size::Bytes(8192)));
        for wrong in
            ["", "%", "0%", "101%", "M", "-1", "+5M", "1T", "12", "99999999999999G", "1.5G"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_size_in_bytes_limits_inodes_too() {
        assert_eq!(Size::Bytes(64 << 20).inodes(), Some(16384));
        assert_eq!(Size::Bytes(4096).inodes(), Some(INODES_MIN));
        assert_eq!(Size::default().inodes(), None);
    }
}
