//! Which layers of a generation a boot takes: sets, added and skipped layers, and what they need.

use std::collections::BTreeSet;

use super::{BootFacts, Refusal, usable};
use crate::cmdline::{BootRequest, SetChoice};
use crate::generation::{Generation, Layer};
use crate::id::{Name, SetName};
use crate::report::Skipped;
use crate::superblock::Format;

/// The layers that a boot takes, and those that it leaves out.
pub(super) struct Selection<'a> {
    layers: Vec<&'a Layer>,
    pub(super) skipped: Vec<Skipped>,
}

/// Applies set, add and skip. Unknown names become problems; a layer whose need is skipped is left out too.
pub(super) fn select<'a>(
    request: &BootRequest,
    generation: &'a Generation,
    problems: &mut Vec<String>,
) -> Selection<'a> {
    let mut wanted: BTreeSet<&Name> = set_members(request, generation, problems);
    for name in &request.add {
        match generation.layer(name) {
            Some(layer) => drop(wanted.insert(&layer.name)),
            None => problems.push(unknown("add", name, generation)),
        }
    }
    // What a selected layer needs comes along.
    loop {
        let needed: Vec<&Name> = generation
            .layers
            .iter()
            .filter(|layer| wanted.contains(&layer.name))
            .flat_map(|layer| &layer.requires)
            .filter(|name| !wanted.contains(name))
            .collect();
        if needed.is_empty() {
            break;
        }
        wanted.extend(needed);
    }
    let mut skipped = Vec::new();
    for name in &request.skip {
        if generation.layer(name).is_none() {
            problems.push(unknown("skip", name, generation));
        } else if wanted.remove(name) {
            let why = "layers.skip= names it".to_owned();
            skipped.push(Skipped { name: name.clone(), why });
        }
    }
    // Of two that must not be together, the one below stays: it was there first. Most layers have no conflicts, so these
    // are asked first: all pairs of hundreds of layers are many.
    while let Some((layer, other)) = generation.layers.iter().rev().find_map(|layer| {
        let against = |other: &&Layer| {
            (layer.conflicts.contains(&other.name) || other.conflicts.contains(&layer.name))
                && other.name != layer.name
                && wanted.contains(&other.name)
        };
        let other = generation.layers.iter().find(against)?;
        wanted.contains(&layer.name).then_some((layer, &other.name))
    }) {
        wanted.remove(&layer.name);
        let why = format!("it conflicts with layer {other}");
        skipped.push(Skipped { name: layer.name.clone(), why });
    }
    // What needs a skipped layer goes with it: half a program is worse than none.
    while let Some((layer, need)) = generation.layers.iter().find_map(|layer| {
        let need = layer.requires.iter().find(|name| !wanted.contains(name))?;
        wanted.contains(&layer.name).then_some((layer, need))
    }) {
        wanted.remove(&layer.name);
        let why = format!("it needs layer {need}, which is left out");
        skipped.push(Skipped { name: layer.name.clone(), why });
    }
    let layers = generation.layers.iter().filter(|layer| wanted.contains(&layer.name)).collect();
    Selection { layers, skipped }
}

fn set_members<'a>(
    request: &BootRequest,
    generation: &'a Generation,
    problems: &mut Vec<String>,
) -> BTreeSet<&'a Name> {
    let named = match &request.sets {
        SetChoice::Nothing => return BTreeSet::new(),
        SetChoice::Default => &[SetName::default_set()][..],
        SetChoice::Named(sets) => sets,
    };
    let mut members = BTreeSet::new();
    let mut found = false;
    for set in named {
        match generation.sets.get(set) {
            Some(names) => {
                members.extend(names);
                found = true;
            }
            None => {
                let known: Vec<String> = generation.sets.keys().map(ToString::to_string).collect();
                problems.push(format!(
                    "layers.set: generation {} has no set {set}, only {}",
                    generation.id,
                    known.join(", ")
                ));
            }
        }
    }
    if !found {
        problems.push("layers.set: none of the sets is there; taking the default set".to_owned());
        members.extend(generation.sets.get(&SetName::default_set()).into_iter().flatten());
    }
    members
}

fn unknown(key: &str, name: &Name, generation: &Generation) -> String {
    format!("layers.{key}: generation {} has no layer {name}", generation.id)
}

impl<'a> Selection<'a> {
    /// Leaves out the layers whose image cannot be used, or refuses where one may not be left out.
    pub(super) fn take_usable(
        &mut self,
        facts: &BootFacts,
    ) -> Result<Vec<(&'a Layer, Format)>, Refusal> {
        let mut usable_layers = Vec::new();
        for layer in &self.layers {
            let why = match usable(facts, &layer.digest) {
                Ok(format) => {
                    usable_layers.push((*layer, format));
                    continue;
                }
                Err(why) => why,
            };
            if facts.untrusted.contains(&layer.digest) {
                return Err(Refusal::Untrusted { what: format!("layer {}", layer.name), why });
            }
            let user = self.layers.iter().find(|other| other.requires.contains(&layer.name));
            let needed = match user {
                _ if layer.required => "it is required".to_owned(),
                Some(user) => format!("layer {} needs it", user.name),
                None => {
                    let why = format!("its image {why}");
                    self.skipped.push(Skipped { name: layer.name.clone(), why });
                    continue;
                }
            };
            return Err(Refusal::Layer { name: layer.name.clone(), why, needed });
        }
        Ok(usable_layers)
    }
}
