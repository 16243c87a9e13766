//! `layerctl upgrade`: newer images in the place of those that a generation has, base and layers in one change.

use super::base;
use super::install::{drop_unneeded, pull_needed};
use super::resolve::{self, Resolved, intents};
use super::{Decision, Draft, ImageFile, Refusal, Request, State, fit, publish};
use crate::generation::{Generation, Layer};
use crate::id::{Name, Version};
use crate::layout::Layout;
use crate::manifest::Kind;

/// What takes the place of what is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// Layers, each of the name of an installed one.
    pub layers: Vec<ImageFile>,
    /// The base, if there is a newer one.
    pub base: Option<ImageFile>,
    /// All requests of the generation that the change starts from, resolved for the new base or anew; without, what came of them
    /// for the old base stays.
    pub resolved: Option<Vec<Resolved>>,
}

/// Decides how newer images take the places of the installed ones. What has no newer image stays; each layer keeps its
/// place, its sets and whether it was asked for.
pub fn upgrade(
    state: &State,
    layout: &Layout,
    asked: &Upgrade,
    request: &Request,
) -> Result<Decision, Refusal> {
    let start = state.start()?;
    let mut draft = Draft::of(start);
    let mut summary = Vec::new();
    let mut files: Vec<&ImageFile> = Vec::new();
    if let Some(image) = &asked.base {
        let manifest = &image.manifest;
        check_newer(Kind::Base, image, &start.base.name, &start.base.version)?;
        if manifest.digest != start.base.digest {
            let old = &start.base.version;
            summary.push(format!("base {} {old} → {}", manifest.name, manifest.version));
            base::replace(&mut draft, image);
            let resolved = asked.resolved.as_deref();
            files.extend(base::arriving(state, &mut draft, image, resolved, &mut summary)?);
        }
    }
    if asked.base.is_none()
        && let Some(resolved) = &asked.resolved
    {
        resolve::put_all(&mut draft, &intents(start)?, resolved, &mut summary)?;
        files.extend(resolve::images(resolved));
    }
    for image in &asked.layers {
        if replace(&mut draft, start, image, &mut summary)? {
            files.push(image);
        }
    }
    let same = (&draft.layers, &draft.requests) == (&start.layers, &start.requests);
    if same && draft.base == start.base {
        return Ok(Decision::unchanged("there is nothing newer".to_owned()));
    }
    pull(state, &files, &mut draft, &mut summary)?;
    drop_unneeded(&mut draft);
    let stays = |layer: &&Layer| draft.layers.iter().all(|other| other.name != layer.name);
    let gone = start.layers.iter().filter(stays);
    summary.extend(gone.map(|layer| format!("removed {}, which nobody needs", layer.title())));
    fit::check(&draft, state, &files, &mut summary)?;
    publish(state, layout, request, draft, &files, summary)
}

/// Puts a newer image in the place of the layer of its name; `false` where it is that layer's own.
fn replace(
    draft: &mut Draft,
    start: &Generation,
    image: &ImageFile,
    summary: &mut Vec<String>,
) -> Result<bool, Refusal> {
    let manifest = &image.manifest;
    let Some(old) = draft.layers.iter_mut().find(|layer| layer.name == manifest.name) else {
        return Err(Refusal::new(
            format!("layer {} is not installed in generation {}", manifest.name, start.id),
            format!("install it: layerctl install {}", manifest.name),
        ));
    };
    check_newer(Kind::Layer, image, &old.name, &old.version)?;
    if old.digest == manifest.digest {
        return Ok(false);
    }
    let new = Layer::from_manifest(manifest, old.requested);
    summary.push(format!("{} {} → {}", old.name, old.version, new.version));
    *old = new;
    Ok(true)
}

/// An image that is another thing, or older, would be no upgrade.
fn check_newer(kind: Kind, image: &ImageFile, name: &Name, old: &Version) -> Result<(), Refusal> {
    let manifest = &image.manifest;
    let wrong = "the repository's index is wrong: tell whoever runs it";
    let (what, hint) = if manifest.kind != kind {
        (format!("{} is a {}, not a {kind}", manifest.title(), manifest.kind), wrong)
    } else if manifest.name != *name {
        (format!("{} takes no place of {kind} {name}", manifest.title()), wrong)
    } else if manifest.version.compare(old).is_lt() {
        let what = format!("{} is older than the installed version {old}", manifest.title());
        (what, "to put it in place all the same: layerctl install --replace FILE")
    } else {
        return Ok(());
    };
    Err(Refusal::new(what, hint))
}

/// Adds what newer layers need, to every set that has the layer which needs it.
fn pull(
    state: &State,
    files: &[&ImageFile],
    draft: &mut Draft,
    summary: &mut Vec<String>,
) -> Result<(), Refusal> {
    let pulled = pull_needed(state, files, &mut draft.layers, summary)?;
    let needs = |member: &Name, name: &Name| {
        let mut layers = draft.layers.iter();
        layers.any(|layer| layer.name == *member && layer.requires.contains(name))
    };
    for members in draft.sets.values_mut() {
        // One may be there for another that was pulled in itself: the later ones come first.
        while let Some(name) = pulled.iter().find(|name| {
            !members.contains(name) && members.iter().any(|member| needs(member, name))
        }) {
            members.push(name.clone());
        }
    }
    Ok(())
}
