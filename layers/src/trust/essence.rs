//! What a boot has to know of a signed manifest.
//!
//! Read key by key and not into [`crate::manifest::Manifest`], for the sake of the initrd's size; a test holds the two
//! together.

use crate::generation::{Base, Layer};
use crate::id::{Digest, IdError, Name, Version};
use crate::manifest::{Kind, SCHEMA, Verity};
use crate::record::{self, Record, RecordError};

/// A part of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Essence {
    /// The image's name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// What it is for.
    pub kind: Kind,
    /// The file's length in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Top-level directories that are not empty.
    pub dirs: Vec<String>,
    kernels: Vec<String>,
    marks_good: bool,
    requires: Vec<Name>,
    required: bool,
    /// What covers the image's bytes while they are read.
    pub verity: Verity,
}

impl Essence {
    /// Reads a manifest's TOML; one that says nothing of verity is refused.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        record::read(text, Self::read)
    }

    fn read(record: Record<'_>) -> Result<Self, RecordError> {
        if record.number("schema")? != u64::from(SCHEMA) {
            return Err(record.refuse("schema", "is another one"));
        }
        let verity = record.table("verity")?;
        let verity = verity.ok_or_else(|| record.refuse("verity", "is missing"))?;
        let mut requires: Vec<String> = record.list("requires")?;
        // Bounds of versions are checked where layers are installed.
        for need in &mut requires {
            need.truncate(need.find(' ').unwrap_or(need.len()));
        }
        let requires = requires.iter().map(|name| name.parse());
        let requires: Result<Vec<Name>, IdError> = requires.collect();
        Ok(Self {
            name: record.parsed("name")?,
            version: record.parsed("version")?,
            kind: record.one_of("kind", &Kind::ALL.map(|kind| (kind.word(), kind)))?,
            size: record.number("size")?,
            digest: record.parsed("digest")?,
            dirs: record.texts("dirs")?,
            kernels: record.list("kernels")?,
            marks_good: record.flag("marks_good")?,
            requires: requires.map_err(|error| record.refuse("requires", &error.to_string()))?,
            required: record.flag("required")?,
            verity: Verity {
                root: verity.parsed("root")?,
                salt: verity.parsed("salt")?,
                data_blocks: verity.number("data_blocks")?,
                fsverity: verity.parsed("fsverity")?,
            },
        })
    }

    /// The base that a generation names for it.
    pub fn base(&self) -> Base {
        Base {
            name: self.name.clone(),
            version: self.version.clone(),
            digest: self.digest,
            dirs: self.dirs.clone(),
            kernels: self.kernels.clone(),
            marks_good: self.marks_good,
        }
    }

    /// The layer that a generation names for it; what that asked for and what it conflicts with is as in `like`.
    pub fn layer(&self, like: &Layer) -> Layer {
        Layer {
            name: self.name.clone(),
            version: self.version.clone(),
            digest: self.digest,
            dirs: self.dirs.clone(),
            requested: like.requested,
            required: self.required,
            requires: self.requires.clone(),
            conflicts: like.conflicts.clone(),
        }
    }
}
