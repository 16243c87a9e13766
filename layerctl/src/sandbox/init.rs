//! Process 1 of a sandbox: makes its root, starts the program there, reaps, tells how the program ended.

#![expect(clippy::disallowed_methods, reason = "is a process of its own")]

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::process::{Signal, WaitOptions, getpid, set_parent_process_death_signal, umask, wait};

use super::{Answer, Task, privileges, root};

/// What programs find of the environment; `envs` of a run may add to it.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LC_ALL", "C.UTF-8"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    // systemctl edits links and asks no manager.
    ("SYSTEMD_OFFLINE", "1"),
    ("TERM", "dumb"),
];

/// Does what standard input, a socket, says, and answers there.
pub(crate) fn main() -> ExitCode {
    let stdin = io::stdin();
    let answer = match begin(stdin.as_fd()) {
        Ok(Some(task)) => run(&task).unwrap_or_else(Answer::Failed),
        Ok(None) => return ExitCode::FAILURE,
        Err(why) => Answer::Failed(why),
    };
    match tell(stdin.as_fd(), &answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Reads the task. `None` where nobody waits for an answer any more.
fn begin(socket: BorrowedFd<'_>) -> Result<Option<Task>, String> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(say("ask for a signal"))?;
    // Whoever types the command by hand would otherwise have the mounts of their machine changed.
    if getpid().as_raw_nonzero().get() != 1 {
        return Err("this command is layerctl's own: it runs as process 1 of a sandbox".into());
    }
    let mut line = String::new();
    BufReader::new(io::stdin().lock()).read_line(&mut line).map_err(say("read the task"))?;
    // A parent that ended before the signal was asked for has closed its end.
    let mut ends = [PollFd::new(&socket, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut ends, Some(&now)).map_err(say("look for the parent"))?;
    if ends.iter().any(|end| end.revents().contains(PollFlags::HUP)) {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(say("understand the task"))
}

fn run(task: &Task) -> Result<Answer, String> {
    let sandbox = &task.sandbox;
    let mut namespaces =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    namespaces.set(CloneFlags::CLONE_NEWNET, !sandbox.network);
    unshare(namespaces).map_err(say("enter namespaces"))?;
    rustix::system::sethostname(b"layerctl").map_err(say("set the host name"))?;
    umask(Mode::from_raw_mode(0o022));
    root::enter(sandbox)?;
    privileges::drop().map_err(say("give up capabilities"))?;
    privileges::gain_none().map_err(say("give up new privileges"))?;

    let mut command = Command::new(&task.program);
    command.args(&task.args).env_clear().envs(ENVIRONMENT).stdin(Stdio::null());
    command.envs(sandbox.epoch.map(|epoch| ("SOURCE_DATE_EPOCH", epoch.to_string())));
    command.envs(task.envs.iter().map(|(key, value)| (key, value)));
    let child = command.spawn().map_err(|error| format!("start {}: {error}", task.program))?;
    loop {
        let ended = wait(WaitOptions::empty()).map_err(say("wait for the program"))?;
        if let Some((pid, status)) = ended
            && pid.as_raw_nonzero().get().unsigned_abs() == child.id()
        {
            return Ok(Answer::Ended(status.as_raw()));
        }
    }
}

fn tell(socket: BorrowedFd<'_>, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut file = std::fs::File::from(socket.try_clone_to_owned()?);
    file.write_all(&line)
}

fn say<E: Display>(doing: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{doing}: {error}")
}
