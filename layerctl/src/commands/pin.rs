//! `layerctl pin` and `unpin`.

use layers::plan::change;

use crate::cli::Pin;
use crate::context::{Context, Outcome};
use crate::error::Error;

pub(super) fn pin(args: &Pin, context: &Context) -> Result<Outcome, Error> {
    context.change(args.writing.dry_run, |store| {
        let request = context.request(format!("pin {}", args.id));
        Ok(change::pin(&store.state, &store.layout, args.id, &request)?)
    })
}

pub(super) fn unpin(args: &Pin, context: &Context) -> Result<Outcome, Error> {
    context.change(args.writing.dry_run, |store| {
        let request = context.request(format!("unpin {}", args.id));
        Ok(change::unpin(&store.state, &store.layout, args.id, &request)?)
    })
}
