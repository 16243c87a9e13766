//! `layerctl etc conflicts`.

use layers::etc::report::Note;
use layers::id::GenerationId;
use serde::Serialize;

use crate::cli::EtcConflicts;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::etc::notes::Notes;
use crate::etc::view;
use crate::ui::{self, Colour};

/// The notes, in JSON.
#[derive(Serialize)]
struct View<'a> {
    schema: u32,
    generation: GenerationId,
    /// The generation whose /etc it was made of; null where all share one, or where nothing was made.
    source: Option<GenerationId>,
    /// In the order of paths.
    notes: Vec<&'a Note>,
}

pub(super) fn run(args: &EtcConflicts, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let generation = view::named(context, &store, args.generation)?;
    let found = Notes::read(context, &store, generation.id)?;
    let report = found.as_ref().map(|found| &found.report);
    let notes: Vec<&Note> = match report {
        Some(report) if args.all => report.notes.iter().collect(),
        Some(report) => report.conflicts().collect(),
        None => Vec::new(),
    };
    if args.reading.json {
        let source = report.and_then(|report| report.source);
        let id = generation.id;
        context.ui.json(&View { schema: ui::SCHEMA, generation: id, source, notes })?;
        return Ok(Outcome::Done);
    }
    let line = |note: &&Note| {
        let settled = if note.resolved { ", settled" } else { "" };
        let path = context.ui.paint(Colour::Yellow, &note.path);
        format!("{path}: {} ({}{settled})\n", note.what, note.kind)
    };
    context.ui.data(notes.iter().map(line).collect::<String>())?;
    if notes.is_empty() {
        context
            .ui
            .say(&format!("nothing in the /etc of generation {} needs a look", generation.id));
    } else if !args.all {
        context.ui.say(
            "to compare: layerctl etc diff PATH; to settle: layerctl etc take PATH --theirs|--mine",
        );
    }
    Ok(Outcome::Done)
}
