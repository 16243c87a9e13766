//! `layerctl etc sync`.

use std::path::Path;

use layers::plan::change::Refusal;

use super::edit::{self, Decision, words};
use crate::cli::EtcSync;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::etc::accounts;
use crate::etc::changes::{between, differs};
use crate::etc::edits::{self, Edit};
use crate::etc::path::EtcPath;
use crate::etc::tree::Tree;
use crate::etc::view::Views;

pub(super) fn run(args: &EtcSync, context: &Context) -> Result<Outcome, Error> {
    let paths = EtcPath::parse_all(&args.paths)?;
    let asked = format!("etc sync --from {} {}", args.from, words(&paths));
    // Nobody else changes the accounts of a system that does not run.
    let lock = context.is_running_system() && !args.writing.dry_run;
    let _lock = lock.then(accounts::lock).transpose()?;
    edit::change(context, args.writing.dry_run, asked.trim_end(), |store, views| {
        decide(args, context, store, views, &paths)
    })
}

fn decide(
    args: &EtcSync,
    context: &Context,
    store: &Store,
    views: &Views<'_>,
    paths: &[EtcPath],
) -> Result<Decision, Error> {
    let (here, there) = (views.current()?, store.state.readable(args.from)?);
    if here.id == there.id || views.home(here) == views.home(there) {
        let what = format!("the /etc of generation {} is the current one", there.id);
        return Err(Refusal::new(what, "name another: layerctl status").into());
    }
    let current = Tree::read(&views.merged(here)?)?;
    let from = views.merged(there)?;
    let source = Tree::read(&from)?;
    let image = Tree::read(&views.image(there)?)?;

    let edits = if paths.is_empty() {
        let changes = between(&image, &source)?;
        let mut differ = |path: &Path| match (source.get(path), current.get(path)) {
            (Some(one), Some(other)) => {
                differs(path, one, other, &mut |path| source.same_content(&current, path))
            }
            _ => Ok(true),
        };
        edits::bring(&image, &source, &current, &changes, &mut differ)?
    } else {
        edits::as_in(&source, &current, &between(&source, &current)?, paths)?
    };
    let is_merged = |path: &Path| accounts::is_merged(path, &image, &source, &current);
    let mut edits: Vec<Edit> = edits.into_iter().filter(|edit| !is_merged(edit.path())).collect();
    let wanted = |path: &Path| paths.is_empty() || paths.iter().any(|wanted| wanted.covers(path));
    let merged = accounts::bring(&image, &source, &current, &wanted)?;
    for note in merged.notes.iter().filter(|note| note.kind.is_conflict()) {
        context.ui.warn(&note.to_string());
    }
    edits.extend(merged.edits);
    let unchanged = format!("nothing to change: all of that is as in generation {}", there.id);
    Ok(Decision { edits, source: Some(from), settled: Vec::new(), unchanged })
}
