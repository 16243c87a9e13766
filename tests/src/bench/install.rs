//! What an installation costs beside a plain copy, and that a rollback writes no image.
#![expect(clippy::disallowed_methods, reason = "measures time, reads /proc")]

use super::BenchError;
use super::figure::{Figure, Goal, Unit};
use super::machines::Machines;
use super::store::{self, Store};
use crate::files;
use crate::process;
use crate::programs::Programs;
use crate::workspace::Workspace;
use crate::written;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// The layer's size in MiB; random bytes, which no compression makes smaller.
const SIZE: u32 = 500;

/// A store and a layer beside it, on the file system that holds target/.
struct Bench {
    store: Store,
    dir: PathBuf,
    layer: PathBuf,
}

impl Bench {
    fn new(
        workspace: &Workspace,
        programs: &Programs,
        machines: &Machines,
    ) -> Result<Self, BenchError> {
        let dir = workspace.target().join("bench/install");
        files::make_empty_dir(&dir)?;
        let (tree, layer) = (dir.join("tree"), dir.join("large_1.img"));
        let content = tree.join("usr/share/large");
        files::make_dir(&content)?;
        let random = format!("head -c {SIZE}M /dev/urandom > '{}'", content.join("data").display());
        process::run(process::command("sh").args(["-c", &random]))?;
        store::pack(&programs.layerctl, &tree, "large", &layer)?;
        let store = Store::with_base(&programs.layerctl, dir.join("root"), &machines.base())?;
        Ok(Self { store, dir, layer })
    }

    /// Installs the layer; seconds.
    fn install(&self) -> Result<f64, BenchError> {
        time(self.store.layerctl().arg("install").arg(&self.layer))
    }

    /// Takes the layer out of the store and everything to disk, so that each run finds the same.
    fn forget(&self) -> Result<(), BenchError> {
        process::run(self.store.layerctl().args(["uninstall", "large"]))?;
        process::run(self.store.layerctl().args(["cleanup", "--keep", "1"]))?;
        self.settle()
    }

    fn copy(&self) -> PathBuf {
        self.dir.join("copy.img")
    }

    /// Everything is on disk and the layer in memory.
    fn settle(&self) -> Result<(), BenchError> {
        files::remove_file(&self.copy())?;
        process::run(process::command("sync").arg("-f").arg(&self.dir))?;
        Ok(process::run(process::command("cat").arg(&self.layer))?)
    }
}

fn time(command: &mut Command) -> Result<f64, BenchError> {
    let start = Instant::now();
    process::run(command)?;
    Ok(start.elapsed().as_secs_f64())
}

/// `layerctl install`, which flushes, beside `cp` and `sha256sum` with and without a flush.
pub(super) fn install(
    workspace: &Workspace,
    programs: &Programs,
    machines: &Machines,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let bench = Bench::new(workspace, programs, machines)?;
    let (from, to) = (bench.layer.display(), bench.copy());
    let plain = format!("cp '{from}' '{0}' && sha256sum '{from}'", to.display());
    let flushed = format!("{plain} && sync '{}'", to.display());
    let shell = |script: &str| -> Result<f64, BenchError> {
        bench.settle()?;
        time(process::command("sh").args(["-c", script]))
    };
    let (mut ours, mut copies, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=runs {
        copies.push(shell(&plain)?);
        flushes.push(shell(&flushed)?);
        bench.settle()?;
        ours.push(bench.install()?);
        bench.forget()?;
        eprintln!("xtask: run {run}, install: {:.2} s", ours.last().unwrap_or(&0.0));
    }
    let against =
        |others: &[f64]| ours.iter().zip(others).map(|(ours, other)| ours / other).collect();
    let (to_copies, to_flushes) = (against(&copies), against(&flushes));
    let name = format!("install of a layer of {SIZE} MiB");
    files::remove_tree(&bench.dir)?;
    Ok(vec![
        Figure::median(name.as_str(), ours, Unit::Seconds),
        Figure::median("cp and sha256sum of it", copies, Unit::Seconds),
        Figure::median("cp, sha256sum and sync of it", flushes, Unit::Seconds),
        Figure::median(format!("{name} ÷ cp, sha256sum and sync"), to_flushes, Unit::Times)
            .goal(Goal::AtMost(1.2)),
        Figure::median(format!("{name}, flushed ÷ cp and sha256sum, not"), to_copies, Unit::Times),
    ])
}

/// What a rollback writes, by the kernel's count, and which files of the store it touches.
pub(super) fn rollback(
    workspace: &Workspace,
    programs: &Programs,
    machines: &Machines,
) -> Result<Vec<Figure>, BenchError> {
    let bench = Bench::new(workspace, programs, machines)?;
    bench.install()?;
    let images = bench.store.images()?;
    let stamps =
        || images.iter().map(|image| files::modified(image)).collect::<Result<Vec<_>, _>>();
    let before = stamps()?;
    let trace = bench.dir.join("trace");
    let wrote = written::run::<BenchError>(
        bench.store.layerctl().arg("rollback"),
        bench.store.root(),
        &trace,
    )?;
    let changed = before.iter().zip(&stamps()?).filter(|(before, after)| before != after).count();
    let same = bench.store.images()? == images;
    files::remove_tree(&bench.dir)?;
    Ok(vec![
        Figure::exact("bytes that a rollback writes to images", wrote.images as f64, Unit::Bytes)
            .goal(Goal::AtMost(0.0)),
        Figure::exact(
            "images that a rollback changes, adds or removes",
            if same { changed as f64 } else { f64::INFINITY },
            Unit::Count,
        )
        .goal(Goal::AtMost(0.0)),
        Figure::exact("bytes that a rollback writes", wrote.bytes() as f64, Unit::Bytes),
    ])
}
