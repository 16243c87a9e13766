//! The manifest beside an image: what it is, what it needs, and the digest of its bytes.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Digest, Name, Version};
use crate::os::{Fits, Os};
use crate::requirement::Requirement;
use crate::superblock::Format;

/// The manifest format's number that this code reads and writes.
pub const SCHEMA: u32 = 1;

/// The architecture of an image that fits every machine.
pub const ANY_ARCHITECTURE: &str = "any";

/// Why a text is no manifest.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not TOML, a key that is missing, unknown or of the wrong type; the message names the line.
    #[error("is no manifest: {0}")]
    Syntax(#[from] toml::de::Error),
    /// Written by a newer layerctl.
    #[error("has manifest schema {0}; this layerctl knows {SCHEMA}")]
    Schema(u32),
    /// A base without kernel modules, or a layer with them in the wrong place.
    #[error("{0}")]
    Contents(String),
}

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A whole OS tree.
    Base,
    /// Files added to a base.
    Layer,
    /// What package triggers make over a base and some layers; made by layerctl itself, on top of them.
    Trigger,
    /// The names and attributes of what a base and some layers are together; made by layerctl itself.
    Index,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Base, Self::Layer, Self::Trigger, Self::Index];

    /// Its word in a manifest.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Layer => "layer",
            Self::Trigger => "trigger",
            Self::Index => "index",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trigger => "trigger layer",
            other => other.word(),
        })
    }
}

/// What an image's programs and libraries ask of others, and what they bring, as RPM writes it: `libjq.so.1`,
/// `libc.so.6(GLIBC_2.38)`. Sorted, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Links {
    /// Sonames and symbol versions that something in the image needs and that the image itself does not bring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Sonames that the image brings, and the symbol versions of its C library.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<String>,
}

/// The length in bytes of a block that verity hashes.
pub const BLOCK: u64 = 4096;

/// What makes sure, while an image is read, that its bytes are those that were signed: dm-verity (format version 1) and
/// fs-verity, both with SHA-256 and blocks of [`BLOCK`] bytes. Source: Documentation/admin-guide/device-mapper/verity.rst
/// and Documentation/filesystems/fsverity.rst (Linux 6.12).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verity {
    /// dm-verity's root hash.
    pub root: Digest,
    /// The salt that is hashed with each block, in hexadecimal digits; empty for none.
    pub salt: String,
    /// How many blocks the image has.
    pub data_blocks: u64,
    /// The digest by which fs-verity knows the file, without salt.
    pub fsverity: Digest,
}

impl Links {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An image's description, as TOML beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format's number, [`SCHEMA`].
    pub schema: u32,
    /// The image's name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// Base or layer.
    pub kind: Kind,
    /// Architecture as systemd and UAPI name it: `x86-64`, `arm64`, …; `any` where it does not matter.
    pub architecture: String,
    /// The file system inside.
    pub format: Format,
    /// The file's length in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Top-level directories that are not empty, sorted: `etc`, `usr`, `var`.
    pub dirs: Vec<String>,
    /// Kernel versions whose modules are in /usr/lib/modules (a base).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<String>,
    /// Whether it has the unit that marks boots good (a base).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marks_good: bool,
    /// Layers without which this one is of no use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// Layers beside which this one must not be in one boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Requirement>,
    /// Whether a generation without this layer must not boot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Whiteouts and opaque directories that this layer is meant to have, as absolute paths: it deletes what is below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletes: Vec<String>,
    /// What this layer has that only a signature makes right, one line each: `setuid /usr/bin/sudo`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// Packages that it has (a base) or adds (a layer), sorted: `NAME VERSION ARCHITECTURE`, as the package manager writes
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// The system that it is (a base).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<Os>,
    /// The systems that it fits (a layer); any where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fits: Option<Fits>,
    /// Shared libraries.
    #[serde(default, skip_serializing_if = "Links::is_empty")]
    pub links: Links,
    /// What covers the image's bytes while they are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verity: Option<Verity>,
}

impl Manifest {
    /// What is said of an image of which nothing more is known: EROFS of no length, for any architecture, with nothing in it
    /// and no needs.
    pub fn plain(kind: Kind, name: Name, version: Version, digest: Digest) -> Self {
        Self {
            schema: SCHEMA,
            name,
            version,
            kind,
            architecture: "any".to_owned(),
            format: Format::Erofs,
            size: 0,
            digest,
            dirs: Vec::new(),
            kernels: Vec::new(),
            marks_good: false,
            requires: Vec::new(),
            conflicts: Vec::new(),
            required: false,
            deletes: Vec::new(),
            grants: Vec::new(),
            packages: Vec::new(),
            os: None,
            fits: None,
            links: Links::default(),
            verity: None,
        }
    }

    /// Reads a manifest's TOML.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let schema = SchemaOnly::parse(text)?;
        if schema != SCHEMA {
            return Err(ManifestError::Schema(schema));
        }
        Ok(toml::from_str(text)?)
    }

    /// `name version`, for people.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// The one key that every version of a TOML format of ours has: read first, so that a newer file is called newer
/// and not damaged.
#[derive(Deserialize)]
pub(crate) struct SchemaOnly {
    schema: u32,
}

impl SchemaOnly {
    pub(crate) fn parse(text: &str) -> Result<u32, toml::de::Error> {
        Ok(toml::from_str::<Self>(text)?.schema)
    }
}
