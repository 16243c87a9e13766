//! The images of a generation, as a boot stacks them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use layers::generation::Generation;
use layers::id::{Digest, Name, SetName};
use layers::manifest::Manifest;
use layers::plan::change::Refusal;

use crate::cli::Choice;
use crate::context::Store;

/// An image of the store that a generation has.
pub(super) struct StackedImage<'a> {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its description.
    pub(super) manifest: &'a Manifest,
}

impl StackedImage<'_> {
    /// What people call it: `layer htop 3.4`.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.manifest.kind, self.manifest.title())
    }
}

/// The generation that was asked for; else the one that runs, else the one that boots next.
pub(super) fn chosen(store: &Store, choice: Choice) -> Result<&Generation, Refusal> {
    let state = &store.state;
    match choice.generation.or(state.booted) {
        Some(id) => state.readable(id),
        None => state.start(),
    }
}

/// The images of a generation, bottom first: the base, the layers that this boot has, or that a boot takes by default,
/// and the trigger layer over them. Images whose manifest cannot be read are left out.
pub(super) fn stack_of<'a>(
    store: &'a Store,
    generation: Option<&Generation>,
) -> Vec<StackedImage<'a>> {
    let Some(generation) = generation else { return Vec::new() };
    let report = store.report.as_ref().filter(|report| report.generation == generation.id);
    let mounted: BTreeSet<&Name> = match report {
        Some(report) => report.layers.iter().collect(),
        None => usual(generation),
    };
    let layers: Vec<_> =
        generation.layers.iter().filter(|layer| mounted.contains(&layer.name)).collect();
    let over = |names: &[Name]| names.iter().eq(layers.iter().map(|layer| &layer.name));
    let trigger = generation.triggers.iter().find(|trigger| over(&trigger.layers));
    let digests = std::iter::once(generation.base.digest)
        .chain(layers.iter().map(|layer| layer.digest))
        .chain(trigger.and_then(|trigger| trigger.digest));
    let image = |digest: Digest| {
        let manifest = store.state.manifests.get(&digest)?;
        Some(StackedImage { path: store.layout.image(&digest), manifest })
    };
    digests.filter_map(image).collect()
}

/// The layers that a boot takes where nothing is said, with all that they need.
fn usual(generation: &Generation) -> BTreeSet<&Name> {
    let mut names: BTreeSet<&Name> =
        generation.sets.get(&SetName::default_set()).into_iter().flatten().collect();
    loop {
        let chosen = generation.layers.iter().filter(|layer| names.contains(&layer.name));
        let more: Vec<&Name> =
            chosen.flat_map(|layer| &layer.requires).filter(|name| !names.contains(name)).collect();
        if more.is_empty() {
            return names;
        }
        names.extend(more);
    }
}
