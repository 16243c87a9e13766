//! `layerctl mark-good`: a generation that came up and works needs no more attempts.

use super::entries::{self, After, Aligned};
use super::{Decision, Op, Refusal, Request, State, log};
use crate::id::GenerationId;
use crate::layout::Layout;
use crate::trust::{Floors, Purpose};

/// Decides how `id` is marked good. One that is good already, in the names of its boot entries too, is left alone: its boots
/// write nothing.
pub fn mark_good(
    state: &State,
    layout: &Layout,
    id: GenerationId,
    request: &Request,
) -> Result<Decision, Refusal> {
    state.readable(id)?;
    let versions = proven(state, id);
    let counted = state.tries.contains_key(&id);
    let known = state.pointers.good == Some(id) && !counted;
    // What the partition lacks is no reason to call a system bad that runs.
    let after = After::of(state).good(id);
    let aligned = entries::align_or_remove(state, layout, &after)
        .unwrap_or_else(|refusal| Aligned { notes: vec![refusal.what], ..Aligned::default() });
    let mut summary = aligned.notes;
    if known && versions.is_none() && aligned.before.is_empty() && aligned.after.is_empty() {
        return Ok(Decision::unchanged(format!("generation {id} is marked good already")));
    }
    let mut ops = aligned.before;
    if let Some(versions) = &versions {
        ops.push(Op::WriteFile { path: layout.versions(), text: versions.to_string() });
    }
    if known && versions.is_none() {
        // The power went, or the partition was not mounted, between the record and the names: a boot loader still counts.
        summary
            .push(format!("generation {id} is marked good already; its boot entries say so now"));
    } else if !known {
        ops.extend(counted.then(|| Op::Remove { path: layout.tries_of(id) }));
        ops.push(Op::WriteFile { path: layout.good(), text: id.record() });
        summary.push(format!("generation {id} is marked good"));
    }
    if versions.is_some() {
        summary.push("from now on its versions are the lowest that boot".to_owned());
    }
    ops.extend(aligned.after);
    ops.push(log(layout, request, id));
    Ok(Decision::of(ops, summary))
}

/// The highest versions that were marked good, where those of the running generation raise them. Where nobody asked for
/// signatures, versions are what anybody says.
fn proven(state: &State, id: GenerationId) -> Option<Floors> {
    let layers = state.proven.as_ref().filter(|_| state.booted == Some(id))?;
    let generation = state.generations.get(&id)?;
    let mut floors = state.versions.clone()?;
    floors.raise_to(Purpose::Base, &generation.base.name, &generation.base.version);
    for layer in generation.layers.iter().filter(|layer| layers.contains(&layer.name)) {
        floors.raise_to(Purpose::Layer, &layer.name, &layer.version);
    }
    (state.versions.as_ref() != Some(&floors)).then_some(floors)
}
