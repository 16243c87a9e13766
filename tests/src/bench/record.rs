//! What a measured boot left in the kernel's trace: log lines and system calls on one clock.

use super::BenchError;
use super::machines::STARTED;

/// The trace events that every measured boot is recorded with.
pub(super) const EVENTS: &str = "printk:console,syscalls:sys_enter_execve";

/// One event of the trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Event<'a> {
    /// The process.
    pub(super) pid: u32,
    /// Seconds of the trace's clock.
    pub(super) time: f64,
    /// The event's name and what follows it.
    pub(super) text: &'a str,
}

impl<'a> Event<'a> {
    /// Reads `trace: TASK-PID [CPU] FLAGS TIME: TEXT`.
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix("trace: ")?;
        let (task, rest) = line.split_once(" [")?;
        let (_, pid) = task.trim_end().rsplit_once('-')?;
        let (head, text) = rest.split_once(": ")?;
        let time = head.split_whitespace().last()?.parse().ok()?;
        Some(Self { pid: pid.parse().ok()?, time, text })
    }

    /// A line of the kernel's log.
    fn line(&self) -> Option<&'a str> {
        self.text.strip_prefix("console: ")
    }

    /// The name of the system call that begins.
    pub(super) fn call(&self) -> Option<&'a str> {
        Some(self.text.strip_prefix("sys_")?.split_once('(')?.0)
    }
}

/// The events up to the first line of the root's own program.
pub(super) fn events(said: &str) -> impl Iterator<Item = Event<'_>> {
    let events = said.lines().filter_map(Event::parse);
    events.take_while(|event| event.line() != Some(STARTED))
}

/// When a boot came to which point.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Boot {
    /// The kernel starts the initramfs's /init; seconds.
    start: f64,
    /// PID 1 executes the root's own program; seconds.
    end: f64,
    /// The steps of the project's init as it logs them: name and milliseconds.
    pub(super) steps: Vec<(String, f64)>,
}

impl Boot {
    /// Reads the trace in what the console said.
    pub(super) fn parse(said: &str) -> Result<Self, BenchError> {
        let missing = |line: &str| BenchError::NoLine { line: line.into(), console: said.into() };
        let start = events(said)
            .find(|event| event.line() == Some("Run /init as init process"))
            .ok_or_else(|| missing("Run /init as init process"))?;
        let end = events(said)
            .filter(|event| event.pid == 1 && event.call() == Some("execve"))
            .last()
            .ok_or_else(|| missing("sys_execve"))?;
        let steps = events(said).filter_map(|event| step(event.line()?)).collect();
        Ok(Self { start: start.time, end: end.time, steps })
    }

    /// Milliseconds from the kernel's start to that of /init.
    pub(super) fn before(&self) -> f64 {
        self.start * 1000.0
    }

    /// Milliseconds from the start of /init to the exec of the root's own program.
    pub(super) fn took(&self) -> f64 {
        (self.end - self.start) * 1000.0
    }
}

/// `layers-init: NAME: 12.3 ms, at 45.6 ms`.
fn step(line: &str) -> Option<(String, f64)> {
    let (name, rest) = line.strip_prefix("layers-init: ")?.split_once(": ")?;
    let (took, _) = rest.split_once(" ms, at ")?;
    Some((name.to_owned(), took.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
trace:       bench-init-1       [000] d..1.     1.000000: console: Run /init as init process
trace:       bench-init-1       [000] .....     1.010000: console: layers-init: first mounts: 9.5 ms, at 9.5 ms
trace:  modprobe-up-77       [000] .....     1.100000: sys_execve(filename: 7f, argv: 7f, envp: 7f)
trace:       bench-init-1       [000] .....     1.350500: sys_execve(filename: 7f, argv: 7f, envp: 7f)
trace:       bench-init-1       [000] d..1.     1.400000: console: bench: started
trace:            mount-80      [000] .....     1.500000: sys_execve(filename: 7f, argv: 7f, envp: 7f)
";

    #[test]
    fn a_boot_lasts_from_init_to_the_last_exec_of_process_1() {
        let boot = Boot::parse(SAID).unwrap();
        assert_eq!((boot.took() * 10.0).round(), 3505.0);
        assert_eq!(boot.steps, [("first mounts".to_owned(), 9.5)]);
    }

    #[test]
    fn a_boot_that_did_not_get_there_is_an_error_with_its_console() {
        let said = SAID.lines().take(2).collect::<Vec<_>>().join("\n");
        let error = Boot::parse(&said).unwrap_err().to_string();
        assert!(error.contains("sys_execve") && error.contains("Run /init"), "{error}");
    }
}
