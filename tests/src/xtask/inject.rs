//! `cargo xtask inject`.

use super::TaskError;
use crate::inject::{self, Options};
use crate::programs::Programs;
use crate::seed::Seed;
use crate::tools;
use crate::workspace::Workspace;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct InjectArguments {
    /// Try every fault of every system call, not a sample
    #[arg(long)]
    nightly: bool,
    /// What the sample follows from [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// Try the verbs with this in their names alone, such as `base import`
    #[arg(long)]
    verb: Option<String>,
}

pub(super) fn run(arguments: &InjectArguments) -> Result<(), TaskError> {
    tools::provide()?;
    let seed = arguments.seed.unwrap_or_else(Seed::of_now);
    // Said first, so that a run that is broken off can be repeated too.
    eprintln!("xtask: seed {seed}");
    let programs = Programs::build(&Workspace::here())?;
    let options = Options { all: arguments.nightly, seed, verb: arguments.verb.clone() };
    let report = inject::run(&programs.layerctl, &options)?;
    print!("{report}");
    match report.violations() {
        0 => Ok(()),
        violations => Err(TaskError::Violations { violations }),
    }
}
