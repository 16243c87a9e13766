//! `layerctl etc`.

use crate::cli::Etc;
use crate::context::{Context, Outcome};
use crate::error::Error;

mod conflicts;
mod diff;
mod edit;
mod reset;
mod status;
mod sync;
mod take;

pub(super) fn run(args: &Etc, context: &Context) -> Result<Outcome, Error> {
    match args {
        Etc::Status(args) => status::run(args, context),
        Etc::Diff(args) => diff::run(args, context),
        Etc::Conflicts(args) => conflicts::run(args, context),
        Etc::Reset(args) => reset::run(args, context),
        Etc::Take(args) => take::run(args, context),
        Etc::Sync(args) => sync::run(args, context),
    }
}
