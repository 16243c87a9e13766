//! Programs of an image's own, run over a stack of images and a directory for what they write: a package manager and the
//! scripts of its packages, and the programs that make shared index files.
//!
//! ```text
//! layerctl ── a thread with a process namespace for its children
//!   └─ /proc/self/exe sandbox-process-1: process 1 of it (init.rs)
//!        own mounts, IPC, host name, and network unless that is asked for; root = overlay of lowers and upper (root.rs)
//!        the capability bounding set cut, no new privileges (privileges.rs)
//!        └─ the program
//! ```
//!
//! Nothing is mounted outside of process 1's namespace, and all ends with process 1, which ends with layerctl.

#![expect(clippy::disallowed_methods, reason = "starts processes and looks into images")]
#![cfg_attr(not(test), expect(dead_code, reason = "its users come next"))]

use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::thread;

use caps::{CapSet, Capability};
use layers::superblock::Format;
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use crate::admission;
use crate::error::Error;

mod init;
mod lookup;
mod privileges;
mod root;
#[cfg(test)]
mod tests;

pub(crate) use init::main;

/// What /proc/self/exe is started with to be process 1 of a sandbox.
#[cfg(not(test))]
pub(crate) const INIT: [&str; 1] = ["sandbox-process-1"];
#[cfg(test)]
pub(crate) const INIT: [&str; 5] =
    ["--exact", "--ignored", "--nocapture", "--test-threads=1", "sandbox::tests::init"];

/// One of the directories that a sandbox's root is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Lower {
    /// A directory.
    Directory(PathBuf),
    /// An image file.
    Image {
        /// The file.
        path: PathBuf,
        /// Its file system.
        format: Format,
    },
}

/// A file or directory of this machine that is seen in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bind {
    /// Where it is.
    pub(crate) from: PathBuf,
    /// Where it is in the sandbox, as an absolute path.
    pub(crate) to: PathBuf,
    /// Whether the sandbox may only read it.
    pub(crate) read_only: bool,
}

/// A root in which programs run; all runs of one sandbox see the same upper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    /// What the root is made of, topmost first.
    pub(crate) lowers: Vec<Lower>,
    /// The directory that gets what is written.
    pub(crate) upper: PathBuf,
    /// A directory on the file system of the upper, which is no overlay itself; the sandbox makes what it needs in it.
    pub(crate) work: PathBuf,
    /// What of this machine is seen.
    pub(crate) binds: Vec<Bind>,
    /// Whether programs reach this machine's network; they then also find its name servers.
    pub(crate) network: bool,
    /// `SOURCE_DATE_EPOCH` for the programs.
    pub(crate) epoch: Option<u64>,
}

/// What process 1 is told: one line of JSON on its standard input.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    sandbox: Sandbox,
    program: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
}

/// What process 1 answers: one line of JSON on the same socket.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// The program ended with this status, as wait(2) writes it.
    Ended(i32),
    /// There was no root to run it in, or no such program.
    Failed(String),
}

impl Sandbox {
    /// Runs a program to its end and gives its status and what it wrote; one that fails is no error of the sandbox.
    ///
    /// The program is looked for in the sandbox's search path. It has an empty standard input, and of the environment
    /// only what every program here gets and `envs`.
    pub(crate) fn run(
        &self,
        program: &str,
        args: &[&str],
        envs: &[(&str, &str)],
    ) -> Result<Output, Error> {
        let capability = Capability::CAP_SYS_ADMIN;
        if !caps::has_cap(None, CapSet::Effective, capability).unwrap_or(true) {
            return Err(Error::Capability { purpose: "running programs over images", capability });
        }
        let task = Task {
            sandbox: self.clone(),
            program: program.to_owned(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            envs: envs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
        };
        log::debug!("in a sandbox: {program} {}", args.join(" "));
        let failed = |source: io::Error| Error::Sandbox(format!("start a sandbox: {source}"));
        let (stdout, stdout_writer) = io::pipe().map_err(failed)?;
        let (stderr, stderr_writer) = io::pipe().map_err(failed)?;
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new("/proc/self/exe");
        command.args(INIT).stdin(OwnedFd::from(theirs)).stdout(stdout_writer).stderr(stderr_writer);
        let (answer, stdout, stderr) = thread::scope(|scope| -> io::Result<_> {
            let supervisor = thread::Builder::new()
                .spawn_scoped(scope, move || supervise(command, &ours, &task))?;
            let reader = thread::Builder::new().spawn_scoped(scope, || read(stdout))?;
            let stderr = read(stderr);
            let panicked = |_| io::Error::other("a thread panicked");
            Ok((supervisor.join().map_err(panicked)?, reader.join().map_err(panicked)??, stderr?))
        })
        .map_err(failed)?;
        match answer.map_err(failed)? {
            Some(Answer::Ended(status)) => {
                Ok(Output { status: ExitStatus::from_raw(status), stdout, stderr })
            }
            Some(Answer::Failed(why)) => Err(Error::Sandbox(why)),
            None => {
                let said = String::from_utf8_lossy(&stderr).trim().to_owned();
                Err(Error::Sandbox(format!("the sandbox ended early: {said}")))
            }
        }
    }

    /// Whether the root has a file at `path`, or a link to one; asked of the lowers, not of the upper.
    pub(crate) fn has(&self, path: &str) -> Result<bool, Error> {
        for lower in &self.lowers {
            let found = match lower {
                Lower::Directory(root) => lookup::find(root, path),
                Lower::Image { path: image, format } => {
                    lookup::find(admission::open(image, *format)?.root(), path)
                }
            };
            match found.map_err(|error| Error::Sandbox(format!("look for {path}: {error}")))? {
                lookup::Found::File => return Ok(true),
                lookup::Found::Whiteout => return Ok(false),
                lookup::Found::Nothing => {}
            }
        }
        Ok(false)
    }
}

/// Starts process 1 and waits for its end. It gets SIGKILL when this thread ends, so the thread ends last.
fn supervise(mut command: Command, socket: &UnixStream, task: &Task) -> io::Result<Option<Answer>> {
    // Of this thread alone: it makes no thread afterwards, which the kernel would refuse.
    unshare(CloneFlags::CLONE_NEWPID)?;
    let mut child = command.spawn()?;
    // The write ends of the pipes and the other end of the socket: a reader waits until nobody has them.
    drop(command);
    let answer = converse(socket, task);
    if answer.is_err() {
        let _ = child.kill();
    }
    child.wait()?;
    answer
}

fn converse(mut socket: &UnixStream, task: &Task) -> io::Result<Option<Answer>> {
    let mut line = serde_json::to_vec(task)?;
    line.push(b'\n');
    match socket.write_all(&line) {
        // It has ended; what it said on standard error tells more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
        result => result?,
    }
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer)?;
    // Process 1 looks for this before it starts the program, never later.
    let _ = socket.shutdown(Shutdown::Both);
    if answer.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&answer)?)) }
}

fn read(mut pipe: PipeReader) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    Ok(bytes)
}
