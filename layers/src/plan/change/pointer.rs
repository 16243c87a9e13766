//! `layerctl rollback`, `pin` and `unpin`: which generation boots and which are kept. No image byte is written.

use super::entries::After;
use super::{Decision, Refusal, Request, State, check_once, log, next_boot, point};
use crate::attempts::Attempts;
use crate::id::GenerationId;
use crate::layout::Layout;
use crate::plan::Op;

/// Decides how the next boot takes `id`, or the generation before the default one when none is named.
pub fn rollback(
    state: &State,
    layout: &Layout,
    id: Option<GenerationId>,
    request: &Request,
) -> Result<Decision, Refusal> {
    let target = match id.or_else(|| state.rollback_target()) {
        Some(target) => target,
        None => {
            state.start()?;
            return Err(Refusal::new(
                "there is no earlier generation to go back to",
                "see which there are: layerctl status",
            ));
        }
    };
    check_once(state, request)?;
    let generation = state.readable(target)?;
    if let Some(digest) = generation.digests().find(|digest| !state.is_whole(digest)) {
        return Err(Refusal::new(
            format!(
                "generation {target} cannot boot: image {} is {}",
                digest.short(),
                state.lack(&digest)
            ),
            "choose another one: layerctl rollback ID",
        ));
    }
    let used_up = state.tries.get(&target).is_some_and(|left| left.are_used_up());
    let pointers = &state.pointers;
    let (there, what) = match request.once {
        true => (pointers.next == Some(target), "boots next, once, already"),
        false => (
            pointers.default == Some(target) && !state.has_next(layout) && !used_up,
            "is the default already",
        ),
    };
    if there {
        return Ok(Decision::unchanged(format!("generation {target} {what}")));
    }
    let mut after = After::of(state);
    let mut ops = Vec::new();
    // Somebody wants it all the same: it gets its starts anew.
    if used_up && !request.once {
        let attempts = state.new_attempts(&generation.base).unwrap_or(Attempts::NEW);
        ops.push(Op::WriteFile { path: layout.tries_of(target), text: attempts.record() });
        after = after.counted(target, attempts);
    }
    ops.extend(point(state, layout, request, target, after)?);
    Ok(Decision::of(ops, vec![next_boot(state, request, target)]))
}

/// Decides how cleanup is kept from removing `id`.
pub fn pin(
    state: &State,
    layout: &Layout,
    id: GenerationId,
    request: &Request,
) -> Result<Decision, Refusal> {
    state.readable(id)?;
    if state.pinned.contains(&id) {
        return Ok(Decision::unchanged(format!("generation {id} is pinned already")));
    }
    let pin = Op::WriteFile { path: layout.pin(id), text: id.record() };
    Ok(Decision::of(
        vec![pin, log(layout, request, id)],
        vec![format!("generation {id} is pinned: cleanup keeps it")],
    ))
}

/// Decides how `id` loses its pin.
pub fn unpin(
    state: &State,
    layout: &Layout,
    id: GenerationId,
    request: &Request,
) -> Result<Decision, Refusal> {
    if !state.pinned.contains(&id) {
        // A pin may outlive a damaged generation; only a number that means nothing is refused.
        if !state.damaged.contains_key(&id) {
            state.readable(id)?;
        }
        return Ok(Decision::unchanged(format!("generation {id} is not pinned")));
    }
    Ok(Decision::of(
        vec![Op::Remove { path: layout.pin(id) }, log(layout, request, id)],
        vec![format!("generation {id} is no longer pinned")],
    ))
}
