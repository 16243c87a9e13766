//! A repository's index, `layers.toml`: which images there are, each with its digest and what its manifest says.
//!
//! ```toml
//! schema = 1
//!
//! [[image]]
//! file = "htop_3.4.1_x86-64.img"
//! size = 421888
//! digest = "9f86d081…"
//! name = "htop"
//! version = "3.4.1"
//! kind = "layer"
//! architecture = "x86-64"
//!
//! [image.manifest]
//! …
//! ```
//!
//! The manifest is the one that `layerctl build` wrote beside the image, whole: what an image needs and fits is known
//! before a byte of it is downloaded. An image without one, such as a disk image, has the keys above alone.

use std::cmp::Ordering;
use std::fmt;

use layers::id::{Digest, Name, Version};
use layers::manifest::{Kind, Manifest};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::location::is_inside;
use super::moment::Moment;

/// The index's file in a repository.
pub(crate) const FILE: &str = "layers.toml";

/// The index format's number that this code reads and writes.
pub(crate) const SCHEMA: u32 = 1;

/// Why a text is no index, as the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum IndexError {
    /// Not TOML, or without the keys that each has.
    #[error("is no index: {0}")]
    Syntax(String),
    /// Written by a newer layerctl.
    #[error("has index schema {0}; this layerctl knows {SCHEMA}")]
    Schema(u32),
}

/// One image of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Where it is, from the index's directory on.
    pub(crate) file: String,
    /// The file's length in bytes, where the index tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// SHA-256 of the file.
    pub(crate) digest: Digest,
    /// The image's name.
    pub(crate) name: Name,
    /// Its version.
    pub(crate) version: Version,
    /// What it is for, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<Kind>,
    /// Its architecture as systemd names it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) architecture: Option<String>,
    /// What `layerctl build` wrote of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<Manifest>,
}

/// What a repository has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// When it was signed, in seconds since 1970: each one's is higher than the last one's. An index that is not signed has
    /// none.
    pub(crate) serial: Option<u64>,
    /// Until when it is to be taken, where it is signed.
    pub(crate) valid_until: Option<Moment>,
    /// Its images, sorted by name, version and file.
    pub(crate) entries: Vec<Entry>,
    /// How many others it has that this layerctl cannot use.
    pub(crate) unusable: usize,
}

impl Entry {
    /// `name version`, for people.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// An image file that has a manifest.
    pub(crate) fn described(file: String, manifest: Manifest) -> Self {
        Self {
            file,
            size: Some(manifest.size),
            digest: manifest.digest,
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            kind: Some(manifest.kind),
            architecture: Some(manifest.architecture.clone()),
            manifest: Some(manifest),
        }
    }

    /// Whether it may be used: its file is below the index, and it agrees with its own manifest.
    fn is_sound(&self) -> bool {
        let agrees = self.manifest.as_ref().is_none_or(|manifest| {
            Self::described(self.file.clone(), manifest.clone()) == *self
                && manifest.schema == layers::manifest::SCHEMA
        });
        let own = [Kind::Trigger, Kind::Index].map(Some).contains(&self.kind);
        agrees && is_inside(&self.file) && !own
    }

    fn order(&self, other: &Self) -> Ordering {
        let names = self.name.cmp(&other.name);
        names
            .then_with(|| self.version.compare(&other.version))
            .then_with(|| self.file.cmp(&other.file))
    }
}

impl Index {
    /// An index of these images.
    pub(crate) fn new(mut entries: Vec<Entry>, unusable: usize) -> Self {
        entries.sort_by(Entry::order);
        Self { entries, unusable, ..Self::default() }
    }

    /// Reads an index's TOML. An image that a newer layerctl describes, or that contradicts itself, is only counted.
    pub(crate) fn parse(text: &str) -> Result<Self, IndexError> {
        #[derive(Deserialize)]
        struct Raw {
            schema: u32,
            serial: Option<u64>,
            #[serde(rename = "valid-until")]
            valid_until: Option<Moment>,
            #[serde(default)]
            image: Vec<toml::Value>,
        }
        let raw: Raw = toml::from_str(text).map_err(|error| {
            IndexError::Syntax(error.message().lines().collect::<Vec<_>>().join(" "))
        })?;
        if raw.schema != SCHEMA {
            return Err(IndexError::Schema(raw.schema));
        }
        let all = raw.image.len();
        let read = raw.image.into_iter().filter_map(|value| value.try_into::<Entry>().ok());
        let entries: Vec<Entry> = read.filter(Entry::is_sound).collect();
        let unusable = all - entries.len();
        let (serial, valid_until) = (raw.serial, raw.valid_until);
        Ok(Self { serial, valid_until, ..Self::new(entries, unusable) })
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[derive(Serialize)]
        struct Raw<'a> {
            schema: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            serial: Option<u64>,
            #[serde(rename = "valid-until", skip_serializing_if = "Option::is_none")]
            valid_until: Option<Moment>,
            image: &'a [Entry],
        }
        let (serial, valid_until) = (self.serial, self.valid_until);
        let raw = Raw { schema: SCHEMA, serial, valid_until, image: &self.entries };
        f.write_str(&toml::to_string(&raw).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(file: &str, name: &str, version: &str) -> Entry {
        Entry {
            file: file.into(),
            size: Some(7),
            digest: Digest::new([7; 32]),
            name: name.parse().unwrap(),
            version: version.parse().unwrap(),
            kind: Some(Kind::Layer),
            architecture: None,
            manifest: None,
        }
    }

    #[test]
    fn an_index_goes_out_sorted_and_comes_in_again() {
        let entries = vec![entry("b", "b", "1"), entry("c", "a", "1.10"), entry("d", "a", "1.9")];
        let index = Index::new(entries, 0);
        let files: Vec<&str> = index.entries.iter().map(|entry| entry.file.as_str()).collect();
        assert_eq!(files, ["d", "c", "b"]);
        assert_eq!(Index::parse(&index.to_string()), Ok(index));
        assert_eq!(Index::parse("schema = 1\n"), Ok(Index::default()));
    }

    #[test]
    fn an_image_that_cannot_be_used_is_counted_and_the_others_stay() {
        let bad = [entry("../x", "a", "1"), entry("/x", "a", "1"), entry("x", "a", "1")];
        let mut text = Index::new(bad.to_vec(), 0).to_string();
        text += "\n[[image]]\nfile = \"y\"\nfuture = true\n";
        let index = Index::parse(&text).unwrap();
        assert_eq!((index.entries.len(), index.unusable), (1, 3));
    }

    #[test]
    fn a_newer_index_is_called_newer() {
        assert_eq!(Index::parse("schema = 2\n[[image]]\nx = 1\n"), Err(IndexError::Schema(2)));
        assert!(matches!(Index::parse("<html>"), Err(IndexError::Syntax(_))));
        assert!(matches!(Index::parse(""), Err(IndexError::Syntax(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", key in "[a-z]{1,8}", value in ".{0,20}") {
            let _ = Index::parse(&text);
            let _ = Index::parse(&format!("schema = 1\n[[image]]\n{key} = {value:?}\n{text}"));
        }
    }
}
