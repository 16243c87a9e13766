//! `layerctl set create` and `set delete`: named choices among a generation's layers.

use super::{Decision, Draft, Refusal, Request, State, fit, publish};
use crate::id::{Name, SetName};
use crate::layout::Layout;

/// Decides how a set of installed layers is made.
pub fn create_set(
    state: &State,
    layout: &Layout,
    set: &SetName,
    members: &[Name],
    request: &Request,
) -> Result<Decision, Refusal> {
    let start = state.start()?;
    if set.is_none() || set.is_default() {
        return Err(Refusal::new(
            format!("{set} is a reserved set name"),
            "choose another name: layerctl set create NAME",
        ));
    }
    if let Some(stranger) = members.iter().find(|name| start.layer(name).is_none()) {
        return Err(Refusal::new(
            format!("layer {stranger} is not installed in generation {}", start.id),
            format!("install it first: layerctl install {stranger}"),
        ));
    }
    let mut names: Vec<Name> = Vec::new();
    for name in members {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    match start.sets.get(set) {
        Some(there) if *there == names => {
            return Ok(Decision::unchanged(format!("set {set} is there already")));
        }
        Some(_) => {
            return Err(Refusal::new(
                format!("there is a set {set} already, with other layers"),
                format!("delete it first: layerctl set delete {set}"),
            ));
        }
        None => {}
    }
    let mut draft = Draft::of(start);
    draft.sets.insert(set.clone(), names);
    let mut summary = vec![format!("created set {set}")];
    fit::check(&draft, state, &[], &mut summary)?;
    publish(state, layout, request, draft, &[], summary)
}

/// Decides how a set is removed; its layers stay.
pub fn delete_set(
    state: &State,
    layout: &Layout,
    set: &SetName,
    request: &Request,
) -> Result<Decision, Refusal> {
    let start = state.start()?;
    if set.is_default() {
        return Err(Refusal::new(
            "set default is what boots when no set is named; it cannot be deleted",
            "take layers out of it: layerctl uninstall NAME",
        ));
    }
    if !start.sets.contains_key(set) {
        return Err(Refusal::new(
            format!("generation {} has no set {set}", start.id),
            "see which there are: layerctl set list",
        ));
    }
    let mut draft = Draft::of(start);
    draft.sets.remove(set);
    publish(state, layout, request, draft, &[], vec![format!("deleted set {set}")])
}
