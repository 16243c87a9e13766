//! `layerctl etc status`.

use layers::etc::report;
use layers::id::GenerationId;
use serde::Serialize;

use crate::cli::EtcStatus;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::etc::changes::{Change, ChangeKind, between};
use crate::etc::tree::Tree;
use crate::etc::view::{self, Views};
use crate::ui::{self, Colour};

/// What differs, in JSON.
#[derive(Serialize)]
struct View {
    schema: u32,
    generation: GenerationId,
    /// In the order of paths.
    changes: Vec<ChangeView>,
}

#[derive(Serialize)]
struct ChangeView {
    kind: ChangeKind,
    path: String,
}

pub(super) fn run(args: &EtcStatus, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let generation = view::named(context, &store, args.generation)?;
    let views = Views::new(context, &store)?;
    let etc = Tree::read(&views.merged(generation)?)?;
    let image = Tree::read(&views.image(generation)?)?;
    let changes = between(&image, &etc)?;
    if args.reading.json {
        let view =
            |change: &Change| ChangeView { kind: change.kind, path: report::shown(&change.path) };
        let changes = changes.iter().map(view).collect();
        context.ui.json(&View { schema: ui::SCHEMA, generation: generation.id, changes })?;
        return Ok(Outcome::Done);
    }
    let line = |change: &Change| {
        let colour = match change.kind {
            ChangeKind::Added => Colour::Green,
            ChangeKind::Modified => Colour::Yellow,
            ChangeKind::Deleted => Colour::Red,
        };
        let kind = context.ui.paint(colour, &change.kind.to_string());
        format!("{kind} {}\n", report::shown(&change.path))
    };
    context.ui.data(changes.iter().map(line).collect::<String>())?;
    if changes.is_empty() {
        let id = generation.id;
        context.ui.say(&format!("the /etc of generation {id} is as its images have it"));
    }
    Ok(Outcome::Done)
}
