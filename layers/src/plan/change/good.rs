//! `layerctl mark-good`: a generation that came up and works needs no more attempts.

use super::entries::{self, After, Aligned};
use super::{Decision, Op, Plan, Refusal, Request, State, log};
use crate::id::GenerationId;
use crate::layout::Layout;

/// Decides how `id` is marked good. One that is good already is left alone: its boots write nothing.
pub fn mark_good(
    state: &State,
    layout: &Layout,
    id: GenerationId,
    request: &Request,
) -> Result<Decision, Refusal> {
    state.readable(id)?;
    let counted = state.tries.contains_key(&id);
    if state.pointers.good == Some(id) && !counted {
        return Ok(Decision::unchanged(format!("generation {id} is marked good already")));
    }
    // What the partition lacks is no reason to call a system bad that runs.
    let after = After::of(state).good(id);
    let aligned = entries::align_or_remove(state, layout, &after)
        .unwrap_or_else(|refusal| Aligned { notes: vec![refusal.what], ..Aligned::default() });
    let mut ops = aligned.before;
    if counted {
        ops.push(Op::Remove { path: layout.tries_of(id) });
    }
    ops.push(Op::WriteFile { path: layout.good(), text: id.record() });
    ops.extend(aligned.after);
    ops.push(log(layout, request, id));
    let mut summary = aligned.notes;
    summary.push(format!("generation {id} is marked good"));
    Ok(Decision { plan: Plan { ops }, summary })
}
