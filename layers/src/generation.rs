//! A generation: base with its kernel, ordered layers, sets, writable policy and kernel arguments, as one immutable record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Digest, GenerationId, Name, SetName, Version};
use crate::kernel::{Kernel, check_options};
use crate::manifest::{Manifest, SchemaOnly};
use crate::policy::Policy;
use crate::trigger::Trigger;

/// The generation format's number that this code reads and writes.
pub const SCHEMA: u32 = 1;

/// The most layers a generation may have: OverlayFS takes 500 lowers (`OVL_MAX_STACK`), one is the base.
pub const LAYERS_MAX: usize = 499;

/// Why a text is no generation.
#[derive(Debug, Error)]
pub enum GenerationError {
    /// Not TOML, a key that is missing, unknown or of the wrong type; the message names the line.
    #[error("does not parse: {0}")]
    Syntax(#[from] toml::de::Error),
    /// Written by a newer layerctl.
    #[error("has generation schema {0}; this program knows {SCHEMA}")]
    Schema(u32),
    /// Parts that contradict each other.
    #[error("contradicts itself: {0}")]
    Contradiction(String),
}

/// An image as a generation names it: all that a boot has to know before it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The base's name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// SHA-256 of the image.
    pub digest: Digest,
    /// Top-level directories that are not empty.
    pub dirs: Vec<String>,
    /// Kernel versions whose modules it has.
    #[serde(default)]
    pub kernels: Vec<String>,
    /// Whether it has the unit that marks boots good, so that starts are counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marks_good: bool,
}

/// A layer as a generation names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// The layer's name, unique in a generation.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// SHA-256 of the image, unique in a generation: OverlayFS refuses one lower twice.
    pub digest: Digest,
    /// Top-level directories that are not empty.
    pub dirs: Vec<String>,
    /// Asked for by name or file, not only needed by another layer.
    pub requested: bool,
    /// A boot without this layer is no boot of this generation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Layers that it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Name>,
    /// Layers of this generation beside which it is not mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Name>,
}

/// An immutable record of what boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// The format's number, [`SCHEMA`].
    pub schema: u32,
    /// Its number.
    pub id: GenerationId,
    /// The generation that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<GenerationId>,
    /// When it was made: RFC 3339, UTC.
    pub created: String,
    /// What was asked for.
    pub reason: String,
    /// What the administrator wants on the kernel command line: see [`check_options`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The OS tree.
    pub base: Base,
    /// The base's kernel; none where the base has none that can be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// The layers, bottom first.
    #[serde(default)]
    pub layers: Vec<Layer>,
    /// Which layers each set has; `default` is always there.
    pub sets: BTreeMap<SetName, Vec<Name>>,
    /// What goes on top, for each choice of layers that was foreseen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Trigger>,
    /// What was asked for beside layers by name, as [`crate::intent`] reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
    /// What happens to writes.
    #[serde(default)]
    pub writable: Policy,
}

impl Base {
    /// A base as its manifest describes it.
    pub fn from_manifest(manifest: &Manifest) -> Self {
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            digest: manifest.digest,
            dirs: manifest.dirs.clone(),
            kernels: manifest.kernels.clone(),
            marks_good: manifest.marks_good,
        }
    }
}

impl Layer {
    /// A layer as its manifest describes it; what it conflicts with is found out when a generation is made.
    pub fn from_manifest(manifest: &Manifest, requested: bool) -> Self {
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            digest: manifest.digest,
            dirs: manifest.dirs.clone(),
            requested,
            required: manifest.required,
            requires: manifest.requires.iter().map(|need| need.name.clone()).collect(),
            conflicts: Vec::new(),
        }
    }

    /// `name version`, for people.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

impl Generation {
    /// Reads a generation's TOML and checks that its parts fit together.
    pub fn parse(text: &str) -> Result<Self, GenerationError> {
        let schema = SchemaOnly::parse(text)?;
        if schema != SCHEMA {
            return Err(GenerationError::Schema(schema));
        }
        let generation: Self = toml::from_str(text)?;
        generation.check().map_err(GenerationError::Contradiction)?;
        Ok(generation)
    }

    /// The layer of that name.
    pub fn layer(&self, name: &Name) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name == *name)
    }

    /// Digests of all images, the base's first and those of trigger layers last.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        let triggers = self.triggers.iter().filter_map(|trigger| trigger.digest);
        std::iter::once(self.base.digest)
            .chain(self.layers.iter().map(|layer| layer.digest))
            .chain(triggers)
    }

    /// Whether the parts fit together; the text says which do not.
    pub fn check(&self) -> Result<(), String> {
        if self.layers.len() > LAYERS_MAX {
            return Err(format!("{} layers; at most {LAYERS_MAX} fit", self.layers.len()));
        }
        check_options(&self.options)?;
        self.kernel.as_ref().map_or(Ok(()), Kernel::check)?;
        let mut names = BTreeSet::new();
        let mut digests = BTreeSet::from([self.base.digest]);
        for layer in &self.layers {
            if !names.insert(&layer.name) {
                return Err(format!("two layers are named {}", layer.name));
            }
            if !digests.insert(layer.digest) {
                return Err(format!("layer {} has the same image as another", layer.name));
            }
        }
        if !self.sets.contains_key(&SetName::default_set()) {
            return Err("there is no set named default".to_owned());
        }
        for (set, members) in &self.sets {
            if let Some(stranger) = members.iter().find(|name| !names.contains(name)) {
                return Err(format!("set {set} names layer {stranger}, which is not there"));
            }
        }
        let mut named = self.triggers.iter().flat_map(|trigger| &trigger.layers);
        if let Some(stranger) = named.find(|name| !names.contains(name)) {
            return Err(format!(
                "a trigger layer was made over layer {stranger}, which is not there"
            ));
        }
        if let Some((layer, missing)) = self.layers.iter().find_map(|layer| {
            Some((layer, layer.requires.iter().find(|name| !names.contains(name))?))
        }) {
            return Err(format!("layer {} needs layer {missing}, which is not there", layer.name));
        }
        Ok(())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}
