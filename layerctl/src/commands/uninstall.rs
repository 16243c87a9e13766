//! `layerctl uninstall`.

use layers::id::Name;
use layers::plan::change;

use super::{names, words};
use crate::cli::Uninstall;
use crate::context::{Context, Outcome};
use crate::error::Error;

pub(super) fn run(args: &Uninstall, context: &Context) -> Result<Outcome, Error> {
    let names: Vec<Name> = names(&args.names)?;
    context.make_generation(args.pointing.writing.dry_run, |store| {
        let request =
            context.request_once(format!("uninstall {}", words(&names)), args.pointing.try_once);
        Ok(change::uninstall(&store.state, &store.layout, &names, &request)?)
    })
}
