//! `layerctl mark-good`.

use layers::plan::change::{self, Refusal};

use crate::cli::MarkGood;
use crate::context::{Context, Outcome};
use crate::error::Error;

pub(super) fn run(args: &MarkGood, context: &Context) -> Result<Outcome, Error> {
    context.change(args.writing.dry_run, |store| {
        let id = args.id.or(store.state.booted).ok_or_else(|| {
            Refusal::new(
                "which generation runs is not known: this system was not booted from this store",
                "name the generation: layerctl mark-good ID",
            )
        })?;
        let request = context.request(format!("mark-good {id}"));
        Ok(change::mark_good(&store.state, &store.layout, id, &request)?)
    })
}
