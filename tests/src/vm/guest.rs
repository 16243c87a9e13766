//! A running machine.

use super::VmError;
use super::console::Console;
use super::shell::Shell;
use crate::workspace::Workspace;
use std::process::{Command, Stdio};
use std::time::Duration;

/// QEMU's `-serial`: the guest's console on standard input and output, with QEMU's monitor behind Ctrl-A C.
pub(super) const SERIAL: &str = "mon:stdio";

/// To the monitor, reset, and back to the console. Scratch disks keep what was written to them.
const RESET: &str = "\x01csystem_reset\n\x01c";

/// A running machine. It ends when this is dropped.
#[derive(Debug)]
pub struct Guest {
    name: String,
    console: Console,
    was_reset: bool,
}

impl Guest {
    /// Starts a command that runs a machine with its console on standard input and output, QEMU's `-serial mon:stdio`.
    ///
    /// What the machine says is written to target/vm/NAME/console.log too.
    pub fn start(name: &str, command: &mut Command) -> Result<Self, VmError> {
        let log = Workspace::here().machine(name).join("console.log");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(VmError::Start)?;
        Ok(Self {
            name: name.to_owned(),
            console: Console::new(name, child, &log)?,
            was_reset: false,
        })
    }

    /// Waits until the console has said `text`, after what was waited for before; returns what it said up to there.
    ///
    /// A kernel that fails before it starts init has run nothing of the project: some do so now and then on an emulated
    /// processor, in their own self-tests. Such a machine is reset, once; nothing else is ever tried again.
    pub fn wait_for(&mut self, text: &str, deadline: Duration) -> Result<String, VmError> {
        match self.console.wait_for(text, deadline) {
            Err(VmError::Early { line, .. }) if !self.was_reset => {
                self.was_reset = true;
                eprintln!("{}: the kernel failed before init, starting again: {line}", self.name);
                self.console.forget();
                self.console.write(RESET)?;
                self.console.wait_for(text, deadline)
            }
            result => result,
        }
    }

    /// Types bytes on the console.
    pub fn type_in(&mut self, text: &str) -> Result<(), VmError> {
        self.console.write(text)
    }

    /// The number of QEMU's process.
    pub fn process(&self) -> u32 {
        self.console.process()
    }

    /// Everything the console has said so far, without terminal control sequences.
    pub fn said(&self) -> &str {
        self.console.said()
    }

    /// Waits for the automatic log-in of a booted system and takes its shell.
    pub fn log_in(&mut self, deadline: Duration) -> Result<Shell<'_>, VmError> {
        self.wait_for("(automatic login)", deadline)?;
        self.wait_for("# ", deadline)?;
        Shell::take(&mut self.console)
    }

    /// Waits for the shell of a machine that was started with `init=/bin/sh` and takes it.
    pub fn bare_shell(&mut self, deadline: Duration) -> Result<Shell<'_>, VmError> {
        self.wait_for("job control turned off", deadline)?;
        Shell::take(&mut self.console)
    }

    /// Waits until the machine has switched itself off.
    pub fn wait_for_exit(&mut self, deadline: Duration) -> Result<(), VmError> {
        self.console.wait_for_exit(deadline)
    }
}
