//! The way of every change of the current /etc: lock, look, decide, edit, settle, log.

use std::path::PathBuf;

use layers::plan::{Op, Plan, check};
use layers::store::publish;

use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::etc::apply::Editor;
use crate::etc::edits::Edit;
use crate::etc::notes::Notes;
use crate::etc::path::EtcPath;
use crate::etc::view::{self, Views};

/// What is to be done to the current /etc.
pub(super) struct Decision {
    /// The edits, in order.
    pub(super) edits: Vec<Edit>,
    /// The view that they take entries from; none where they take nothing.
    pub(super) source: Option<PathBuf>,
    /// Paths whose conflicts are settled by it.
    pub(super) settled: Vec<EtcPath>,
    /// What to say where nothing has to be done.
    pub(super) unchanged: String,
}

/// Makes a change of the current /etc, or with `dry_run` prints what it would do. `asked` are its words, for the log.
pub(super) fn change(
    context: &Context,
    dry_run: bool,
    asked: &str,
    decide: impl FnOnce(&Store, &Views<'_>) -> Result<Decision, Error>,
) -> Result<Outcome, Error> {
    let (_lock, store) = context.read_for_edit(dry_run)?;
    let id = view::current(context, &store)?.id;
    let views = Views::new(context, &store)?;
    let decision = decide(&store, &views)?;
    let mut notes = match Notes::read(context, &store, id) {
        // What is to be done is known without a report that is damaged; one that cannot be read now may be at the next try.
        Err(error @ Error::Refused(_)) if !decision.edits.is_empty() => {
            context.ui.warn(&error.to_string());
            None
        }
        notes => notes?,
    };
    let settled = notes.as_mut().map(|notes| notes.resolve(&decision.settled)).unwrap_or_default();
    let edits = decision.edits.iter().map(ToString::to_string);
    let lines: Vec<String> =
        edits.chain(settled.iter().map(|path| format!("settle {path}"))).collect();
    if lines.is_empty() {
        context.ui.say(&decision.unchanged);
        return Ok(Outcome::Unchanged);
    }
    if dry_run {
        context.ui.data(lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        return Ok(Outcome::Done);
    }
    let done = edit(&views, &decision)?;
    let persists = context.etc_persists(store.report.as_ref());
    let report = notes.filter(|_| !settled.is_empty()).map(|notes| notes.publish(persists));
    report
        .transpose()
        .and_then(|report| record(context, &store, persists, report, asked))
        .map_err(|source| Error::Edit { source: Box::new(source), done })?;
    lines.iter().for_each(|line| context.ui.say(line));
    Ok(Outcome::Done)
}

/// Carries the edits out; gives how many.
fn edit(views: &Views<'_>, decision: &Decision) -> Result<usize, Error> {
    if decision.edits.is_empty() {
        return Ok(0);
    }
    let etc = views.writable()?;
    let source = decision.source.as_deref().unwrap_or(&etc);
    let editor = Editor { source, etc: &etc };
    for (done, edit) in decision.edits.iter().enumerate() {
        log::debug!("{edit}");
        editor.apply(edit).map_err(|error| Error::Edit { source: Box::new(error.into()), done })?;
    }
    Ok(decision.edits.len())
}

/// Writes down what was settled, and in the store's log what was asked for; where this boot keeps nothing of /etc, it
/// keeps nothing of these either.
fn record(
    context: &Context,
    store: &Store,
    persists: bool,
    report: Option<Op>,
    asked: &str,
) -> Result<(), Error> {
    if !persists {
        return match report {
            Some(Op::WriteFile { path, text }) => {
                publish::file(&path, &text).map_err(|error| Error::io("write", &path, error))
            }
            _ => Ok(()),
        };
    }
    let id = view::current(context, store)?.id;
    let request = context.request(asked);
    let line = format!("{}\t{id}\t{}", request.time, request.asked);
    let log = Op::AppendLine { path: store.layout.log(), line };
    let plan = Plan { ops: report.into_iter().chain([log]).collect() };
    check::check_change(&plan, &store.layout)?;
    context.execute(&plan, &store.layout)
}

/// Paths in one line.
pub(super) fn words(paths: &[EtcPath]) -> String {
    paths.iter().map(|path| path.to_string()).collect::<Vec<_>>().join(" ")
}
