//! `layerctl mark-good`: a generation that came up and works needs no more attempts.

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
    let mut ops = Vec::new();
    if counted {
        ops.push(Op::Remove { path: layout.tries_of(id) });
    }
    ops.push(Op::WriteFile { path: layout.good(), text: id.record() });
    ops.push(log(layout, request, id));
    Ok(Decision { plan: Plan { ops }, summary: vec![format!("generation {id} is marked good")] })
}
