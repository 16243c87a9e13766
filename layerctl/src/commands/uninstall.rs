//! `layerctl uninstall`.

use layers::id::Name;
use layers::plan::change;

use super::{names, words};
use crate::cli::Uninstall;
use crate::context::{Context, Outcome};
use crate::error::Error;

pub(super) fn run(args: &Uninstall, context: &Context) -> Result<Outcome, Error> {
    let names: Vec<Name> = names(&args.names)?;
    context.make_generation(args.writing.dry_run, |store| {
        let request = context.request(format!("uninstall {}", words(&names)));
        Ok(change::uninstall(&store.state, &store.layout, &names, &request)?)
    })
}
