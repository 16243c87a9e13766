//! The images that a trigger layer is made over.

use std::path::PathBuf;

use layers::id::{Digest, Name};
use layers::manifest::Manifest;
use layers::plan::change::{Composition, Refusal};
use layers::superblock::Format;

use super::table::Table;

/// An image of a stack: in the store, or on its way there.
#[derive(Debug, Clone)]
pub(crate) struct StackImage {
    /// Its name.
    pub(crate) name: Name,
    /// SHA-256 of its bytes.
    pub(crate) digest: Digest,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its file system.
    pub(crate) format: Format,
    /// Its description.
    pub(crate) manifest: Manifest,
}

impl StackImage {
    /// The image at `path` as its manifest describes it.
    pub(crate) fn new(manifest: Manifest, path: PathBuf) -> Self {
        let (name, digest, format) = (manifest.name.clone(), manifest.digest, manifest.format);
        Self { name, digest, path, format, manifest }
    }

    /// The refusal where the store has lost an image's manifest.
    pub(crate) fn lost(digest: &Digest) -> Refusal {
        Refusal::new(
            format!("the manifest of image {} is missing from the store", digest.short()),
            "install its file again; see what is damaged: layerctl verify",
        )
    }
}

/// A base and the layers on it.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    /// The base.
    pub(crate) base: StackImage,
    /// The layers, bottom first.
    pub(crate) layers: Vec<StackImage>,
}

impl Stack {
    /// All images, bottom first.
    pub(crate) fn images(&self) -> impl DoubleEndedIterator<Item = &StackImage> {
        std::iter::once(&self.base).chain(&self.layers)
    }

    /// The digest of what a composition is made from, as the generation's record has it.
    pub(crate) fn inputs(&self, table: &Table) -> Digest {
        let layers = self.layers.iter().map(|layer| (layer.name.clone(), layer.digest)).collect();
        Composition::new(&table.digest(), self.base.digest, layers).inputs
    }
}
