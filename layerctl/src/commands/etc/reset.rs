//! `layerctl etc reset`.

use super::edit::{self, Decision, words};
use crate::cli::EtcReset;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::etc::changes::between;
use crate::etc::edits;
use crate::etc::path::EtcPath;
use crate::etc::tree::Tree;
use crate::etc::view::Views;

pub(super) fn run(args: &EtcReset, context: &Context) -> Result<Outcome, Error> {
    let paths = EtcPath::parse_all(&args.paths)?;
    let asked = format!("etc reset {}", words(&paths));
    edit::change(context, args.writing.dry_run, &asked, |_, views| to_image(views, paths))
}

/// Decides how paths are brought back to what the images have.
pub(super) fn to_image(views: &Views<'_>, paths: Vec<EtcPath>) -> Result<Decision, Error> {
    let generation = views.current()?;
    let current = Tree::read(&views.merged(generation)?)?;
    let source = views.image(generation)?;
    let image = Tree::read(&source)?;
    let changes = between(&image, &current)?;
    let edits = edits::as_in(&image, &current, &changes, &paths)?;
    let unchanged = format!("nothing to change: the images have {} like this", words(&paths));
    Ok(Decision { edits, source: Some(source), settled: paths, unchanged })
}
