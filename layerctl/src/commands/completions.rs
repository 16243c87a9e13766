//! `layerctl completions`.

use clap::CommandFactory;

use crate::cli::{Cli, Completions};
use crate::context::{Context, Outcome};
use crate::error::Error;

pub(super) fn run(args: &Completions, context: &Context) -> Result<Outcome, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "layerctl", &mut script);
    context.ui.data(script)?;
    Ok(Outcome::Done)
}
