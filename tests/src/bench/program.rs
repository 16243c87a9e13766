//! Init itself: how large it is, how much memory it takes, and whether it ever sleeps.

use super::BenchError;
use super::boots::boot;
use super::figure::{Figure, Goal, Unit};
use super::machines::{DEADLINE, Format, Machines};
use super::record::{EVENTS, events};
use crate::files;
use crate::programs::Programs;
use crate::tools::find_program;

/// The system calls that let time pass on purpose.
const SLEEPS: [&str; 2] = ["nanosleep", "clock_nanosleep"];

/// The system calls that wait for events, perhaps for no longer than a while.
const WAITS: [&str; 6] = ["poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait"];

/// The sizes of the program and of an initramfs for virtio and ext4.
pub(super) fn size(machines: &Machines, programs: &Programs) -> Result<Vec<Figure>, BenchError> {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let program = mebibytes(files::size(&programs.init)?);
    let initrd = mebibytes(files::size(&machines.initrd(None)?)?);
    Ok(vec![
        Figure::exact("init, stripped", program, Unit::Mebibytes).goal(Goal::AtMost(1.5)),
        Figure::exact("initramfs for virtio and ext4, zstd", initrd, Unit::Mebibytes)
            .goal(Goal::AtMost(3.0)),
    ])
}

/// Has the kernel trace every system call of PID 1 that can wait, from the start to the exec.
pub(super) fn sleeps(machines: &Machines) -> Result<Vec<Figure>, BenchError> {
    let events: Vec<_> =
        SLEEPS.iter().chain(&WAITS).map(|call| format!("syscalls:sys_enter_{call}")).collect();
    let state = machines.state(Format::Squashfs, 1)?;
    let machine = machines.machine(&machines.initrd(None)?, &state);
    let events = format!("trace_event={EVENTS},{}", events.join(","));
    let said = boot(&machine.append(&events))?.1;
    // A call that the kernel does not trace would count as one that is never made.
    for call in SLEEPS.iter().chain(&WAITS) {
        let line = format!("armed: syscalls:sys_enter_{call}");
        if !said.lines().any(|armed| armed.trim_end() == line) {
            return Err(BenchError::NoLine { line, console: said });
        }
    }
    let calls = |names: &[&str]| calls_of_init(&said, names) as f64;
    Ok(vec![
        Figure::exact("sleeps of init (nanosleep, clock_nanosleep)", calls(&SLEEPS), Unit::Count)
            .goal(Goal::AtMost(0.0)),
        Figure::exact(
            "waits of init for an event (poll, select, epoll)",
            calls(&WAITS),
            Unit::Count,
        ),
    ])
}

/// How many of some system calls PID 1 made before it handed over.
fn calls_of_init(said: &str, names: &[&str]) -> usize {
    let calls = events(said).filter(|event| event.pid == 1).filter_map(|event| event.call());
    calls.filter(|call| names.contains(call)).count()
}

/// Peak memory of init, read from /proc/1/status by the failure shell.
///
/// With `init=` naming nothing, each generation is mounted whole, entered in vain and taken down again, so the peak has
/// all that a boot does but the exec, and the failure screen on top.
pub(super) fn memory(machines: &Machines) -> Result<Vec<Figure>, BenchError> {
    let busybox = find_program("busybox").unwrap_or_else(|| "busybox".into());
    let initrd = machines.initrd(Some(&busybox))?;
    [0, 128, 400]
        .into_iter()
        .map(|count| {
            let state = machines.state(Format::Squashfs, count)?;
            let machine =
                machines.machine(&initrd, &state).append("init=/none layers.onfail=shell");
            let mut running = machine.start()?;
            running.wait_for("a shell follows", DEADLINE)?;
            running.type_in("grep VmHWM /proc/1/status; reboot -f\n")?;
            let line = running.wait_for(" kB", DEADLINE)?;
            let kibibytes = line.split_whitespace().rev().nth(1).and_then(|n| n.parse().ok());
            let missing = || BenchError::NoLine { line: "VmHWM".into(), console: line.clone() };
            let mebibytes = kibibytes.map(|n: f64| n / 1024.0).ok_or_else(missing)?;
            let what = format!("peak memory of init (VmHWM), {count} layers");
            Ok(Figure::exact(what, mebibytes, Unit::Mebibytes).goal(Goal::AtMost(8.0)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_others_and_after_the_hand_over_do_not_count() {
        let said = "\
trace:           modprobe-77      [000] .....  0.9: sys_clock_nanosleep(which_clock: 0)
trace:               init-1       [000] .....  1.0: sys_poll(ufds: 7ffe, nfds: 1, timeout_msecs: 7530)
trace:               init-1       [000] .....  1.1: sys_nanosleep(rqtp: 7ffe)
trace:         bench-init-1       [000] d..1.  1.2: console: bench: started
trace:         bench-init-1       [000] .....  1.3: sys_nanosleep(rqtp: 7ffe)
";
        assert_eq!(calls_of_init(said, &SLEEPS), 1);
        assert_eq!(calls_of_init(said, &WAITS), 1);
    }
}
