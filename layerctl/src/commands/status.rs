//! `layerctl status`.

use std::fmt::Write as _;
use std::path::Path;

use layers::generation::Generation;
use layers::id::GenerationId;
use layers::layout::EFIVARS;
use layers::plan::change::State;
use layers::policy::{Dir, Mode};
use layers::report::{BootReport, WritableMount};
use layers::reset::Reset;
use layers::store::read;
use serde::Serialize;

use super::generations::{GenerationView, marks};
use super::words;
use crate::cli::Reading;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::etc::notes::Notes;
use crate::health;
use crate::seal::{Firmware, Level, Seal};
use crate::ui::{self, Colour, Ui};

/// All that there is to know, in JSON.
#[derive(Serialize)]
struct Status<'a> {
    schema: u32,
    booted: Option<GenerationId>,
    default: Option<GenerationId>,
    good: Option<GenerationId>,
    /// What the next boot is asked to empty; null where nothing.
    reset: Option<ResetView>,
    /// Conflicts of /etc that nobody has settled: of the booted and of the default generation, where they have some.
    etc: Vec<EtcView>,
    /// Newest first.
    generations: Vec<GenerationView<'a>>,
    /// Generations whose record cannot be read, newest first.
    damaged: Vec<Damaged<'a>>,
    /// How far signatures reach in this boot; null where it booted from elsewhere.
    seal: Option<&'a Seal>,
    /// How this machine booted; null where it booted from elsewhere.
    boot: Option<&'a BootReport>,
}

/// What `layerctl reset` asked for.
#[derive(Serialize)]
struct ResetView {
    dirs: Vec<Dir>,
    keep: Vec<String>,
    /// Why the request cannot be understood, so that nothing is emptied.
    problem: Option<String>,
}

impl ResetView {
    fn new(found: Result<Reset, String>) -> Self {
        let (reset, problem) = match found {
            Ok(reset) => (reset, None),
            Err(why) => (Reset::default(), Some(why)),
        };
        Self { dirs: reset.dirs, keep: reset.keep, problem }
    }

    fn line(&self) -> String {
        let dirs: Vec<String> = self.dirs.iter().map(|dir| format!("/{dir}")).collect();
        match &self.problem {
            Some(why) => {
                format!(
                    "boot/reset {why}; nothing is emptied; to take it away: layerctl reset --cancel"
                )
            }
            None if self.keep.is_empty() => {
                format!("empties {}; to take that back: layerctl reset --cancel", dirs.join(", "))
            }
            None => format!(
                "empties {} but for {}; to take that back: layerctl reset --cancel",
                dirs.join(", "),
                self.keep.join(", ")
            ),
        }
    }
}

/// The conflicts of one /etc.
#[derive(Serialize)]
struct EtcView {
    generation: GenerationId,
    conflicts: usize,
}

impl EtcView {
    /// Those of the booted and of the default generation, with the reports that cannot be read.
    fn all(context: &Context, store: &Store) -> (Vec<Self>, Vec<Error>) {
        let state = &store.state;
        let mut ids: Vec<GenerationId> = state.booted.into_iter().collect();
        ids.extend(state.pointers.default.filter(|id| state.booted != Some(*id)));
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for generation in ids {
            match Notes::read(context, store, generation) {
                Ok(notes) => {
                    let conflicts = notes.map_or(0, |notes| notes.report.conflicts().count());
                    found.extend((conflicts > 0).then_some(Self { generation, conflicts }));
                }
                Err(error) => unreadable.push(error),
            }
        }
        (found, unreadable)
    }

    /// `is_current` tells whether `layerctl etc` speaks of this one when none is named.
    fn line(&self, is_current: bool) -> String {
        let what = if self.conflicts == 1 { "entry needs" } else { "entries need" };
        let see = "a look; see: layerctl etc conflicts";
        let (id, conflicts) = (self.generation, self.conflicts);
        if is_current {
            format!("etc: {conflicts} {what} {see}")
        } else {
            format!("etc of generation {id}: {conflicts} {what} {see} --generation {id}")
        }
    }
}

#[derive(Serialize)]
struct Damaged<'a> {
    id: GenerationId,
    why: &'a str,
}

pub(super) fn run(args: Reading, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let state = &store.state;
    let reset = read::reset(&store.layout).map(ResetView::new);
    let (etc, unreadable) = EtcView::all(context, &store);
    for error in &unreadable {
        context.ui.warn(&error.to_string());
    }
    let judge = |report| Seal::of(report, &Firmware::read(Path::new(EFIVARS)));
    let seal = store.report.as_ref().map(judge);
    if args.json {
        let generations = state.generations.values().rev();
        let damaged = state.damaged.iter().rev();
        context.ui.json(&Status {
            schema: ui::SCHEMA,
            booted: state.booted,
            default: state.pointers.default,
            good: state.pointers.good,
            reset,
            etc,
            generations: generations.map(|one| GenerationView::new(one, state)).collect(),
            damaged: damaged.map(|(id, why)| Damaged { id: *id, why }).collect(),
            seal: seal.as_ref(),
            boot: store.report.as_ref(),
        })?;
        return Ok(Outcome::Done);
    }
    context.ui.data(text(&store, seal.as_ref(), reset.as_ref(), &etc, &context.ui))?;
    for (path, why) in &state.damaged_pointers {
        context.ui.warn(&format!("{} {why}", path.display()));
    }
    if state.ids().is_empty() {
        context.ui.say("the store has no generation yet; next: layerctl base import IMAGE");
    }
    Ok(Outcome::Done)
}

fn text(
    store: &Store,
    seal: Option<&Seal>,
    reset: Option<&ResetView>,
    etc: &[EtcView],
    ui: &Ui,
) -> String {
    let state = &store.state;
    let mut text = String::new();
    if let Some(report) = &store.report {
        boot(&mut text, report, ui);
    }
    if let Some(seal) = seal {
        sealed(&mut text, seal, ui);
    }
    if let Some(reset) = reset {
        let label = ui.paint(Colour::Yellow, "next boot:");
        let _ = writeln!(text, "{label} {}", reset.line());
    }
    let current = state.booted.or(state.pointers.default);
    for one in etc {
        let line = one.line(current == Some(one.generation));
        let _ = writeln!(text, "{}", ui.paint(Colour::Yellow, &line));
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

/// How far signatures reach, and why not further.
fn sealed(text: &mut String, seal: &Seal, ui: &Ui) {
    let colour = if seal.level == Level::Sealed { Colour::Green } else { Colour::Yellow };
    let _ = writeln!(text, "{} {}", ui.paint(colour, "seal:"), seal.level.name());
    for line in seal.missing.iter().chain(&seal.uncovered) {
        let _ = writeln!(text, "  {line}");
    }
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
    let fatal = health::last().into_iter().filter(health::Outcome::is_fatal);
    problems.extend(fatal.filter_map(|one| {
        Some(format!("not marked good: {} failed: {}", one.path.display(), one.failure?))
    }));
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
    if let Some(kernel) = &generation.kernel {
        line(text, "kernel", &kernel.version);
    }
    if !generation.options.is_empty() {
        line(text, "kargs", &generation.options.join(" "));
    }
    for (place, layer) in generation.layers.iter().rev().enumerate() {
        let label = if place == 0 { "layers" } else { "" };
        let needed = if layer.requested { "" } else { "  (needed by another)" };
        line(text, label, &format!("{}  {}{needed}", layer.title(), layer.digest.short()));
    }
    for (place, request) in generation.requests.iter().enumerate() {
        line(text, if place == 0 { "asked" } else { "" }, request);
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
