//! Runs other programs; an error says the command and the end of what it said.
#![expect(clippy::disallowed_methods, reason = "this module is where the harness starts programs")]

use std::ffi::OsStr;
use std::io;
use std::process::{Command, ExitStatus, Stdio};

/// A program that could not be started, or that failed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program is not there, or may not be run.
    #[error("cannot start {program}")]
    Start {
        /// The program's name or path.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program ran and said no.
    #[error("{command}\n{said}failed: {status}")]
    Failed {
        /// The command with its arguments.
        command: String,
        /// Its exit status or the signal that ended it.
        status: ExitStatus,
        /// The last lines it wrote; empty where they went to the terminal.
        said: String,
    },
}

/// A command to be given arguments; its standard input is empty.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs a command with its output on the terminal.
pub fn show(command: &mut Command) -> Result<(), ProcessError> {
    let status = command.status().map_err(|source| start_error(command, source))?;
    check(command, status, b"")
}

/// Runs a command and returns what it wrote on its standard output.
pub fn read(command: &mut Command) -> Result<Vec<u8>, ProcessError> {
    let output = command.output().map_err(|source| start_error(command, source))?;
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    check(command, output.status, &said)?;
    Ok(output.stdout)
}

/// Runs a command; what it writes is shown only when it fails.
pub fn run(command: &mut Command) -> Result<(), ProcessError> {
    read(command).map(drop)
}

fn start_error(command: &Command, source: io::Error) -> ProcessError {
    ProcessError::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

fn check(command: &Command, status: ExitStatus, said: &[u8]) -> Result<(), ProcessError> {
    if status.success() {
        return Ok(());
    }
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    Err(ProcessError::Failed {
        command: words.join(" "),
        status,
        said: last_lines(&String::from_utf8_lossy(said), 30),
    })
}

/// The last `count` lines of a text, each ended with a line feed.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(count)).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_keeps_the_end() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc\n");
        assert_eq!(last_lines("a", 2), "a\n");
    }

    #[test]
    fn a_failure_shows_the_command_and_its_words() {
        let error = run(command("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c") && text.contains("why\n") && text.contains('3'), "{text}");
    }
}
