//! The regression gate: figures that are the same in each run, held against those of a file in the repository.
//!
//! ```text
//! programs, initramfs, images of fixed trees → sizes          ┐
//! verbs on a fixed store, under strace       → bytes, flushes ├→ Figures ─→ compare (pure) → Report
//! commands there, under callgrind            → instructions   ┘                ↑
//!                                                 tests/gate.toml → Baseline ──┘
//! ```
//!
//! Times are no figures here: they differ from minute to minute, and `cargo xtask bench` has them.

mod baseline;
mod instructions;
mod scene;

pub use baseline::{Baseline, BaselineError, Figures, Report};

use crate::artefacts::{Artefacts, ArtefactsError};
use crate::files::{self, FileError};
use crate::process::ProcessError;
use crate::workspace::Workspace;
use crate::written;
use scene::Scene;
use std::path::PathBuf;

/// Why nothing could be measured or compared.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The programs, or what they are put into, could not be built.
    #[error(transparent)]
    Artefacts(#[from] ArtefactsError),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The baseline is not understood.
    #[error("{}: {source}", .path.display())]
    Baseline {
        /// Its file.
        path: PathBuf,
        /// Where and why.
        source: BaselineError,
    },
    /// valgrind ended well and told no count.
    #[error("valgrind counted no instructions of `layerctl {command}`\n{said}")]
    NoCount {
        /// The command.
        command: String,
        /// What it wrote.
        said: String,
    },
}

/// Changes whose writes are counted, one after the other on the same store.
const CHANGES: [&str; 6] = [
    "base import base.img",
    "install payload-squashfs.img",
    "set create web payload",
    "rollback",
    "uninstall layer-3",
    "cleanup --keep 3",
];

/// Commands whose instructions are counted, each on a store of 26 generations, the last with 128 layers. None of them mounts
/// anything: valgrind does not know the system calls for that.
const COMMANDS: [&str; 7] = [
    "status --json",
    "plan",
    "plan --cmdline layers.set=none",
    "history",
    "verify",
    "kargs --append quiet",
    "cleanup --dry-run",
];

/// Measures everything.
pub fn measure(workspace: &Workspace) -> Result<Figures, GateError> {
    let artefacts = Artefacts::build(workspace)?;
    eprintln!("xtask: making the store");
    let scene = Scene::make(&artefacts.layerctl)?;
    let mut figures = sizes(&artefacts, &scene)?;
    eprintln!("xtask: counting instructions");
    // Before the changes, which make another store of it.
    for (command, count) in instructions::count(&scene, &COMMANDS)? {
        figures.set(format!("{command}: instructions"), count);
    }
    eprintln!("xtask: counting writes");
    figures.extend(writes(&scene)?);
    Ok(figures)
}

/// Sizes in bytes.
fn sizes(artefacts: &Artefacts, scene: &Scene) -> Result<Figures, GateError> {
    let mut figures = Figures::default();
    for (name, path) in [
        ("init", artefacts.init.clone()),
        ("layerctl", artefacts.layerctl.clone()),
        ("initramfs", artefacts.initrd.clone()),
        ("squashfs of the fixed tree", scene.path("payload-squashfs.img")),
        ("EROFS of the fixed tree", scene.path("payload-erofs.img")),
    ] {
        figures.set(format!("{name}: bytes"), files::size(&path)?);
    }
    Ok(figures)
}

/// What changes write and flush.
fn writes(scene: &Scene) -> Result<Figures, GateError> {
    let mut figures = Figures::default();
    for change in CHANGES {
        let mut command = scene.command(change);
        let log = scene.path("strace.log");
        let found = written::run::<GateError>(&mut command, &scene.path("state"), &log)?;
        figures.set(format!("{change}: bytes to images"), found.images);
        figures.set(format!("{change}: bytes to records"), found.records);
        figures.set(format!("{change}: flushes"), found.flushes);
    }
    Ok(figures)
}

/// The file with the baseline.
fn file(workspace: &Workspace) -> PathBuf {
    workspace.root().join("tests/gate.toml")
}

/// Holds figures against the baseline.
pub fn compare(workspace: &Workspace, figures: &Figures) -> Result<Report, GateError> {
    Ok(load(workspace)?.compare(figures))
}

fn load(workspace: &Workspace) -> Result<Baseline, GateError> {
    let path = file(workspace);
    let text = files::read_text(&path)?;
    Baseline::parse(&text).map_err(|source| GateError::Baseline { path, source })
}

/// Makes figures the baseline, and gives where it is; what is allowed above it stays as it was.
pub fn renew(workspace: &Workspace, figures: Figures) -> Result<PathBuf, GateError> {
    let path = file(workspace);
    let slack = if files::exists(&path) { load(workspace)?.slack() } else { baseline::USUAL_SLACK };
    files::write(&path, Baseline::new(slack, figures).to_string())?;
    Ok(path)
}
