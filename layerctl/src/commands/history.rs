//! `layerctl history`.

use layers::store::log;
use serde::Serialize;

use crate::cli::Reading;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::ui;

/// One line of the log.
#[derive(Serialize)]
struct Change {
    time: String,
    /// The generation that was made or pointed to; null for a cleanup.
    generation: Option<u32>,
    asked: String,
}

#[derive(Serialize)]
struct History {
    schema: u32,
    /// Newest first.
    changes: Vec<Change>,
}

pub(super) fn run(args: Reading, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let changes =
        log::changes(&store.layout)?.into_iter().rev().map(|[time, generation, asked]| Change {
            time,
            generation: generation.parse().ok(),
            asked,
        });
    let history = History { schema: ui::SCHEMA, changes: changes.collect() };
    if args.json {
        context.ui.json(&history)?;
    } else {
        let line = |change: &Change| {
            let generation = change.generation.map_or("-".to_owned(), |id| id.to_string());
            format!("{}  {generation:>4}  {}\n", change.time, change.asked)
        };
        context.ui.data(history.changes.iter().map(line).collect::<String>())?;
        if history.changes.is_empty() {
            context.ui.say("nothing has been changed yet");
        }
    }
    Ok(Outcome::Done)
}
