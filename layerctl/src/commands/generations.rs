//! Generations as the reading commands show them.

use std::collections::BTreeMap;

use layers::attempts::Attempts;
use layers::generation::{Base, Generation, Layer};
use layers::id::{GenerationId, Name, SetName};
use layers::plan::change::State;
use layers::trigger::Trigger;
use serde::Serialize;

/// A generation, in JSON.
#[derive(Serialize)]
pub(super) struct GenerationView<'a> {
    id: GenerationId,
    parent: Option<GenerationId>,
    created: &'a str,
    reason: &'a str,
    booted: bool,
    default: bool,
    pinned: bool,
    /// Starts left, while it was not marked good; null where they are not counted.
    attempts_left: Option<Attempts>,
    base: BaseView<'a>,
    /// The kernel's release; null where the base brings none.
    kernel: Option<&'a str>,
    /// Kernel arguments of its own.
    options: &'a [String],
    layers: Vec<LayerView<'a>>,
    sets: &'a BTreeMap<SetName, Vec<Name>>,
    /// What was asked of the package manager.
    requests: &'a [String],
    /// The choices of layers that have a trigger layer.
    triggers: Vec<TriggerView<'a>>,
}

/// A trigger layer, in JSON.
#[derive(Serialize)]
struct TriggerView<'a> {
    layers: &'a [Name],
    /// Null where the triggers had nothing to do.
    digest: Option<String>,
}

/// A base, in JSON.
#[derive(Serialize)]
struct BaseView<'a> {
    name: &'a str,
    version: &'a str,
    digest: String,
}

/// A layer, in JSON.
#[derive(Serialize)]
pub(super) struct LayerView<'a> {
    name: &'a str,
    version: &'a str,
    digest: String,
    requested: bool,
}

impl<'a> GenerationView<'a> {
    pub(super) fn new(generation: &'a Generation, state: &State) -> Self {
        let id = generation.id;
        Self {
            id,
            parent: generation.parent,
            created: &generation.created,
            reason: &generation.reason,
            booted: state.booted == Some(id),
            default: state.pointers.default == Some(id),
            pinned: state.pinned.contains(&id),
            attempts_left: attempts_left(id, state),
            base: BaseView::new(&generation.base),
            kernel: generation.kernel.as_ref().map(|kernel| kernel.version.as_str()),
            options: &generation.options,
            layers: generation.layers.iter().map(LayerView::new).collect(),
            sets: &generation.sets,
            requests: &generation.requests,
            triggers: generation.triggers.iter().map(TriggerView::new).collect(),
        }
    }
}

impl<'a> TriggerView<'a> {
    fn new(trigger: &'a Trigger) -> Self {
        Self { layers: &trigger.layers, digest: trigger.digest.map(|digest| digest.to_string()) }
    }
}

impl<'a> BaseView<'a> {
    fn new(base: &'a Base) -> Self {
        Self {
            name: base.name.as_str(),
            version: base.version.as_str(),
            digest: base.digest.to_string(),
        }
    }
}

impl<'a> LayerView<'a> {
    pub(super) fn new(layer: &'a Layer) -> Self {
        Self {
            name: layer.name.as_str(),
            version: layer.version.as_str(),
            digest: layer.digest.to_string(),
            requested: layer.requested,
        }
    }
}

/// The starts that a generation has left; one that was marked good needs none.
fn attempts_left(id: GenerationId, state: &State) -> Option<Attempts> {
    state.tries.get(&id).copied().filter(|_| state.pointers.good != Some(id))
}

/// What a generation is to the next boots: `default, pinned`.
pub(super) fn marks(id: GenerationId, state: &State) -> String {
    let pointers = &state.pointers;
    let marks = [
        (state.booted == Some(id), "booted"),
        (pointers.default == Some(id), "default"),
        (pointers.next == Some(id), "next"),
        (pointers.good == Some(id), "good"),
        (state.pinned.contains(&id), "pinned"),
    ];
    let attempts = attempts_left(id, state).map(|left| match left {
        Attempts(0) => "attempts used up".to_owned(),
        Attempts(1) => "1 attempt left".to_owned(),
        left => format!("{left} attempts left"),
    });
    let marks = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| (*mark).to_owned());
    marks.chain(attempts).collect::<Vec<_>>().join(", ")
}
