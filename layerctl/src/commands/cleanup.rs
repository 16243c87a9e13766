//! `layerctl cleanup`.

use layers::plan::collect;

use crate::cli::Cleanup;
use crate::context::{Context, Outcome};
use crate::error::Error;

pub(super) fn run(args: &Cleanup, context: &Context) -> Result<Outcome, Error> {
    context.change(args.writing.dry_run, |store| {
        let request = context.request(format!("cleanup --keep {}", args.keep));
        Ok(collect::cleanup(&store.state, &store.layout, args.keep, &request)?)
    })
}
