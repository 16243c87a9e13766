//! `layerctl`: adds and removes layers of an immutable Linux root, for the next boot.
//!
//! ```text
//! argv → cli → commands/<verb> → Context: lock → read the store → decide (layers::plan) → check → execute → say
//! ```

mod admission;
mod archive;
mod build;
mod cli;
mod commands;
mod composing;
mod config;
mod context;
mod describe;
mod disk;
mod environment;
mod erofs;
mod error;
mod etc;
mod file_name;
mod health;
mod indexing;
mod initramfs;
mod inspection;
mod kernel;
mod os_release;
mod packing;
mod partition;
mod preview;
mod program;
mod reached;
mod repo;
mod requests;
mod resolve;
mod rights;
mod sandbox;
mod seal;
mod signing;
mod source;
mod triggers;
mod trust;
mod ui;
mod uki;
mod work;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use context::{Context, Outcome};
use environment::Environment;
use ui::Ui;

/// The exit code for "there was nothing to change", where it was asked for.
const UNCHANGED: u8 = 77;

fn main() -> ExitCode {
    // Not a command of the user's: layerctl starts itself so.
    if std::env::args_os().skip(1).eq(sandbox::INIT) {
        return sandbox::main();
    }
    let environment = Environment::read();
    let cli = Cli::parse();
    let ui = Ui::new(cli.quiet, environment.colour);
    ui::start_log(cli.verbose);
    let context = Context::new(ui, environment, cli.place());
    match commands::run(&cli.command, &context) {
        Ok(Outcome::Unchanged) if cli.unchanged_exit_77 => ExitCode::from(UNCHANGED),
        Ok(Outcome::UpToDate) => ExitCode::from(UNCHANGED),
        Ok(Outcome::Unsound) => ExitCode::FAILURE,
        Ok(Outcome::Done | Outcome::Unchanged) => ExitCode::SUCCESS,
        // A reader that has seen enough, as in `layerctl status | head -1`, is no failure.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            context.ui.failure(&error, cli.command.writes());
            ExitCode::FAILURE
        }
    }
}
