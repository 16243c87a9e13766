//! `cargo xtask crash`.

use super::TaskError;
use crate::crash::{self, PartName, Report, Request, StateName};
use crate::tools;
use crate::vm::Filesystem;
use crate::workspace::Workspace;
use clap::Args;

/// The states of a run that is part of every test.
const USUAL: usize = 1200;
/// The states of a long run.
const NIGHTLY: usize = 13_000;

#[derive(Debug, Args)]
pub(super) struct CrashArguments {
    /// Try about this many states
    #[arg(long)]
    states: Option<usize>,
    /// Try every prefix and many subsets, and check each state by fsck
    #[arg(long)]
    nightly: bool,
    /// Only on these file systems
    #[arg(long, value_enum, value_delimiter = ',')]
    filesystem: Vec<Filesystem>,
    /// Only crashes during this verb
    #[arg(long)]
    verb: Option<String>,
    /// The seed of the random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Try one state of the last run again, by its name
    #[arg(long, value_name = "STATE", conflicts_with_all = ["states", "nightly", "filesystem", "verb"])]
    replay: Option<StateName>,
    /// What a run starts itself for
    #[arg(long, hide = true)]
    part: Option<PartName>,
}

impl CrashArguments {
    fn request(&self) -> Request {
        let usual = if self.nightly { NIGHTLY } else { USUAL };
        let all = self.filesystem.is_empty();
        Request {
            filesystems: if all { Filesystem::ALL.to_vec() } else { self.filesystem.clone() },
            states: self.states.unwrap_or(usual),
            verb: self.verb.clone(),
            seed: self.seed,
            nightly: self.nightly,
        }
    }
}

pub(super) fn run(arguments: &CrashArguments) -> Result<(), TaskError> {
    let workspace = Workspace::here();
    if let Some(part) = &arguments.part {
        println!("{}", crash::part(&workspace, part, &arguments.request())?);
        return Ok(());
    }
    tools::provide()?;
    if let Some(name) = &arguments.replay {
        return match crash::replay(&workspace, name, arguments.seed)? {
            Some(why) => {
                println!("{name}: {why}");
                Err(TaskError::Crash)
            }
            None => {
                println!("{name}: nothing is wrong");
                Ok(())
            }
        };
    }
    shown(&crash::run(&workspace, &arguments.request())?)
}

fn shown(report: &Report) -> Result<(), TaskError> {
    print!("{report}");
    if report.is_good() { Ok(()) } else { Err(TaskError::Crash) }
}
