//! `layerctl rollback`.

use layers::plan::change;

use crate::cli::Rollback;
use crate::context::{Context, Outcome};
use crate::error::Error;

pub(super) fn run(args: &Rollback, context: &Context) -> Result<Outcome, Error> {
    context.change(args.pointing.writing.dry_run, |store| {
        let asked = args.id.map_or("rollback".to_owned(), |id| format!("rollback {id}"));
        Ok(change::rollback(
            &store.state,
            &store.layout,
            args.id,
            &context.request_once(asked, args.pointing.try_once),
        )?)
    })
}
