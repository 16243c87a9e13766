//! A generation: base with its kernel, ordered layers, sets, writable policy and kernel arguments, as one immutable record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use crate::id::{Digest, GenerationId, IdError, Name, SetName, Version};
use crate::index::Index;
use crate::kernel::{Kernel, check_options};
use crate::manifest::Manifest;
use crate::policy::Policy;
use crate::record::{self, Record, RecordError};
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
    Syntax(#[from] RecordError),
    /// Written by a newer layerctl.
    #[error("has generation schema {0}; this program knows {SCHEMA}")]
    Schema(u64),
    /// Parts that contradict each other.
    #[error("contradicts itself: {0}")]
    Contradiction(String),
}

/// An image as a generation names it: all that a boot has to know before it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    pub kernels: Vec<String>,
    /// Whether it has the unit that marks boots good, so that starts are counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub marks_good: bool,
}

/// A layer as a generation names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Layers that it needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Name>,
    /// Layers of this generation beside which it is not mounted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Name>,
}

/// An immutable record of what boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// The format's number, [`SCHEMA`].
    pub schema: u32,
    /// Its number.
    pub id: GenerationId,
    /// The generation that it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<GenerationId>,
    /// When it was made: RFC 3339, UTC.
    pub created: String,
    /// What was asked for.
    pub reason: String,
    /// What the administrator wants on the kernel command line: see [`check_options`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The OS tree.
    pub base: Base,
    /// The base's kernel; none where the base has none that can be started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// The layers, bottom first.
    pub layers: Vec<Layer>,
    /// Which layers each set has; `default` is always there.
    pub sets: BTreeMap<SetName, Vec<Name>>,
    /// What goes on top, for each choice of layers that was foreseen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Trigger>,
    /// The merged trees of base and layers that were foreseen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
    /// What was asked for beside layers by name, as [`crate::intent`] reads it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
    /// What happens to writes.
    pub writable: Policy,
}

fn id(record: Record<'_>, key: &str) -> Result<GenerationId, RecordError> {
    let number = record.number(key)?;
    number.to_string().parse().map_err(|error: IdError| record.refuse(key, &error.to_string()))
}

impl Base {
    fn read(record: Record<'_>) -> Result<Self, RecordError> {
        record.only(&["name", "version", "digest", "dirs", "kernels", "marks_good"])?;
        Ok(Self {
            name: record.parsed("name")?,
            version: record.parsed("version")?,
            digest: record.parsed("digest")?,
            dirs: record.texts("dirs")?,
            kernels: record.list("kernels")?,
            marks_good: record.flag("marks_good")?,
        })
    }

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
    fn read(record: Record<'_>) -> Result<Self, RecordError> {
        record.only(&[
            "name",
            "version",
            "digest",
            "dirs",
            "requested",
            "required",
            "requires",
            "conflicts",
        ])?;
        if !record.has("requested") {
            return Err(record.refuse("requested", "is missing"));
        }
        Ok(Self {
            name: record.parsed("name")?,
            version: record.parsed("version")?,
            digest: record.parsed("digest")?,
            dirs: record.texts("dirs")?,
            requested: record.flag("requested")?,
            required: record.flag("required")?,
            requires: record.list("requires")?,
            conflicts: record.list("conflicts")?,
        })
    }

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
        // Read first, so that a newer record is called newer and not damaged.
        let schema = record::read(text, |record| record.number("schema"))?;
        if schema != u64::from(SCHEMA) {
            return Err(GenerationError::Schema(schema));
        }
        let generation = record::read(text, Self::read)?;
        generation.check().map_err(GenerationError::Contradiction)?;
        Ok(generation)
    }

    fn read(record: Record<'_>) -> Result<Self, RecordError> {
        record.only(&[
            "schema", "id", "parent", "created", "reason", "options", "base", "kernel", "layers",
            "sets", "triggers", "indexes", "requests", "writable",
        ])?;
        let missing = |key| move || record.refuse(key, "is missing");
        let mut sets = BTreeMap::new();
        let table = record.table("sets")?.ok_or_else(missing("sets"))?;
        for key in table.keys() {
            let set = SetName::from_str(key);
            let set = set.map_err(|error| table.refuse(key, &error.to_string()))?;
            sets.insert(set, table.list(key)?);
        }
        Ok(Self {
            schema: SCHEMA,
            id: id(record, "id")?,
            parent: record.has("parent").then(|| id(record, "parent")).transpose()?,
            created: record.parsed("created")?,
            reason: record.parsed("reason")?,
            options: record.list("options")?,
            base: Base::read(record.table("base")?.ok_or_else(missing("base"))?)?,
            kernel: record.table("kernel")?.map(Kernel::read).transpose()?,
            layers: record
                .tables("layers")?
                .into_iter()
                .map(Layer::read)
                .collect::<Result<_, _>>()?,
            sets,
            triggers: record.list("triggers")?,
            indexes: record.list("indexes")?,
            requests: record.list("requests")?,
            writable: record
                .table("writable")?
                .map_or_else(|| Ok(Policy::default()), Policy::read)?,
        })
    }

    /// The layer of that name.
    pub fn layer(&self, name: &Name) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name == *name)
    }

    /// Digests of all images, the base's first and those of trigger layers and indexes last.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        let triggers = self.triggers.iter().filter_map(|trigger| trigger.digest);
        std::iter::once(self.base.digest)
            .chain(self.layers.iter().map(|layer| layer.digest))
            .chain(triggers)
            .chain(self.indexes.iter().map(|index| index.digest))
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
