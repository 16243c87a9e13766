//! `layerctl status`.

use std::fmt::Write as _;

use layers::generation::Generation;
use layers::id::GenerationId;
use layers::plan::change::State;
use layers::policy::Mode;
use layers::report::{BootReport, WritableMount};
use serde::Serialize;

use super::generations::{GenerationView, marks};
use super::words;
use crate::cli::Reading;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::ui::{self, Colour, Ui};

/// All that there is to know, in JSON.
#[derive(Serialize)]
struct Status<'a> {
    schema: u32,
    booted: Option<GenerationId>,
    default: Option<GenerationId>,
    good: Option<GenerationId>,
    /// Newest first.
    generations: Vec<GenerationView<'a>>,
    /// Generations whose record cannot be read, newest first.
    damaged: Vec<Damaged<'a>>,
    /// How this machine booted; null where it booted from elsewhere.
    boot: Option<&'a BootReport>,
}

#[derive(Serialize)]
struct Damaged<'a> {
    id: GenerationId,
    why: &'a str,
}

pub(super) fn run(args: Reading, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let state = &store.state;
    if args.json {
        let generations = state.generations.values().rev();
        let damaged = state.damaged.iter().rev();
        context.ui.json(&Status {
            schema: ui::SCHEMA,
            booted: state.booted,
            default: state.pointers.default,
            good: state.pointers.good,
            generations: generations.map(|one| GenerationView::new(one, state)).collect(),
            damaged: damaged.map(|(id, why)| Damaged { id: *id, why }).collect(),
            boot: store.report.as_ref(),
        })?;
        return Ok(Outcome::Done);
    }
    context.ui.data(text(&store, &context.ui))?;
    for (path, why) in &state.damaged_pointers {
        context.ui.warn(&format!("{} {why}", path.display()));
    }
    if state.ids().is_empty() {
        context.ui.say("the store has no generation yet; next: layerctl base import IMAGE");
    }
    Ok(Outcome::Done)
}

fn text(store: &Store, ui: &Ui) -> String {
    let state = &store.state;
    let mut text = String::new();
    if let Some(report) = &store.report {
        boot(&mut text, report, ui);
    }
    for id in state.ids().into_iter().rev() {
        if !text.is_empty() {
            text.push('\n');
        }
        heading(&mut text, id, state, ui);
        match (state.generations.get(&id), state.damaged.get(&id)) {
            (Some(found), _) => generation(&mut text, found),
            (None, why) => {
                let why = why.map_or("cannot be read", String::as_str);
                line(&mut text, &ui.paint(Colour::Red, "damaged"), why);
            }
        }
    }
    text
}

/// What this boot did not do as asked.
fn boot(text: &mut String, report: &BootReport, ui: &Ui) {
    let mut problems: Vec<String> = Vec::new();
    problems.extend(
        report.failed.iter().map(|one| format!("generation {} did not boot: {}", one.id, one.why)),
    );
    problems.extend(
        report.skipped.iter().map(|one| format!("layer {} was left out: {}", one.name, one.why)),
    );
    problems.extend(report.problems.iter().cloned());
    problems.extend(report.writable.iter().filter_map(writes));
    if problems.is_empty() {
        return;
    }
    text.push_str(&ui.paint(Colour::Yellow, "this boot:"));
    text.push('\n');
    for problem in problems {
        let _ = writeln!(text, "  {problem}");
    }
}

/// What is unusual about writes to a directory in this boot.
fn writes(mount: &WritableMount) -> Option<String> {
    let dir = mount.dir;
    match mount.mode {
        Mode::Persistent if mount.wiped => Some(format!("/{dir} was wiped")),
        Mode::Persistent => None,
        mode => Some(format!("/{dir} is {mode}: what is written is gone at power-off")),
    }
}

fn heading(text: &mut String, id: GenerationId, state: &State, ui: &Ui) {
    let booted = state.booted == Some(id);
    let dot = if booted { ui.paint(Colour::Green, "●") } else { " ".to_owned() };
    let marks = marks(id, state);
    let marks = if marks.is_empty() { marks } else { format!("  ({marks})") };
    let _ = writeln!(text, "{dot} generation {id}{marks}");
}

fn generation(text: &mut String, generation: &Generation) {
    line(text, "made", &format!("{}  {}", generation.created, generation.reason));
    let base = &generation.base;
    line(text, "base", &format!("{} {}  {}", base.name, base.version, base.digest.short()));
    for (place, layer) in generation.layers.iter().rev().enumerate() {
        let label = if place == 0 { "layers" } else { "" };
        let needed = if layer.requested { "" } else { "  (needed by another)" };
        line(text, label, &format!("{}  {}{needed}", layer.title(), layer.digest.short()));
    }
    let mut label = "sets";
    for (set, members) in &generation.sets {
        // The default set is worth a line only where it is not all that there is.
        if generation.sets.len() > 1 || members.len() != generation.layers.len() {
            line(text, label, &format!("{set}: {}", words(members)));
            label = "";
        }
    }
}

fn line(text: &mut String, label: &str, value: &str) {
    let _ = writeln!(text, "    {label:<8}{}", value.trim_end());
}
