//! What is trusted: the policy of verification, the keys, what they may sign, and what no longer counts.
//!
//! ```text
//! # one statement a line
//! verify require                  require, if-signed or off
//! corruption restart              eio, restart or panic: what follows where a block is not what was signed
//! threshold 2                     so many keys must have signed
//! key RWQ… kinds=base,layer names=debian,acme-* until=2027-06-30
//! revoked E7620F1842B4E81F        a key by its ID
//! minimum base debian 13.1        nothing older of that kind and name
//! ```
//!
//! The same text is built into the initrd, where nobody who can write to a disk can change it, lies in /etc/layerctl/trust
//! for what is installed, and may lie in the store, where it only adds to what is asked. One text and no table: the program
//! that reads it at boot is small.

mod admission;
mod check;
mod essence;
mod floors;
mod key;

pub use admission::{Admitted, Document, SignedManifest};
pub use check::{Distrust, Signers};
pub use essence::Essence;
pub use floors::Floors;
pub use key::{Key, Purpose};

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::signature::KeyId;

/// How much has to be signed. Later ones ask for more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Nothing.
    #[default]
    Off,
    /// What has a signature must have a good one.
    IfSigned,
    /// Every image.
    Require,
}

/// What follows where a block of an image is not the one that was signed. Later ones are stricter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnCorruption {
    /// The reader gets EIO.
    #[default]
    Eio,
    /// The machine restarts.
    Restart,
    /// The kernel panics.
    Panic,
}

impl Verify {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::IfSigned, Self::Require];

    /// Its word in a trust file and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::IfSigned => "if-signed",
            Self::Require => "require",
        }
    }
}

impl OnCorruption {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Eio, Self::Restart, Self::Panic];

    /// Its word in a trust file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eio => "eio",
            Self::Restart => "restart",
            Self::Panic => "panic",
        }
    }
}

/// A line of a trust file that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the trust file: {what}")]
pub struct TrustError {
    /// Its number, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// A trust file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// How much has to be signed.
    pub verify: Verify,
    /// What follows where a block is not the one that was signed.
    pub corruption: OnCorruption,
    /// How many keys must have signed an image; one at least.
    pub threshold: usize,
    /// The keys that count.
    pub keys: Vec<Key>,
    /// Keys that do not count any more.
    pub revoked: BTreeSet<KeyId>,
    /// The lowest versions that are taken.
    pub minimum: Floors,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            verify: Verify::Off,
            corruption: OnCorruption::Eio,
            threshold: 1,
            keys: Vec::new(),
            revoked: BTreeSet::new(),
            minimum: Floors::default(),
        }
    }
}

impl Trust {
    /// Where the trust file lies, in a system and in an initramfs.
    pub const FILE: &str = "/etc/layerctl/trust";

    /// Reads a trust file. Empty lines and what follows `#` are left out.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let mut trust = Self::default();
        for (place, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if !word.is_empty() {
                trust
                    .take(word, rest.trim())
                    .map_err(|what| TrustError { line: place + 1, what })?;
            }
        }
        Ok(trust)
    }

    fn take(&mut self, word: &str, rest: &str) -> Result<(), String> {
        let unknown = || format!("{rest:?} is no {word}");
        match word {
            "verify" => {
                let known = Verify::ALL.into_iter().find(|verify| verify.name() == rest);
                self.verify = known.ok_or_else(unknown)?;
            }
            "corruption" => {
                let known = OnCorruption::ALL.into_iter().find(|what| what.name() == rest);
                self.corruption = known.ok_or_else(unknown)?;
            }
            "threshold" => {
                let number: Option<usize> = rest.parse().ok().filter(|number| *number > 0);
                self.threshold = number.ok_or_else(unknown)?;
            }
            "key" => {
                let key = Key::from_str(rest)?;
                // One key's limits stand in one place.
                if self.keys.iter().any(|other| other.public.id() == key.public.id()) {
                    return Err(format!("key {} is named twice", key.public.id()));
                }
                self.keys.push(key);
            }
            "revoked" => {
                self.revoked.insert(rest.parse().map_err(|_| unknown())?);
            }
            "minimum" => self.minimum.take(rest)?,
            _ => return Err(format!("{word:?} is not known")),
        }
        Ok(())
    }

    /// Takes over what `other` is stricter in. Its keys do not count: whoever can write `other` must not add any.
    pub fn raise(&mut self, other: &Self) {
        self.verify = self.verify.max(other.verify);
        self.corruption = self.corruption.max(other.corruption);
        self.threshold = self.threshold.max(other.threshold);
        self.revoked.extend(&other.revoked);
        self.minimum.raise(&other.minimum);
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "verify {}", self.verify.name())?;
        writeln!(f, "corruption {}", self.corruption.name())?;
        writeln!(f, "threshold {}", self.threshold)?;
        self.keys.iter().try_for_each(|key| writeln!(f, "key {key}"))?;
        self.revoked.iter().try_for_each(|key| writeln!(f, "revoked {key}"))?;
        self.minimum.lines().try_for_each(|line| writeln!(f, "minimum {line}"))
    }
}

#[cfg(test)]
mod tests;
