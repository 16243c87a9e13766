//! `layerctl set`.

use std::collections::BTreeMap;

use layers::generation::Generation;
use layers::id::{GenerationId, Name, SetName};
use layers::plan::change::{self, Refusal};
use serde::Serialize;

use super::generations::LayerView;
use super::{names, words};
use crate::cli::{Reading, SetCreate, SetDelete, SetShow};
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::ui;

pub(super) fn create(args: &SetCreate, context: &Context) -> Result<Outcome, Error> {
    let set: SetName = args.name.parse()?;
    let members: Vec<Name> = names(&args.layers)?;
    context.make_generation(args.writing.dry_run, |store| {
        let asked = format!("set create {set} {}", words(&members));
        let request = context.request(asked.trim_end());
        Ok(change::create_set(&store.state, &store.layout, &set, &members, &request)?)
    })
}

pub(super) fn delete(args: &SetDelete, context: &Context) -> Result<Outcome, Error> {
    let set: SetName = args.name.parse()?;
    context.make_generation(args.writing.dry_run, |store| {
        let request = context.request(format!("set delete {set}"));
        Ok(change::delete_set(&store.state, &store.layout, &set, &request)?)
    })
}

/// The sets of a generation, in JSON.
#[derive(Serialize)]
struct Sets<'a> {
    schema: u32,
    generation: GenerationId,
    sets: &'a BTreeMap<SetName, Vec<Name>>,
}

pub(super) fn list(args: Reading, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let generation = store.state.start()?;
    let sets = &generation.sets;
    if args.json {
        context.ui.json(&Sets { schema: ui::SCHEMA, generation: generation.id, sets })?;
    } else {
        let line = |(set, members): (&SetName, &Vec<Name>)| {
            format!("{}\n", format!("{set}: {}", words(members)).trim_end())
        };
        context.ui.data(sets.iter().map(line).collect::<String>())?;
    }
    Ok(Outcome::Done)
}

/// One set, in JSON.
#[derive(Serialize)]
struct OneSet<'a> {
    schema: u32,
    generation: GenerationId,
    name: &'a SetName,
    layers: Vec<LayerView<'a>>,
}

pub(super) fn show(args: &SetShow, context: &Context) -> Result<Outcome, Error> {
    let name: SetName = args.name.parse()?;
    let store = context.read()?;
    let generation = store.state.start()?;
    let members = members(generation, &name)?;
    let layers = members.iter().filter_map(|member| generation.layer(member));
    if args.reading.json {
        context.ui.json(&OneSet {
            schema: ui::SCHEMA,
            generation: generation.id,
            name: &name,
            layers: layers.map(LayerView::new).collect(),
        })?;
    } else {
        let lines = layers.map(|layer| format!("{}  {}\n", layer.title(), layer.digest.short()));
        context.ui.data(lines.collect::<String>())?;
        if members.is_empty() {
            context.ui.say(&format!("set {name} has no layers"));
        }
    }
    Ok(Outcome::Done)
}

fn members<'a>(generation: &'a Generation, name: &SetName) -> Result<&'a [Name], Refusal> {
    generation.sets.get(name).map(Vec::as_slice).ok_or_else(|| {
        Refusal::new(
            format!("generation {} has no set {name}", generation.id),
            "see which there are: layerctl set list",
        )
    })
}
