//! Names of things: digests, generation numbers, layer names, versions, set names.
//!
//! Every name that comes from outside is parsed here, once; a value of these types is safe in a path,
//! on the kernel command line and on a terminal.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest layer or set name, in bytes: leaves room for a mount path under OverlayFS's 255 bytes a value.
pub const NAME_MAX: usize = 64;
/// The longest version, in bytes.
pub const VERSION_MAX: usize = 128;

/// Why a text is not the name that it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not 64 hexadecimal digits.
    #[error("{0:?} is not a SHA-256 digest: 64 lower-case hexadecimal digits are expected")]
    Digest(String),
    /// Not a decimal number from 1 to 4294967295.
    #[error("{0:?} is not a generation number: a decimal number from 1 on is expected")]
    Generation(String),
    /// Not a layer or set name.
    #[error(
        "{0:?} is not a usable name: letters, digits and + . - are allowed, the first a letter or digit, at most {NAME_MAX} in all"
    )]
    Name(String),
    /// Not a version.
    #[error(
        "{0:?} is not a usable version: letters, digits and + . ~ ^ - are allowed, the first a letter or digit, at most {VERSION_MAX} in all"
    )]
    Version(String),
}

/// Implements text in, text out, for a type with `FromStr` and `Display`, so that serde speaks the same text.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    };
}

/// The SHA-256 of an image's bytes: its name in the store. Text form: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// A digest from its 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError::Digest(text.to_owned());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for &digit in pair {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(error()),
                };
                *byte = *byte << 4 | value;
            }
        }
        Ok(Self(bytes))
    }
}

serde_as_text!(Digest);

/// A generation's number, from 1 on; never used twice in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GenerationId(NonZeroU32);

impl GenerationId {
    /// The first generation of a store.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The number after this one; `None` after 4294967295.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The record's text in `boot/`: ten digits and a line feed, so that every value has the same width.
    pub fn record(self) -> String {
        format!("{:010}\n", self.0)
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for GenerationId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError::Generation(text.to_owned());
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        text.parse().map(Self).map_err(|_| error())
    }
}

/// A layer's name, as on the command line and in `layers.add=`. See [`NAME_MAX`] and [`IdError::Name`] for its form;
/// no `_`, which parts name, version and architecture in file names (UAPI.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Name {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if plain(text, NAME_MAX, b"+.-") {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Name(text.to_owned()))
        }
    }
}

serde_as_text!(Name);

/// A layer set's name; the same form as a layer's. `default` and `none` are the reserved ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SetName(String);

impl SetName {
    /// The set that boots when the command line names none.
    pub fn default_set() -> Self {
        Self("default".to_owned())
    }

    /// Whether this is the set that boots when none is named.
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }

    /// Whether this is `none`, which on the command line means the base alone.
    pub fn is_none(&self) -> bool {
        self.0 == "none"
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for SetName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Name::from_str(text).map(|name| Self(name.0))
    }
}

serde_as_text!(SetName);

/// A version as text; ordered by the UAPI.10 version format specification.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl Version {
    /// The version's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares by UAPI.10: `1.0~rc1` before `1.0` before `1.0.1`.
    pub fn compare(&self, other: &Self) -> std::cmp::Ordering {
        uapi_version::strverscmp(&self.0, &other.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Version {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if plain(text, VERSION_MAX, b"+.~^-") {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Version(text.to_owned()))
        }
    }
}

serde_as_text!(Version);

/// Whether `text` has 1 to `max` bytes, all ASCII letters, digits or of `marks`, and starts with a letter or digit.
fn plain(text: &str, max: usize, marks: &[u8]) -> bool {
    let mut bytes = text.bytes();
    text.len() <= max
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_lower_case_hexadecimal_digits() {
        let text = "00ff".repeat(16);
        assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        for bad in ["", "00", &"00FF".repeat(16), &"00fg".repeat(16), &"é".repeat(32)] {
            assert_eq!(bad.parse::<Digest>(), Err(IdError::Digest(bad.to_owned())));
        }
    }

    #[test]
    fn a_generation_is_a_decimal_number_from_one_on() {
        assert_eq!("0000000042".parse::<GenerationId>().unwrap().get(), 42);
        for bad in ["", "0", "-1", "+1", " 1", "4294967296", "1\n"] {
            assert!(bad.parse::<GenerationId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn records_of_all_generations_have_one_width() {
        let last = "4294967295".parse::<GenerationId>().unwrap();
        assert_eq!(GenerationId::FIRST.record().len(), last.record().len());
        assert_eq!(last.next(), None);
    }

    #[test]
    fn a_name_takes_no_separator_path_or_control_character() {
        for good in ["htop", "g++", "python3.13", "A-1"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let long = "a".repeat(NAME_MAX + 1);
        for bad in ["", "-a", ".a", "a,b", "a/b", "a_b", "a b", "a\n", "ä", "..", &long] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn versions_follow_the_uapi_order() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("1.0~rc1").compare(&version("1.0")).is_lt());
        assert!(version("1.10").compare(&version("1.9")).is_gt());
        assert!("1:2".parse::<Version>().is_err());
    }
}
