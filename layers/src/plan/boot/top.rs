//! Which trigger layer goes on top of the layers that a boot takes.

use super::{BootFacts, usable};
use crate::generation::{Generation, Layer};
use crate::id::{Digest, Name};
use crate::superblock::Format;
use crate::trigger::Trigger;

/// A trigger layer that a boot mounts.
pub(super) struct Top<'a> {
    pub(super) digest: Digest,
    pub(super) format: Format,
    pub(super) dirs: &'a [String],
}

/// Chooses the trigger layer that was made over these very layers; else the nearest one, which a problem tells. The base
/// alone needs none, and neither do layers over which the triggers had nothing to do.
pub(super) fn trigger<'a>(
    generation: &'a Generation,
    layers: &[(&Layer, Format)],
    facts: &BootFacts,
    problems: &mut Vec<String>,
) -> Option<Top<'a>> {
    if layers.is_empty() {
        return None;
    }
    let mut nearest: Option<((usize, usize), &Trigger, Option<Format>)> = None;
    for trigger in &generation.triggers {
        let far = distance(trigger, layers);
        let format = match trigger.digest.map(|digest| (digest, usable(facts, &digest))) {
            None => None,
            Some((_, Ok(format))) => Some(format),
            Some((digest, Err(why))) => {
                if far == (0, 0) {
                    problems.push(format!("the trigger layer {} {why}", digest.short()));
                }
                continue;
            }
        };
        if nearest.as_ref().is_none_or(|(best, ..)| far < *best) {
            nearest = Some((far, trigger, format));
        }
    }
    let (far, trigger, format) = nearest?;
    // Where these layers and more needed nothing, they need nothing.
    let needs_none = far.0 == 0 && trigger.digest.is_none();
    if far != (0, 0) && !needs_none {
        problems.push(format!(
            "no trigger layer was made for these layers; taking that of {}",
            list(&trigger.layers)
        ));
    }
    Some(Top { digest: trigger.digest?, format: format?, dirs: &trigger.dirs })
}

/// How far a trigger layer is from a choice of layers: how many of these it does not know, then how many others it knows.
/// What it says of layers that are not there does less harm than what it does not say.
fn distance(trigger: &Trigger, layers: &[(&Layer, Format)]) -> (usize, usize) {
    let knows = |layer: &&Layer| trigger.layers.contains(&layer.name);
    let known = layers.iter().filter(|(layer, _)| knows(layer)).count();
    (layers.len() - known, trigger.layers.len().saturating_sub(known))
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}
