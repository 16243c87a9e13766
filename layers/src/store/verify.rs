//! `layerctl verify`: are the store's images and kernels what their names say?

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::read;
use super::stage::{self, Progress};
use crate::exec::HostError;
use crate::generation::Generation;
use crate::id::Digest;
use crate::kernel::{Kernel, KernelFile};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::plan::change::State;

/// What became of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its bytes hash to its name.
    Good,
    /// They do not.
    Damaged {
        /// What they hash to.
        is: Digest,
    },
    /// A generation names it and it is not there.
    Missing,
    /// It cannot be read.
    Unreadable(String),
}

/// Checks one image, reading all of its bytes.
pub fn image(layout: &Layout, digest: &Digest, progress: &mut Progress<'_>) -> Verdict {
    file(&layout.image(digest), digest, progress)
}

/// Checks a kernel or an initrd likewise.
pub fn kernel(layout: &Layout, kernel: &KernelFile, progress: &mut Progress<'_>) -> Verdict {
    file(&layout.kernel_file(kernel), &kernel.digest, progress)
}

/// Checks what covers an image: its verity hashes, and every block of its hash tree.
pub fn cover(layout: &Layout, manifest: &Manifest) -> Verdict {
    let Some(verity) = &manifest.verity else { return Verdict::Missing };
    let (image, tree) = (layout.image(&manifest.digest), layout.tree(&manifest.digest));
    match super::cover::check(&image, &tree, verity) {
        Ok(None) => Verdict::Good,
        Ok(Some(is)) => Verdict::Damaged { is },
        Err(HostError::Io { source, path, .. })
            if source.kind() == io::ErrorKind::NotFound && path == tree =>
        {
            Verdict::Missing
        }
        Err(error) => Verdict::Unreadable(error.to_string()),
    }
}

fn file(path: &Path, digest: &Digest, progress: &mut Progress<'_>) -> Verdict {
    match stage::hash(path, progress) {
        Ok(is) if is == *digest => Verdict::Good,
        Ok(is) => Verdict::Damaged { is },
        Err(HostError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Verdict::Missing
        }
        Err(error) => Verdict::Unreadable(error.to_string()),
    }
}

/// Manifests in the store that cannot be used, and why. An image that no generation names may lack one: it is what a
/// change that was cut short leaves.
pub fn bad_manifests(layout: &Layout, state: &State) -> BTreeMap<Digest, String> {
    let named = named(state);
    all(state)
        .into_iter()
        .filter(|digest| !state.manifests.contains_key(digest))
        .filter(|digest| named.contains(digest) || layout.manifest(digest).exists())
        .filter_map(|digest| Some((digest, read::manifest(&layout.manifest(&digest)).err()?)))
        .collect()
}

/// Every image that is in the store or that a generation names.
pub fn all(state: &State) -> BTreeSet<Digest> {
    state.images.keys().copied().chain(named(state)).collect()
}

/// Every kernel and initrd that is in the store or that a generation names.
pub fn all_kernels(state: &State) -> BTreeSet<KernelFile> {
    let kernels = state.generations.values().filter_map(|generation| generation.kernel.as_ref());
    let named = kernels.flat_map(Kernel::files).map(|(file, _)| file);
    state.kernels.keys().copied().chain(named).collect()
}

fn named(state: &State) -> BTreeSet<Digest> {
    state.generations.values().flat_map(Generation::digests).collect()
}
