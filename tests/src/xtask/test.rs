//! `cargo xtask test`.
#![expect(clippy::disallowed_methods, reason = "measures how long each level takes")]

use super::TaskError;
use crate::artefacts::Artefacts;
use crate::failure::chain;
use crate::process::{self, ProcessError};
use crate::tools;
use crate::workspace::Workspace;
use clap::Args;
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct TestArguments {
    /// Run this level alone; may be given more than once
    #[arg(long, value_enum)]
    only: Vec<Level>,
    /// Run only the tests whose names have this in them
    filter: Option<String>,
}

/// What is run, in this order; one that fails does not keep the next from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    /// The formatting, by rustfmt
    Format,
    /// The lints, by clippy; licences and sources of dependencies, by cargo-deny where it is installed
    Lint,
    /// The documentation comments and the examples in them
    Documents,
    /// Every test that needs no machine of its own
    Unit,
    /// A sample of `cargo xtask inject`
    Inject,
    /// Crashes at any moment of any verb, on the file systems that can hold the state
    Crash,
    /// Sizes, writes, flushes and instructions against their baseline, by `cargo xtask gate`
    Gate,
    /// Every test that boots a machine, and the ones over more than one crate
    Vm,
}

const LEVELS: [Level; 8] = [
    Level::Format,
    Level::Lint,
    Level::Documents,
    Level::Unit,
    Level::Inject,
    Level::Crash,
    Level::Gate,
    Level::Vm,
];

/// The runner of tests: nextest where it is installed, since it runs tests side by side within the VM limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runner {
    Nextest,
    Cargo,
}

/// What there is of the subcommands of cargo that a machine may lack.
#[derive(Debug, Clone, Copy)]
struct Subcommands {
    runner: Runner,
    deny: bool,
}

pub(super) fn run(arguments: &TestArguments) -> Result<(), TaskError> {
    tools::provide()?;
    let workspace = Workspace::here();
    let levels = LEVELS
        .iter()
        .copied()
        .filter(|level| arguments.only.is_empty() || arguments.only.contains(level));
    let subcommands = subcommands();
    let mut results = Vec::new();
    for level in levels {
        eprintln!("xtask: {level:?}");
        if level == Level::Lint && !subcommands.deny {
            eprintln!(
                "xtask: cargo-deny is not installed, so licences and sources are not checked"
            );
        }
        let start = Instant::now();
        if level == Level::Vm {
            prepare(&workspace)?;
        }
        let failure = commands(level, subcommands, arguments.filter.as_deref())
            .iter()
            .find_map(|words| process::show_and_keep(&mut cargo(&workspace, words)).err());
        results.push((level, start.elapsed(), failure));
    }
    summary(&results)
}

/// Builds what the machines are made of.
fn prepare(workspace: &Workspace) -> Result<(), TaskError> {
    Artefacts::build(workspace)?;
    Ok(())
}

fn subcommands() -> Subcommands {
    let has = |name| process::run(process::command("cargo").args([name, "--version"])).is_ok();
    let runner = if has("nextest") { Runner::Nextest } else { Runner::Cargo };
    Subcommands { runner, deny: has("deny") }
}

fn cargo(workspace: &Workspace, words: &[String]) -> Command {
    let mut command = process::command("cargo");
    command.args(words).current_dir(workspace.root()).env("RUSTDOCFLAGS", "-D warnings");
    command
}

const CLIPPY: &str = "clippy --workspace --all-targets -- -D warnings";

/// The arguments of cargo, for each of a level's commands.
fn commands(level: Level, subcommands: Subcommands, filter: Option<&str>) -> Vec<Vec<String>> {
    let Subcommands { runner, deny } = subcommands;
    let fixed: &[&str] = match (level, runner) {
        (Level::Format, _) => &["fmt --all --check"],
        (Level::Lint, _) if deny => &[CLIPPY, "deny check licenses bans sources"],
        (Level::Lint, _) => &[CLIPPY],
        (Level::Documents, _) => &["doc --workspace --no-deps", "test --workspace --doc"],
        (Level::Crash, _) => &["xtask crash"],
        (Level::Gate, _) => &["xtask gate"],
        (Level::Unit, Runner::Nextest) => {
            &["nextest run --workspace -E not(package(tests)&kind(test))"]
        }
        // The same faults each time: a run that fails is one that somebody can repeat.
        (Level::Inject, _) => &["xtask inject --seed 1"],
        (Level::Vm, Runner::Nextest) => &["nextest run --package tests -E kind(test)"],
        (Level::Unit, Runner::Cargo) => {
            // Not --all-targets: that makes a test of init's program too, whose main is the C library's.
            &["test --workspace --exclude tests --no-fail-fast", "test --package tests --lib"]
        }
        // Two machines at a time, as .config/nextest.toml has it.
        (Level::Vm, Runner::Cargo) => &["test --package tests --test * -- --test-threads=2"],
    };
    let takes_filter = matches!(level, Level::Unit | Level::Vm);
    fixed
        .iter()
        .map(|line| {
            let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            if let Some(filter) = filter.filter(|_| takes_filter) {
                // A filter may leave nothing of a level; without one, no test is a failure.
                words.extend((runner == Runner::Nextest).then(|| "--no-tests=pass".to_owned()));
                words.push(filter.to_owned());
            }
            words
        })
        .collect()
}

/// Says what became of each level, and the end of what those said that failed: in a long log, that is far above.
fn summary(results: &[(Level, Duration, Option<ProcessError>)]) -> Result<(), TaskError> {
    for (level, _, failure) in results {
        if let Some(failure) = failure {
            println!("xtask: the end of {level:?}:\n{}", chain(failure));
        }
    }
    for (level, time, failure) in results {
        let verdict = if failure.is_some() { "FAILED" } else { "passed" };
        println!("{:<10} {verdict} {:>4} s", format!("{level:?}"), time.as_secs());
    }
    match results.iter().filter(|(_, _, failure)| failure.is_some()).count() {
        0 => Ok(()),
        failed => Err(TaskError::Levels { failed, of: results.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_goes_to_tests_alone() {
        for runner in [Runner::Nextest, Runner::Cargo] {
            for level in LEVELS {
                for words in commands(level, Subcommands { runner, deny: true }, Some("name")) {
                    let filtered = words.last().is_some_and(|word| word == "name");
                    assert_eq!(filtered, matches!(level, Level::Unit | Level::Vm), "{words:?}");
                }
            }
        }
    }
}
