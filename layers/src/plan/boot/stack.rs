//! The images of a boot as lowers of the writable directories, and the images that these lay over before.

use std::path::PathBuf;

use super::top::Top;
use super::{BootFacts, UpperFacts};
use crate::generation::{Generation, Layer};
use crate::id::{Digest, Name, SetName};
use crate::layout::{BootPaths, Layout};
use crate::lowers::{LowerImage, LowerImages};
use crate::plan::{Op, Overlay};
use crate::policy::Dir;
use crate::superblock::Format;

/// The images that a boot mounts.
pub(super) struct Stack<'a> {
    pub(super) generation: &'a Generation,
    pub(super) layers: &'a [(&'a Layer, Format)],
    /// The image of the trigger layer, if there is one.
    trigger: Option<Digest>,
    pub(super) facts: &'a BootFacts,
    pub(super) paths: &'a BootPaths,
    /// The images, topmost first.
    pub(super) images: LowerImages,
}

impl<'a> Stack<'a> {
    pub(super) fn new(
        generation: &'a Generation,
        layers: &'a [(&'a Layer, Format)],
        top: Option<&Top<'_>>,
        facts: &'a BootFacts,
        paths: &'a BootPaths,
    ) -> Self {
        let top = top.map(|top| LowerImage { digest: top.digest, dirs: top.dirs.to_vec() });
        let layer_images = layers
            .iter()
            .rev()
            .map(|(layer, _)| LowerImage { digest: layer.digest, dirs: layer.dirs.clone() });
        let base = &generation.base;
        let base = LowerImage { digest: base.digest, dirs: base.dirs.clone() };
        let trigger = top.as_ref().map(|top| top.digest);
        let images = LowerImages(top.into_iter().chain(layer_images).chain([base]).collect());
        Self { generation, layers, trigger, facts, paths, images }
    }

    /// The images that may bring units: the trigger layer has what follows from the others.
    pub(super) fn with_units(&self) -> LowerImages {
        let mut images = self.images.clone();
        images.0.retain(|image| self.trigger != Some(image.digest));
        images
    }

    pub(super) fn has_layers(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Whether all layers of the default set are mounted. What only other layers have is nothing to judge by then; where
    /// one of these is missing, in a boot for repair, an upper's whiteouts and copies may well be about its files.
    pub(super) fn is_whole(&self) -> bool {
        let default = self.generation.sets.get(&SetName::default_set());
        let mounted = |name: &Name| self.layers.iter().any(|(layer, _)| layer.name == *name);
        default.is_none_or(|names| names.iter().all(mounted))
    }

    /// Whether an upper is known to lie over other images than those of this boot.
    pub(super) fn differs(&self, upper: &UpperFacts) -> bool {
        upper.lowers.as_ref().is_some_and(|lowers| *lowers != self.images)
    }

    /// Whether an upper is not known to lie over the images of this boot.
    pub(super) fn is_not(&self, upper: &UpperFacts) -> bool {
        upper.lowers.as_ref() != Some(&self.images)
    }

    /// Directories of the images, topmost first, that have something in `dir`.
    pub(super) fn lowers(&self, dir: Dir) -> Vec<PathBuf> {
        self.mounted(&self.images, dir.name()).unwrap_or_default()
    }

    /// Where an image of this boot is mounted.
    fn place(&self, digest: &Digest) -> Option<PathBuf> {
        if self.generation.base.digest == *digest {
            return Some(self.paths.base());
        }
        if self.trigger == Some(*digest) {
            return Some(self.paths.trigger());
        }
        let layer = self.layers.iter().find(|(layer, _)| layer.digest == *digest);
        layer.map(|(layer, _)| self.paths.layer(&layer.name))
    }

    /// The directories `name` of images, topmost first; `None` where one of them cannot be mounted.
    pub(super) fn mounted(&self, images: &LowerImages, name: &str) -> Option<Vec<PathBuf>> {
        let path = |image: &LowerImage| {
            let old = || self.format(&image.digest).map(|_| self.paths.old(&image.digest));
            self.place(&image.digest).or_else(old).map(|at| at.join(name))
        };
        images.with(name).map(path).collect()
    }

    /// Where the images of this boot are mounted, topmost first.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        self.images.0.iter().filter_map(|image| self.place(&image.digest)).collect()
    }

    fn format(&self, digest: &Digest) -> Option<Format> {
        self.facts.images.get(digest).and_then(|format| format.clone().ok())
    }

    /// Mounts those of `images` with a directory `name` that this boot does not mount yet, as far as they can be.
    pub(super) fn mount_old(&self, ops: &mut Vec<Op>, images: &LowerImages, name: &str) {
        for image in images.with(name) {
            let at = self.paths.old(&image.digest);
            let there = ops.iter().any(|op| op.mount_point() == Some(&at));
            if let (None, Some(format), false) =
                (self.place(&image.digest), self.format(&image.digest), there)
            {
                let layout = Layout::new(&self.paths.state());
                ops.push(super::mount(self.facts, &layout, &image.digest, format, at));
            }
        }
    }

    /// What an upper lay over in `dir`, mounted; `None` where that is not known or cannot be.
    pub(super) fn old_lowers(
        &self,
        ops: &mut Vec<Op>,
        dir: Dir,
        upper: &UpperFacts,
    ) -> Option<Vec<PathBuf>> {
        let images = upper.lowers.as_ref()?;
        let lowers = self.mounted(images, dir.name())?;
        self.mount_old(ops, images, dir.name());
        Some(lowers)
    }

    /// Makes visible what an /etc upper lay over, if that is known, and what it will lie over.
    pub(super) fn etc_views(
        &self,
        ops: &mut Vec<Op>,
        upper: &UpperFacts,
    ) -> (Option<PathBuf>, PathBuf) {
        let lowers = self.lowers(Dir::Etc);
        let old = self.old_lowers(ops, Dir::Etc, upper);
        let same = old.as_ref() == Some(&lowers);
        let new = self.view(ops, "etc", lowers);
        let old =
            if same { Some(new.clone()) } else { old.map(|old| self.view(ops, "etc-old", old)) };
        (old, new)
    }

    /// One directory that shows several, merged.
    fn view(&self, ops: &mut Vec<Op>, name: &str, lowers: Vec<PathBuf>) -> PathBuf {
        let at = self.paths.view(name);
        match lowers.as_slice() {
            // Nothing is there, and nothing is found.
            [] => at,
            [one] => one.clone(),
            _ => {
                let source = format!("layerctl:{name}");
                ops.push(Op::MountOverlay(Overlay {
                    source,
                    lowers,
                    data: Vec::new(),
                    upper: None,
                    at: at.clone(),
                }));
                at
            }
        }
    }
}
