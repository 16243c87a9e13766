//! Other programs: started by name, quiet when they succeed, quoted when they fail.

#![expect(clippy::disallowed_methods, reason = "starting programs is this module's purpose")]

use std::process::{Command, Output, Stdio};

use crate::error::Error;

/// A command for the program `name`, in the C locale and without an epoch that it was not given.
pub(crate) fn command(name: &'static str) -> Program {
    let mut command = Command::new(name);
    command.env("LC_ALL", "C").env_remove("SOURCE_DATE_EPOCH").stdin(Stdio::null());
    Program { name, command }
}

/// How many lines of a program's last words are told: the reason comes before the farewell.
const LINES: usize = 3;

/// A program with its arguments.
pub(crate) struct Program {
    name: &'static str,
    /// The arguments and environment, as they come together.
    pub(crate) command: Command,
}

impl Program {
    /// Runs it to its end and gives what it wrote; a failure tells its last words.
    pub(crate) fn run(mut self) -> Result<Output, Error> {
        log::debug!("{:?}", self.command);
        let output =
            self.command.output().map_err(|source| Error::NoProgram { name: self.name, source })?;
        if output.status.success() {
            return Ok(output);
        }
        let message = [&output.stderr, &output.stdout]
            .into_iter()
            .map(|bytes| last_words(bytes))
            .find(|words| !words.is_empty());
        Err(Error::Program {
            name: self.name,
            message: message.unwrap_or_else(|| output.status.to_string()),
        })
    }
}

fn last_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("; ")
}
