//! `cargo xtask bench`.

use super::TaskError;
use crate::bench::{self, ITEMS, Item, Report};
use crate::tools;
use crate::workspace::Workspace;
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(super) struct BenchArguments {
    /// Measure this alone; may be given more than once
    #[arg(long, value_enum)]
    only: Vec<Item>,
    /// How often each time is measured; the median counts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
}

impl BenchArguments {
    /// The command line that asks for the same.
    fn command(&self) -> String {
        let only = self
            .only
            .iter()
            .filter_map(|item| Some(item.to_possible_value()?.get_name().to_owned()));
        let only: String = only.map(|name| format!(" --only {name}")).collect();
        format!("cargo xtask bench{only} --runs {}", self.runs)
    }
}

pub(super) fn run(arguments: &BenchArguments) -> Result<(), TaskError> {
    tools::provide()?;
    let workspace = Workspace::here();
    let items = if arguments.only.is_empty() { &ITEMS[..] } else { &arguments.only };
    let figures = bench::measure(&workspace, items, arguments.runs.into())?;
    let report = Report::new(arguments.command(), figures)?;
    report.write(&workspace.target().join("bench"))?;
    print!("{report}");
    Ok(())
}
