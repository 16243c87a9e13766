//! `layerctl kargs`.

use std::fmt::Write as _;

use layers::id::GenerationId;
use layers::plan::change::{self, KargsEdit};
use serde::Serialize;

use crate::cli::Kargs;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::ui;

/// The arguments, in JSON.
#[derive(Serialize)]
struct View<'a> {
    schema: u32,
    /// The generation that boots next.
    generation: GenerationId,
    /// Its own arguments; boot entries add some.
    options: &'a [String],
}

pub(super) fn run(args: &Kargs, context: &Context) -> Result<Outcome, Error> {
    if args.edit.is_empty() {
        return show(args, context);
    }
    let edit = KargsEdit {
        delete: args.edit.delete.clone(),
        replace: args.edit.replace.clone(),
        append: args.edit.append.clone(),
        append_if_missing: args.edit.append_if_missing.clone(),
    };
    context.make_generation(args.pointing.writing.dry_run, |store| {
        let request = context.request_once(words(&edit), args.pointing.try_once);
        Ok(change::change_kargs(&store.state, &store.layout, &edit, &request)?)
    })
}

fn show(args: &Kargs, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let generation = store.state.next_boot()?;
    let options = &generation.options;
    if args.reading.json {
        let id = generation.id;
        context.ui.json(&View { schema: ui::SCHEMA, generation: id, options })?;
        return Ok(Outcome::Done);
    }
    if options.is_empty() {
        context.ui.say(&format!("generation {} has no kernel arguments of its own", generation.id));
        return Ok(Outcome::Done);
    }
    context.ui.data(options.join(" ") + "\n")?;
    Ok(Outcome::Done)
}

/// The edit in one line, for the log: in the order in which it is made.
fn words(edit: &KargsEdit) -> String {
    let mut text = "kargs".to_owned();
    for (flag, items) in [
        ("delete", &edit.delete),
        ("replace", &edit.replace),
        ("append", &edit.append),
        ("append-if-missing", &edit.append_if_missing),
    ] {
        for item in items {
            let _ = write!(text, " --{flag} {item}");
        }
    }
    text
}
