//! An index as a generation names it: an EROFS image with the merged tree's names and attributes, whose files' bytes are in
//! the images.
//!
//! ```text
//! 5f0c…: 2 0 1, of 9a41…      its image, where files' bytes are looked for, what it was made from
//! ```
//!
//! One line, and no table: the program that reads it at boot is small.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::Digest;

/// What goes into [`Index::inputs`] first: an index that is made otherwise is another one.
const MAKING: &str = "index 1\n";

/// What a generation knows of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Index {
    /// SHA-256 of its image.
    pub digest: Digest,
    /// The images that have bytes of files, by their places in the stack, of which 0 is the base: in the order in which the
    /// kernel is to look for them. A path that two of them have is the upper one's, so that one comes first.
    pub data: Vec<usize>,
    /// The digest of what it was made from, as [`Index::inputs_of`] has it.
    pub inputs: Digest,
}

/// A text that is no such line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no index")]
pub struct IndexError(String);

impl Index {
    /// The digest of what an index is made from: images, bottom first.
    pub fn inputs_of(images: impl IntoIterator<Item = Digest>) -> Digest {
        let mut hash = Sha256::new();
        hash.update(MAKING);
        for image in images {
            hash.update(image.bytes());
        }
        Digest::new(hash.finalize().into())
    }

    /// The version that its image's manifest has: whoever signs that signs the order of the images too.
    pub fn version(inputs: &Digest, data: &[usize]) -> String {
        let mut hash = Sha256::new();
        hash.update(inputs.bytes());
        for place in data {
            hash.update(u64::try_from(*place).unwrap_or(u64::MAX).to_le_bytes());
        }
        Digest::new(hash.finalize().into()).short()
    }
}

impl FromStr for Index {
    type Err = IndexError;
    fn from_str(text: &str) -> Result<Self, IndexError> {
        let parse = || {
            let (digest, rest) = text.split_once(": ")?;
            let (data, inputs) = rest.split_once(", of ")?;
            Some(Self {
                digest: digest.parse().ok()?,
                data: data.split(' ').map(|place| place.parse().ok()).collect::<Option<_>>()?,
                inputs: inputs.parse().ok()?,
            })
        };
        parse().ok_or_else(|| IndexError(text.to_owned()))
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.digest)?;
        self.data.iter().try_for_each(|place| write!(f, " {place}"))?;
        write!(f, ", of {}", self.inputs)
    }
}

impl TryFrom<String> for Index {
    type Error = IndexError;
    fn try_from(text: String) -> Result<Self, IndexError> {
        text.parse()
    }
}

impl From<Index> for String {
    fn from(index: Index) -> Self {
        index.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_in_and_out() {
        let (image, inputs) = ("ab".repeat(32), "cd".repeat(32));
        let text = format!("{image}: 2 0 1, of {inputs}");
        let index: Index = text.parse().unwrap();
        assert_eq!(index.data, [2, 0, 1]);
        assert_eq!(index.to_string(), text);
        let bad = [
            "",
            "x: 1, of y",
            &format!("{image}: , of {inputs}"),
            &format!("{image}: -1, of {inputs}"),
        ];
        for text in bad {
            assert!(text.parse::<Index>().is_err(), "{text}");
        }
    }

    #[test]
    fn images_and_their_order_make_another_index() {
        let [a, b] = [1, 2].map(|byte| Digest::new([byte; 32]));
        assert_ne!(Index::inputs_of([a, b]), Index::inputs_of([b, a]));
        assert_ne!(Index::inputs_of([a]), Index::inputs_of([a, b]));
        assert_ne!(Index::version(&a, &[0, 1]), Index::version(&a, &[1, 0]));
    }
}
