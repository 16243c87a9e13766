//! The subcommands of `cargo xtask`.

mod base;
mod bench;
mod crash;
mod gate;
mod inject;
mod kills;
mod test;
mod trial;

use crate::artefacts::ArtefactsError;
use crate::base::BaseError;
use crate::bench::BenchError;
use crate::crash::CrashError;
use crate::failure::chain;
use crate::files::FileError;
use crate::gate::GateError;
use crate::inject::InjectError;
use crate::kills::KillsError;
use crate::process::ProcessError;
use crate::tools::ToolsError;
use crate::vm::DiskError;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Builds, boots and tests the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build everything and boot it in QEMU, with the console on this terminal
    Try(trial::TryArguments),
    /// Run every test, boots in QEMU included
    Test(test::TestArguments),
    /// Make the Debian base image
    Base(base::BaseArguments),
    /// Try what a store holds after the power went at any moment of any verb
    Crash(crash::CrashArguments),
    /// Measure sizes, memory, boots and installations, and print them beside their goals
    Bench(bench::BenchArguments),
    /// Let each system call of each verb fail once, and kill the verb before it
    Inject(inject::InjectArguments),
    /// Hold sizes, writes, flushes and instructions against those of tests/gate.toml
    Gate(gate::GateArguments),
    /// Kill machines while they boot and change, and boot them again
    Kills(kills::KillsArguments),
}

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error(transparent)]
    Tools(#[from] ToolsError),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error(transparent)]
    Crashes(#[from] CrashError),
    #[error("a crash breaks the store, or the suite did not notice that a control does")]
    Crash,
    #[error(transparent)]
    Artefacts(#[from] ArtefactsError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Inject(#[from] InjectError),
    #[error(transparent)]
    Kills(#[from] KillsError),
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error(
        "{failures} figures are not what they were\nif that is meant, type: cargo xtask gate --renew, and say why in the commit"
    )]
    Figures { failures: usize },
    #[error("{violations} faults were not dealt with")]
    Violations { violations: usize },
    #[error("the two base trees differ")]
    Different,
    #[error("{failed} of {of} levels failed")]
    Levels { failed: usize, of: usize },
}

/// The program: parses the command line, runs the task, prints the error chain once.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Try(arguments) => trial::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Base(arguments) => base::run(&arguments),
        Task::Crash(arguments) => crash::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Inject(arguments) => inject::run(&arguments),
        Task::Gate(arguments) => gate::run(&arguments),
        Task::Kills(arguments) => kills::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
