//! `layerctl install` and `uninstall`: the layers of a generation from what was asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::resolve::{self, Resolved};
use super::{Decision, Draft, ImageFile, Refusal, Request, State, fit, publish};
use crate::generation::{Generation, Layer};
use crate::id::{Name, SetName};
use crate::intent::Intent;
use crate::layout::Layout;
use crate::manifest::{Kind, Manifest};
use crate::requirement::Requirement;

/// What `layerctl install` was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Install {
    /// Image files, in the order given.
    pub files: Vec<ImageFile>,
    /// Names of layers whose images the store still has.
    pub names: Vec<Name>,
    /// The set to add them to; `default` when none is named.
    pub set: Option<SetName>,
    /// Whether a layer of the same name and another image is replaced.
    pub replace: bool,
    /// What was asked of the package manager, and came out.
    pub resolved: Vec<Resolved>,
}

/// Decides how the asked-for layers are added.
pub fn install(
    state: &State,
    layout: &Layout,
    asked: &Install,
    request: &Request,
) -> Result<Decision, Refusal> {
    let start = state.start()?;
    let set = asked.set.clone().unwrap_or_else(SetName::default_set);
    check_set(start, &set)?;
    let wanted = wanted_manifests(state, start, asked)?;
    let mut draft = Draft::of(start);
    let mut summary = Vec::new();
    for manifest in &wanted {
        take(&mut draft.layers, manifest, asked, &mut summary)?;
    }
    let mut members: Vec<Name> = wanted.iter().map(|manifest| manifest.name.clone()).collect();
    let files = distinct(asked.files.iter().chain(resolve::images(&asked.resolved)));
    members.extend(pull_needed(state, &files, &mut draft.layers, &mut summary)?);
    let target = draft.sets.entry(set.clone()).or_default();
    for name in members {
        if !target.contains(&name) {
            target.push(name);
        }
    }
    for one in &asked.resolved {
        resolve::check_free(&draft, &one.intent)?;
        resolve::put(&mut draft, one, &set, &mut summary)?;
    }
    drop_unneeded(&mut draft);
    fit::record_conflicts(&mut draft, state, &files);
    // An image that is installed but gone from the store, or cut short, comes back by installing its file again.
    let mut heals = false;
    for manifest in files.iter().map(|file| &file.manifest) {
        if state.images.get(&manifest.digest) != Some(&manifest.size)
            && start.layers.iter().any(|layer| layer.digest == manifest.digest)
        {
            summary.push(format!("brought the image of {} back", manifest.title()));
            heals = true;
        }
    }
    if is_same(&draft, start) && !heals {
        let built = resolve::images(&asked.resolved).map(|image| &image.manifest);
        let titles: Vec<String> =
            wanted.iter().copied().chain(built).map(Manifest::title).collect();
        return Ok(Decision::unchanged(format!("already installed: {}", titles.join(", "))));
    }
    fit::check(&draft, state, &files, &mut summary)?;
    publish(state, layout, request, draft, &files, summary)
}

/// Decides how the named layers are taken away, with those that only they needed.
pub fn uninstall(
    state: &State,
    layout: &Layout,
    names: &[Name],
    request: &Request,
) -> Result<Decision, Refusal> {
    let start = state.start()?;
    let asked = resolve::intents(start)?;
    let is_asked =
        |name: &Name| asked.iter().any(|intent| intent.layer().is_ok_and(|layer| layer == *name));
    if let Some(stranger) = names.iter().find(|name| start.layer(name).is_none() && !is_asked(name))
    {
        return Err(Refusal::new(
            format!("layer {stranger} is not installed in generation {}", start.id),
            "see the installed layers: layerctl status",
        ));
    }
    let mut draft = Draft::of(start);
    draft.layers.retain(|layer| !names.contains(&layer.name));
    let stays = |intent: &&Intent| !intent.layer().is_ok_and(|layer| names.contains(&layer));
    draft.requests = asked.iter().filter(stays).map(ToString::to_string).collect();
    drop_unneeded(&mut draft);
    for name in names {
        if let Some(user) = draft.layers.iter().find(|layer| layer.requires.contains(name)) {
            return Err(Refusal::new(
                format!("layer {name} is needed by layer {}", user.name),
                format!("take both away: layerctl uninstall {} {name}", user.name),
            ));
        }
    }
    let gone = start.layers.iter().filter(|old| draft.layers.iter().all(|l| l.name != old.name));
    let mut summary: Vec<String> = gone.map(|layer| format!("removed {}", layer.title())).collect();
    let inactive = names.iter().filter(|name| start.layer(name).is_none());
    summary.extend(inactive.map(|name| format!("{name} is no longer asked for")));
    publish(state, layout, request, draft, &[], summary)
}

fn is_same(draft: &Draft, start: &Generation) -> bool {
    (&draft.layers, &draft.sets, &draft.requests) == (&start.layers, &start.sets, &start.requests)
}

fn check_set(start: &Generation, set: &SetName) -> Result<(), Refusal> {
    if start.sets.contains_key(set) {
        return Ok(());
    }
    let known: Vec<String> = start.sets.keys().map(ToString::to_string).collect();
    Err(Refusal::new(
        format!("generation {} has no set {set}, only {}", start.id, known.join(", ")),
        format!("create it first: layerctl set create {set}"),
    ))
}

/// The manifests of all that was asked for, files first; each name once.
fn wanted_manifests<'a>(
    state: &'a State,
    start: &Generation,
    asked: &'a Install,
) -> Result<Vec<&'a Manifest>, Refusal> {
    let mut wanted: BTreeMap<&Name, &Manifest> = BTreeMap::new();
    let mut order = Vec::new();
    for file in &asked.files {
        let manifest = &file.manifest;
        if manifest.kind != Kind::Layer {
            return Err(Refusal::new(
                format!("{} is a base, not a layer", file.path.display()),
                format!("import it: layerctl base import {}", file.path.display()),
            ));
        }
        match wanted.insert(&manifest.name, manifest) {
            None => order.push(manifest),
            Some(other) if other.digest == manifest.digest => {}
            Some(other) => {
                return Err(Refusal::new(
                    format!(
                        "two layers are named {}: versions {} and {}",
                        manifest.name, other.version, manifest.version
                    ),
                    "name one of the two files only",
                ));
            }
        }
    }
    for name in &asked.names {
        if wanted.contains_key(name) {
            continue;
        }
        let manifest =
            installed(state, start, name).or_else(|| newest(state, &name.clone().into()));
        let manifest = manifest.ok_or_else(|| {
            Refusal::new(
                format!("the store has no layer named {name}"),
                format!("give its image file: layerctl install ./{name}_VERSION.img"),
            )
        })?;
        wanted.insert(name, manifest);
        order.push(manifest);
    }

    Ok(order)
}

/// The manifest of an installed layer: asking for it by name must not change its version.
fn installed<'a>(state: &'a State, start: &Generation, name: &Name) -> Option<&'a Manifest> {
    start.layer(name).and_then(|layer| state.manifests.get(&layer.digest))
}

/// The newest layer that is asked for and whose image the store has.
fn newest<'a>(state: &'a State, asked: &Requirement) -> Option<&'a Manifest> {
    state
        .manifests
        .values()
        .filter(|manifest| manifest.kind == Kind::Layer && manifest.name == asked.name)
        .filter(|manifest| asked.admits(&manifest.version))
        .filter(|manifest| state.is_whole(&manifest.digest))
        .max_by(|a, b| a.version.compare(&b.version))
}

/// Puts one asked-for layer among the others: in place of the one of that name, else on top.
fn take(
    layers: &mut Vec<Layer>,
    manifest: &Manifest,
    asked: &Install,
    summary: &mut Vec<String>,
) -> Result<(), Refusal> {
    let new = Layer::from_manifest(manifest, true);
    let Some(old) = layers.iter_mut().find(|layer| layer.name == manifest.name) else {
        if let Some(twin) = layers.iter().find(|layer| layer.digest == manifest.digest) {
            return Err(Refusal::new(
                format!("layer {} has the very image of layer {}", manifest.name, twin.name),
                format!("uninstall that one first: layerctl uninstall {}", twin.name),
            ));
        }
        summary.push(format!("added {}", new.title()));
        layers.push(new);
        return Ok(());
    };
    if old.digest != new.digest {
        if !asked.replace {
            return Err(Refusal::new(
                format!(
                    "a layer named {} is installed already: version {}, and this file is another image, version {}",
                    old.name, old.version, new.version
                ),
                "to put the new one in its place: layerctl install --replace FILE",
            ));
        }
        summary.push(format!("replaced {} by {}", old.title(), new.title()));
    }
    *old = new;
    Ok(())
}

/// Adds what the layers need and do not have, from the store; gives the names added.
pub(super) fn pull_needed(
    state: &State,
    files: &[&ImageFile],
    layers: &mut Vec<Layer>,
    summary: &mut Vec<String>,
) -> Result<Vec<Name>, Refusal> {
    let mut pulled = Vec::new();
    while let Some((user, need)) = layers.iter().find_map(|layer| {
        let missing = layer.requires.iter().find(|name| layers.iter().all(|l| l.name != **name));
        Some((layer.clone(), missing?.clone()))
    }) {
        let need = requirement(state, files, &user, &need);
        let manifest = newest(state, &need).ok_or_else(|| {
            Refusal::new(
                format!("layer {} needs layer {need}, which the store does not have", user.name),
                format!(
                    "give both files: layerctl install {}_….img {}_….img",
                    user.name, need.name
                ),
            )
        })?;
        let layer = Layer::from_manifest(manifest, false);
        summary.push(format!("added {}, which {} needs", layer.title(), user.name));
        // Below the layer that needs it, as a package manager would have unpacked it first.
        let at = layers.iter().position(|layer| layer.name == user.name).unwrap_or(layers.len());
        layers.insert(at, layer);
        pulled.push(need.name);
    }
    Ok(pulled)
}

/// What a layer's manifest says about the layer `need`, which its record in a generation only names.
fn requirement(state: &State, files: &[&ImageFile], user: &Layer, need: &Name) -> Requirement {
    let arriving = files.iter().map(|file| &file.manifest);
    let mut manifests = arriving.chain(state.manifests.get(&user.digest));
    let manifest = manifests.find(|manifest| manifest.digest == user.digest);
    let known = manifest.and_then(|it| it.requires.iter().find(|known| known.name == *need));
    known.cloned().unwrap_or_else(|| need.clone().into())
}

/// Drops the layers that nobody asked for and no other layer needs any more, out of the sets too.
pub(super) fn drop_unneeded(draft: &mut Draft) {
    let layers = &mut draft.layers;
    while let Some(at) = layers.iter().position(|layer| {
        !layer.requested && layers.iter().all(|other| !other.requires.contains(&layer.name))
    }) {
        layers.remove(at);
    }
    for members in draft.sets.values_mut() {
        members.retain(|name| draft.layers.iter().any(|layer| layer.name == *name));
    }
}

/// The files, each image once.
fn distinct<'a>(files: impl Iterator<Item = &'a ImageFile>) -> Vec<&'a ImageFile> {
    let mut seen = BTreeSet::new();
    files.filter(|file| seen.insert(file.manifest.digest)).collect()
}
