//! `layerctl policy apply`: a new generation that differs from the one before in nothing but its policy.

use super::{Decision, Draft, Refusal, Request, State, publish};
use crate::layout::Layout;

/// Decides how [`State::policy`] is frozen into a generation of its own.
pub fn apply_policy(
    state: &State,
    layout: &Layout,
    request: &Request,
) -> Result<Decision, Refusal> {
    let start = state.start()?;
    let wanted = state.policy.as_ref().unwrap_or(&start.writable);
    if *wanted == start.writable {
        let why = format!("nothing to change: generation {} has this policy already", start.id);
        return Ok(Decision::unchanged(why));
    }
    let (old, new) = (&start.writable, wanted);
    let changed: Vec<&str> = [
        (old.etc != new.etc, "/etc"),
        (old.var != new.var, "/var"),
        (old.home != new.home, "/home"),
    ]
    .into_iter()
    .filter_map(|(differs, dir)| differs.then_some(dir))
    .collect();
    let summary = vec![format!("the policy of {} changes", changed.join(" and "))];
    publish(state, layout, request, Draft::of(start), &[], summary)
}
