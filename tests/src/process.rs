//! Runs other programs; an error says the command and the end of what it said.
#![expect(clippy::disallowed_methods, reason = "this module is where the harness starts programs")]

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, PipeReader, Write};
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

/// So many lines of what a program said are part of an error.
const KEPT: usize = 30;

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

/// Runs a command with all its output on standard error, and keeps the end of it for the error.
pub fn show_and_keep(command: &mut Command) -> Result<(), ProcessError> {
    let ran = run_through_a_pipe(command);
    let (status, said) = ran.map_err(|source| start_error(command, source))?;
    check(command, status, &said)
}

fn run_through_a_pipe(command: &mut Command) -> io::Result<(ExitStatus, Vec<u8>)> {
    let (reader, writer) = io::pipe()?;
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // The command has the pipe's other end too: as long as it does, there is no end to read.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let said = copy(reader, &mut io::stderr());
    let status = child.wait()?;
    Ok((status, said?))
}

/// Copies lines as they come; gives the last ones.
fn copy(from: PipeReader, to: &mut impl Write) -> io::Result<Vec<u8>> {
    let (mut from, mut kept) = (BufReader::new(from), VecDeque::new());
    loop {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line)? == 0 {
            return Ok(kept.into_iter().flatten().collect());
        }
        // A terminal that went away is no reason to end the tests.
        let _ = to.write_all(&line);
        kept.push_back(line);
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }
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
        said: last_lines(&String::from_utf8_lossy(said), KEPT),
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
    fn what_was_shown_is_in_the_error_too_but_for_its_beginning() {
        let script = "seq 40; echo why >&2; exit 3";
        let error = show_and_keep(command("sh").args(["-c", script])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("\n40\nwhy\nfailed: exit status: 3"), "{text}");
        assert!(text.contains("\n12\n") && !text.contains("\n11\n"), "{text}");
        show_and_keep(&mut command("true")).unwrap();
    }

    #[test]
    fn a_failure_shows_the_command_and_its_words() {
        let error = run(command("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c") && text.contains("why\n") && text.contains('3'), "{text}");
    }
}
