//! `layerctl mark-good`: a generation that came up and works needs no more attempts.

use super::entries::{self, After, Aligned};
use super::{Decision, Op, Refusal, Request, State, log};
use crate::id::GenerationId;
use crate::layout::Layout;

/// Decides how `id` is marked good. One that is good already, in the names of its boot entries too, is left alone: its boots
/// write nothing.
pub fn mark_good(
    state: &State,
    layout: &Layout,
    id: GenerationId,
    request: &Request,
) -> Result<Decision, Refusal> {
    state.readable(id)?;
    let counted = state.tries.contains_key(&id);
    let known = state.pointers.good == Some(id) && !counted;
    // What the partition lacks is no reason to call a system bad that runs.
    let after = After::of(state).good(id);
    let aligned = entries::align_or_remove(state, layout, &after)
        .unwrap_or_else(|refusal| Aligned { notes: vec![refusal.what], ..Aligned::default() });
    let mut summary = aligned.notes;
    if known && aligned.before.is_empty() && aligned.after.is_empty() {
        return Ok(Decision::unchanged(format!("generation {id} is marked good already")));
    }
    let mut ops = aligned.before;
    if known {
        // The power went, or the partition was not mounted, between the record and the names: a boot loader still counts.
        summary
            .push(format!("generation {id} is marked good already; its boot entries say so now"));
    } else {
        ops.extend(counted.then(|| Op::Remove { path: layout.tries_of(id) }));
        ops.push(Op::WriteFile { path: layout.good(), text: id.record() });
        summary.push(format!("generation {id} is marked good"));
    }
    ops.extend(aligned.after);
    ops.push(log(layout, request, id));
    Ok(Decision::of(ops, summary))
}
