//! A shell on a guest's console.

use super::VmError;
use super::console::Console;
use std::time::Duration;

/// How long a command may take where nothing else is said.
const DEADLINE: Duration = Duration::from_secs(60);

/// A shell that has been taken over: no echo, no prompt, no line editing.
#[derive(Debug)]
pub struct Shell<'a> {
    console: &'a mut Console,
    count: u32,
    deadline: Duration,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The exit status.
    pub status: u8,
    /// What it wrote on standard output and standard error, without the last line feed.
    pub output: String,
}

impl<'a> Shell<'a> {
    /// Replaces the shell that is at its prompt by one for programs.
    pub(super) fn take(console: &'a mut Console) -> Result<Self, VmError> {
        // Kernel messages would break into the output.
        console.write("stty -echo; dmesg -n 1; exec env PS1= PS2= TERM=dumb SYSTEMD_COLORS=0 SYSTEMD_PAGER= /bin/sh\n")?;
        let mut shell = Self { console, count: 0, deadline: DEADLINE };
        shell.run("true")?;
        Ok(shell)
    }

    /// Sets how long each command may take from now on; 60 s where nothing is said.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Runs a command, or several lines of them, and waits for its end.
    ///
    /// Directory and variables last from one call to the next. Standard input is empty. A line has at most 4,000 bytes.
    pub fn run(&mut self, command: &str) -> Result<Reply, VmError> {
        self.count += 1;
        let count = self.count;
        // The typed line holds no whole mark, so its echo is not taken for the answer.
        self.console.write(&format!(
            "printf '\\n%s%s\\n' @begin- {count}-; {{ {command}\n}} </dev/null; \
             printf '\\n%s%s%d%s\\n' @end- {count}- $? -\n"
        ))?;
        self.console.wait_for(&format!("@begin-{count}-\n"), self.deadline)?;
        let mark = format!("\n@end-{count}-");
        let output = self.console.wait_for(&mark, self.deadline)?;
        let status = self.console.wait_for("-\n", self.deadline)?;
        let output = output.strip_suffix(&mark).unwrap_or(&output);
        let output = output.strip_suffix('\n').unwrap_or(output).to_owned();
        let status = status.trim_end_matches(['-', '\n']).parse().unwrap_or(u8::MAX);
        Ok(Reply { status, output })
    }

    /// Runs a command that has to succeed; returns what it wrote.
    pub fn check(&mut self, command: &str) -> Result<String, VmError> {
        let Reply { status, output } = self.run(command)?;
        if status == 0 {
            return Ok(output);
        }
        let machine = self.console.machine().to_owned();
        Err(VmError::Status { machine, command: command.to_owned(), status, output })
    }

    /// Types a command whose end nobody waits for, such as `systemctl reboot`.
    pub fn send(&mut self, command: &str) -> Result<(), VmError> {
        self.console.write(&format!("{command}\n"))
    }

    /// Switches off a machine without systemd: everything is written and read-only first.
    pub fn power_off_kernel(&mut self) -> Result<(), VmError> {
        self.end_kernel('o')
    }

    /// Restarts a machine without systemd, as [`power_off_kernel`](Self::power_off_kernel) switches one off.
    pub fn reboot_kernel(&mut self) -> Result<(), VmError> {
        self.end_kernel('b')
    }

    /// Ends the kernel with a key of SysRq (Linux, Documentation/admin-guide/sysrq.rst).
    ///
    /// The remount goes on in the background; a journal is clean when the kernel has said that it is done.
    fn end_kernel(&mut self, key: char) -> Result<(), VmError> {
        self.send(&format!(
            "sync; echo u >/proc/sysrq-trigger; \
             until dmesg | grep -q 'Emergency Remount complete'; do :; done; \
             echo {key} >/proc/sysrq-trigger"
        ))
    }
}
