//! Other programs: started by name, quiet when they succeed, quoted when they fail.

#![expect(clippy::disallowed_methods, reason = "starting programs is this module's purpose")]

use std::io::{self, Read};
use std::process::{Command, Output, Stdio};
use std::thread;

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
            self.output().map_err(|source| Error::NoProgram { name: self.name, source })?;
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

impl Program {
    /// As [`Command::output`], which panics where a pipe cannot be read.
    fn output(&mut self) -> io::Result<Output> {
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // Each is read while the other is: a program that waits for a full pipe never ends.
        let said: io::Result<_> = thread::scope(|scope| {
            let reader = thread::Builder::new().spawn_scoped(scope, || read(stderr))?;
            let stdout = read(stdout);
            let stderr = reader.join().unwrap_or_else(|_| Ok(Vec::new()));
            Ok((stdout?, stderr?))
        });
        if said.is_err() {
            // Nobody reads what it says any more. Its end is waited for in any case.
            let _ = child.kill();
        }
        let status = child.wait()?;
        let (stdout, stderr) = said?;
        Ok(Output { status, stdout, stderr })
    }
}

fn read(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes))?;
    Ok(bytes)
}

/// The last lines of what a program wrote, as one.
pub(crate) fn last_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("; ")
}
