//! A trigger layer as a generation names it: what package triggers make over the base and some of the layers.
//!
//! ```text
//! htop nginx: 5f0c… etc usr var, of 9a41…      over these two layers: image, its directories, what it was made from
//! htop: nothing, of 77e0…                      the triggers had nothing to do
//! ```
//!
//! One line, and no table: the program that reads it at boot is small.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{Digest, Name};

/// What a generation knows of a trigger layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Trigger {
    /// The layers that it was made over, bottom first; one at least.
    pub layers: Vec<Name>,
    /// SHA-256 of its image; none where the triggers had nothing to do.
    pub digest: Option<Digest>,
    /// Top-level directories of the image that are not empty.
    pub dirs: Vec<String>,
    /// The digest of what it was made from: the base, these layers and the table of triggers.
    pub inputs: Digest,
}

/// A text that is no such line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no trigger layer")]
pub struct TriggerError(String);

/// What stands in place of an image that there is none of.
const NOTHING: &str = "nothing";

impl FromStr for Trigger {
    type Err = TriggerError;
    fn from_str(text: &str) -> Result<Self, TriggerError> {
        let parse = || {
            let (layers, rest) = text.split_once(": ")?;
            let (image, inputs) = rest.split_once(", of ")?;
            let mut words = image.split(' ');
            let digest = match words.next()? {
                NOTHING => None,
                digest => Some(digest.parse().ok()?),
            };
            Some(Self {
                layers: layers.split(' ').map(|name| name.parse().ok()).collect::<Option<_>>()?,
                digest,
                dirs: words.map(str::to_owned).collect(),
                inputs: inputs.parse().ok()?,
            })
        };
        parse().ok_or_else(|| TriggerError(text.to_owned()))
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.layers.iter().enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { " " })?;
        }
        match &self.digest {
            Some(digest) => write!(f, ": {digest}")?,
            None => write!(f, ": {NOTHING}")?,
        }
        self.dirs.iter().try_for_each(|dir| write!(f, " {dir}"))?;
        write!(f, ", of {}", self.inputs)
    }
}

impl TryFrom<String> for Trigger {
    type Error = TriggerError;
    fn try_from(text: String) -> Result<Self, TriggerError> {
        text.parse()
    }
}

impl From<Trigger> for String {
    fn from(trigger: Trigger) -> Self {
        trigger.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_in_and_out() {
        let (image, inputs) = ("ab".repeat(32), "cd".repeat(32));
        let some = format!("htop nginx: {image} etc usr, of {inputs}");
        let none = format!("htop: nothing, of {inputs}");
        for text in [some, none] {
            assert_eq!(text.parse::<Trigger>().unwrap().to_string(), text);
        }
        let bad = ["", "htop", "htop: nothing", "htop: x, of y", ": nothing, of z"];
        for text in bad {
            assert!(text.parse::<Trigger>().is_err(), "{text}");
        }
    }
}
