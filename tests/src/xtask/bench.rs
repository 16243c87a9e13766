//! `cargo xtask bench`.

use super::TaskError;
use crate::bench::{self, ITEMS, Item, Report};
use crate::files;
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
    let dir = workspace.target().join("bench");
    // A long run that fails in the end leaves the report of what was measured before.
    bench::measure(&workspace, items, arguments.runs.into(), &|sections| {
        Report::new(arguments.command(), sections.to_vec())?.write(&dir)
    })?;
    print!("{}", files::read_text(&dir.join("report.md"))?);
    Ok(())
}
