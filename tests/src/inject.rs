//! Faults in system calls: each call of each verb of layerctl fails once with EIO and once with ENOSPC, and the process is
//! killed once before it. strace does it (`-e inject`), on small stores in memory.
//!
//! ```text
//! verb → run under strace → its calls → (call, fault) … → run, look, try again, clean up → verdict
//! ```
//!
//! What must hold after each: the process ended by itself with one error, or well; the store is the old or the new one, and
//! what was said of it is true; the same command succeeds when it is typed again; a cleanup leaves nothing behind.

mod call;
mod fault;
mod images;
mod judge;
mod place;
mod report;
mod seen;
mod trial;
mod verb;

pub use report::Report;

use crate::files::{self, FileError};
use crate::process::ProcessError;
use crate::seed::Seed;
use fault::{Case, Victim};
use place::Place;
use report::Row;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use trial::{Trial, Verdict};
use verb::{VERBS, Verb};

/// Runs side by side on two processors: each waits most of its time for the kernel to take mounts and loop devices away.
const WORKERS: usize = 4;

/// How many faults of layerctl's own calls a sample has for each verb.
const SAMPLE: usize = 24;

/// How many faults of the calls of a program that it starts.
const SAMPLE_OF_PROGRAM: usize = 6;

/// Why no faults could be tried.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program is missing.
    #[error("{0} is not installed")]
    NoProgram(&'static str),
    /// There is no verb of this name in the table.
    #[error("no verb has {0:?} in its name; there are: {1}")]
    NoVerb(String, String),
    /// The store that a verb is to find cannot be made.
    #[error("{verb}: `layerctl {command}` failed\n{said}")]
    Before {
        /// The verb.
        verb: &'static str,
        /// What was done before it.
        command: String,
        /// What it said.
        said: String,
    },
    /// A verb fails without a fault.
    #[error("{verb} fails without a fault, or was not seen by strace\n{said}")]
    Verb {
        /// The verb.
        verb: &'static str,
        /// What it said.
        said: String,
    },
}

/// What to try.
#[derive(Debug, Clone)]
pub struct Options {
    /// Every fault, not a sample.
    pub all: bool,
    /// What the sample follows from.
    pub seed: u64,
    /// The verbs with this in their names alone.
    pub verb: Option<String>,
}

/// Tries faults in the verbs of the program `layerctl`.
pub fn run(layerctl: &Path, options: &Options) -> Result<Report, InjectError> {
    let wanted = options.verb.as_deref().unwrap_or_default();
    let verbs: Vec<&Verb> = VERBS.iter().filter(|verb| verb.name.contains(wanted)).collect();
    if verbs.is_empty() {
        let names: Vec<_> = VERBS.iter().map(|verb| verb.name).collect();
        return Err(InjectError::NoVerb(wanted.to_owned(), names.join(", ")));
    }
    // In memory: thousands of stores are made and thrown away.
    let dir = tempfile::Builder::new()
        .prefix("layerctl-inject-")
        .tempdir_in("/dev/shm")
        .map_err(|error| FileError::new("make a directory in", Path::new("/dev/shm"), error))?;
    images::make(layerctl, dir.path())?;
    let mut seed = Seed::new(options.seed);
    let mut report = Report::new(options);
    for verb in verbs {
        let trial = Trial::new(verb, layerctl, dir.path())?;
        let cases = choose(&trial, options.all, &mut seed);
        let verdicts = try_all(&trial, cases, layerctl, dir.path())?;
        let row = Row::new(verb.name, trial.cases.len(), &verdicts);
        eprintln!("xtask: {row}");
        report.rows.push(row);
    }
    files::remove_tree(dir.path())?;
    Ok(report)
}

fn choose(trial: &Trial, all: bool, seed: &mut Seed) -> Vec<Case> {
    let cases = trial.cases.clone();
    if all {
        return cases;
    }
    let (own, others): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(|case| case.victim == Victim::Layerctl);
    let mut chosen = seed.sample(own, SAMPLE);
    chosen.extend(seed.sample(others, SAMPLE_OF_PROGRAM));
    chosen
}

/// Tries the cases, side by side; the verdicts come in any order.
fn try_all(
    trial: &Trial,
    cases: Vec<Case>,
    layerctl: &Path,
    dir: &Path,
) -> Result<Vec<(Case, Verdict)>, InjectError> {
    let todo = Mutex::new(cases.into_iter());
    let next = || todo.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = |number: usize| {
        let place = Place::new(dir.join(format!("place-{number}")), layerctl);
        let mut verdicts = Vec::new();
        while let Some(case) = next() {
            let verdict = trial.try_case(&case, &place)?;
            verdicts.push((case, verdict));
        }
        Ok(verdicts)
    };
    let results: Vec<Result<Vec<_>, InjectError>> = std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> =
            (0..WORKERS).map(|number| scope.spawn(move || work(number))).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    results
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map(|all| all.into_iter().flatten().collect())
}
