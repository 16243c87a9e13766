//! `cargo xtask kills`.

use super::TaskError;
use crate::artefacts::Artefacts;
use crate::kills::{self, Options};
use crate::seed::Seed;
use crate::tools;
use crate::workspace::Workspace;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct KillsArguments {
    /// How many machines are killed; 1000 for a night
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// What the moments follow from [default: the time]
    #[arg(long)]
    seed: Option<u64>,
}

pub(super) fn run(arguments: &KillsArguments) -> Result<(), TaskError> {
    tools::provide()?;
    let seed = arguments.seed.unwrap_or_else(Seed::of_now);
    // Said first, so that a run that is broken off can be repeated too.
    eprintln!("xtask: seed {seed}");
    let workspace = Workspace::here();
    let artefacts = Artefacts::build(&workspace)?;
    let options = Options { count: arguments.count, seed };
    let report = kills::run(&workspace, &artefacts, options)?;
    print!("{report}");
    match report.violations().len() {
        0 => Ok(()),
        violations => Err(TaskError::Violations { violations }),
    }
}
