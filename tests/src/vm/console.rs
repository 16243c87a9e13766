//! The serial console of a QEMU process.
#![expect(clippy::disallowed_methods, reason = "deadlines need a clock")]

use super::VmError;
use super::early;
use super::plain::Plain;
use crate::files;
use crate::process::last_lines;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How many of the last lines an error shows.
const LINES_SHOWN: usize = 60;

/// A QEMU process with its console: a thread reads, the owner waits and types. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Console {
    machine: String,
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    plain: Plain,
    said: String,
    /// Where in `said` the next search starts.
    searched: usize,
    /// Where in `said` the run of the machine starts that is looked at for early faults.
    run: usize,
}

impl Console {
    /// Takes a process with piped streams; what it says is written to the file `log` too.
    pub(super) fn new(machine: &str, mut child: Child, log: &Path) -> Result<Self, VmError> {
        let (sender, output) = mpsc::channel();
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        let input = child.stdin.take();
        // From here on a failure drops the console, which ends the process.
        let console = Self {
            machine: machine.to_owned(),
            child,
            input,
            output,
            plain: Plain::default(),
            said: String::new(),
            searched: 0,
            run: 0,
        };
        files::make_dir(log.parent().unwrap_or(log))?;
        let log = std::sync::Arc::new(files::create(log)?);
        for stream in streams.into_iter().flatten() {
            let (sender, log) = (sender.clone(), log.clone());
            thread::spawn(move || pump(stream, &log, &sender));
        }
        Ok(console)
    }

    pub(super) fn machine(&self) -> &str {
        &self.machine
    }

    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn said(&self) -> &str {
        &self.said
    }

    pub(super) fn write(&mut self, text: &str) -> Result<(), VmError> {
        let written = match &mut self.input {
            Some(input) => input.write_all(text.as_bytes()).and_then(|()| input.flush()),
            None => Ok(()),
        };
        written.map_err(|source| VmError::Write { machine: self.machine.clone(), source })
    }

    pub(super) fn wait_for(&mut self, text: &str, deadline: Duration) -> Result<String, VmError> {
        let end = Instant::now() + deadline;
        loop {
            let unsearched = self.said.get(self.searched..).unwrap_or_default();
            if let Some(at) = unsearched.find(text) {
                let length = at + text.len();
                let before = unsearched.get(..length).unwrap_or_default().to_owned();
                self.searched += length;
                return Ok(before);
            }
            if let Some(line) = early::fault(self.said.get(self.run..).unwrap_or_default()) {
                return Err(VmError::Early {
                    machine: self.machine.clone(),
                    line: line.to_owned(),
                    console: last_lines(&self.said, LINES_SHOWN),
                });
            }
            self.receive(end).map_err(|e| self.missed(e, &format!("{text:?}"), deadline))?;
        }
    }

    /// What was said so far counts no more: neither as an early fault nor as what is waited for.
    pub(super) fn forget(&mut self) {
        self.run = self.said.len();
        self.searched = self.said.len();
    }

    pub(super) fn wait_for_exit(&mut self, deadline: Duration) -> Result<(), VmError> {
        let end = Instant::now() + deadline;
        loop {
            match self.receive(end) {
                Ok(()) => {}
                // Both streams are closed: the process has ended or is about to.
                Err(RecvTimeoutError::Disconnected) => {
                    return self.child.wait().map(drop).map_err(VmError::Start);
                }
                Err(timeout) => return Err(self.missed(timeout, "power-off", deadline)),
            }
        }
    }

    fn receive(&mut self, end: Instant) -> Result<(), RecvTimeoutError> {
        let left = end.saturating_duration_since(Instant::now());
        let bytes = self.output.recv_timeout(left)?;
        let text = self.plain.feed(&bytes);
        self.said.push_str(&text);
        Ok(())
    }

    fn missed(&self, error: RecvTimeoutError, expected: &str, deadline: Duration) -> VmError {
        let machine = self.machine.clone();
        let expected = expected.to_owned();
        let console = last_lines(&self.said, LINES_SHOWN);
        match error {
            RecvTimeoutError::Timeout => {
                VmError::Deadline { machine, expected, seconds: deadline.as_secs(), console }
            }
            RecvTimeoutError::Disconnected => VmError::Ended { machine, expected, console },
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell in either case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands on what comes until the stream ends or nobody listens.
fn pump(mut stream: Box<dyn Read + Send>, mut log: &std::fs::File, sender: &Sender<Vec<u8>>) {
    let mut buffer = vec![0; 8192];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap_or_default();
        // The log is for people; a full disk shows itself elsewhere.
        let _ = log.write_all(bytes);
        if sender.send(bytes.to_vec()).is_err() {
            return;
        }
    }
}
