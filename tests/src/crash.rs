//! The crash suite: what a store holds after the power went at any moment of any verb.
//!
//! ```text
//! mkfs ─ copy ─ loop device ← FUSE export ← blklogwrites ─ writes.log         [recording]
//!                   ↑ verbs of the product, one after the other               [verbs], [boots], [hands]
//!                   └ after each operation: length of the log, Snapshot
//!
//! writes.log → requests → CrashState…         pure                            [states]
//! CrashState → content → loop device          all flushed, some of the rest   [disk]
//!            → mount (journal replay) → look  as after one of the operations that may have been done;
//!                                             nothing reachable is missing    [check]
//!            → verb again, another, cleanup   the store still takes changes
//!            → unmount, fsck
//! ```
//!
//! Recordings are made and tried in processes of their own, which a run starts: see `job.rs`.
//!
//! What has returned must be there: an operation that was done before the crash is in every state after it. A control
//! shows that the suite would notice: publishers that do not sync, recorded and tried the same way, have to fail.

#![expect(clippy::disallowed_methods, reason = "measures how long a run takes")]

mod boots;
mod check;
mod device;
mod disk;
mod export;
mod filesystem;
mod hands;
mod job;
mod name;
mod random;
mod recording;
mod report;
mod scene;
mod snapshot;
mod states;
mod verbs;

use crate::files::{self, FileError};
use crate::process::ProcessError;
use crate::vm::Filesystem;
use crate::workspace::Workspace;
use job::Job;
use layers::exec::HostError;
use recording::Flavour;
use scene::Scene;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;
use verbs::VerbError;

pub(crate) use device::{LoopDevice, own_mounts};
pub(crate) use export::Export;
pub use name::{PartName, StateName, Step};
pub use report::Report;

/// Why the suite could not do its work; what it finds is no error but in the [`Report`].
#[derive(Debug, thiserror::Error)]
pub enum CrashError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// An image could not be read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Something else that the system refused.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was being done: `mount`.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A verb does not even work without a crash.
    #[error("{verb} does not work: {why}")]
    Verb {
        /// Its name.
        verb: String,
        /// What went wrong.
        why: String,
    },
    /// The recording is not one of what was to be shown.
    #[error("the recording of {verb} shows nothing: {why}")]
    Recording {
        /// The verb's name.
        verb: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such verb.
    #[error("there is no verb {asked}; there are {known}")]
    NoVerb {
        /// What was asked for.
        asked: String,
        /// All names.
        known: String,
    },
    /// There is no such state.
    #[error("there is no state {0} in the last recording")]
    NoState(StateName),
}

impl From<VerbError> for CrashError {
    fn from(error: VerbError) -> Self {
        Self::Verb { verb: "a verb".to_owned(), why: error.to_string() }
    }
}

/// What is to be tried.
#[derive(Debug, Clone)]
pub struct Request {
    /// The file systems.
    pub filesystems: Vec<Filesystem>,
    /// About how many states there shall be in all; two thirds of them prefixes, where there are so many.
    pub states: usize,
    /// Only the states of this verb.
    pub verb: Option<String>,
    /// The seed of the subsets.
    pub seed: u64,
    /// Whether every prefix is tried, and each state is checked by fsck too.
    pub nightly: bool,
}

/// How many states go by between two that fsck checks too, in a run that is not the long one.
const FSCK_EVERY: usize = 8;

/// How many recordings are tried at a time: most of the time each waits for the kernel's threads.
const WORKERS: usize = 4;

/// Records every verb on every file system, tries the states, and the control.
pub fn run(workspace: &Workspace, request: &Request) -> Result<Report, CrashError> {
    let start = Instant::now();
    let known: Vec<&str> = verbs::SCRIPT.iter().map(|verb| verb.name).collect();
    if let Some(asked) = request.verb.as_ref().filter(|asked| !known.contains(&asked.as_str())) {
        return Err(CrashError::NoVerb { asked: asked.clone(), known: known.join(" ") });
    }
    let (top, _lock) = prepare(workspace)?;
    Scene::make(&top.join("scene"))?;
    let mut jobs: VecDeque<Job> = request
        .filesystems
        .iter()
        .flat_map(|filesystem| Flavour::ALL.map(|flavour| Job::new(*filesystem, flavour, &top)))
        .collect();
    // Those that take longest first, so that all workers end at about the same time.
    jobs.make_contiguous().sort_by_key(|job| job.flavour.is_control());
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || {
        let mut done = Vec::new();
        while let Some(job) = next() {
            done.push(job.run(request)?);
        }
        Ok::<_, CrashError>(done)
    };
    let results = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join()).collect::<Vec<_>>()
    });
    let mut report = Report::default();
    for result in results {
        let done = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        done.into_iter().for_each(|outcome| report.add(outcome));
    }
    report.time = start.elapsed();
    Ok(report)
}

/// Does one step of a run, in a process that the run has started; gives what is to be printed.
pub fn part(
    workspace: &Workspace,
    name: &PartName,
    request: &Request,
) -> Result<String, CrashError> {
    let top = directory(workspace);
    let scene = Scene::load(&top.join("scene"))?;
    let job = Job::new(name.filesystem, name.flavour, &top);
    match name.step {
        Step::Record => job.record(&scene).map(|()| String::new()),
        Step::Part(part) => {
            let tallies = job.try_part(&scene, part, request)?;
            serde_json::to_string(&tallies).map_err(|e| CrashError::Io {
                doing: "tell about",
                path: top,
                source: e.into(),
            })
        }
    }
}

/// Tries one state of the last run again; gives what is wrong with it.
pub fn replay(
    workspace: &Workspace,
    name: &StateName,
    seed: u64,
) -> Result<Option<String>, CrashError> {
    let (top, _lock) = prepare(workspace)?;
    let scene = Scene::load(&top.join("scene"))?;
    Job::new(name.filesystem, name.flavour, &top).replay(&scene, name, seed)
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target().join("crash")
}

/// Gets mounts of our own, with a tmpfs to work on, and the lock of the directory where recordings are kept.
fn prepare(workspace: &Workspace) -> Result<(PathBuf, File), CrashError> {
    own_mounts()?;
    let top = directory(workspace);
    let work = top.join("work");
    files::make_dir(&work)?;
    let lock = files::lock(&top.join("lock"))?;
    device::mount_tmpfs(&work)?;
    Ok((top, lock))
}

impl Request {
    /// How many states there are for each verb of each recording.
    fn share(&self) -> usize {
        let flavours = Flavour::ALL.into_iter().filter(|flavour| !flavour.is_control()).count();
        let verbs = verbs::SCRIPT.iter().filter(|verb| self.wants(verb.name)).count();
        self.states.div_ceil((self.filesystems.len() * flavours * verbs).max(1))
    }

    /// One state in so many is checked by fsck too.
    fn fsck_every(&self) -> usize {
        if self.nightly { 1 } else { FSCK_EVERY }
    }

    fn wants(&self, verb: &str) -> bool {
        self.verb.as_ref().is_none_or(|wanted| wanted == verb)
    }

    /// The arguments of `cargo xtask crash` that ask for the same.
    fn arguments(&self) -> Vec<String> {
        let filesystems: Vec<_> = self.filesystems.iter().map(|known| known.name()).collect();
        let mut arguments = vec![
            format!("--filesystem={}", filesystems.join(",")),
            format!("--states={}", self.states),
            format!("--seed={}", self.seed),
        ];
        arguments.extend(self.nightly.then(|| "--nightly".to_owned()));
        arguments.extend(self.verb.iter().map(|verb| format!("--verb={verb}")));
        arguments
    }
}
