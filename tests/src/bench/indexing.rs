//! What it takes to make the index of 100,000 entries: one change of the kernel arguments with it beside the same without, and
//! what share of an installation that is.
#![expect(clippy::disallowed_methods, reason = "measures time")]

use super::BenchError;
use super::figure::{Figure, Goal, Unit};
use super::machines::Machines;
use super::store::{self, Store};
use crate::files;
use crate::process;
use crate::programs::Programs;
use crate::workspace::Workspace;
use std::path::PathBuf;
use std::time::Instant;

/// The layers, each with so many directories of so many files; the base brings some 10,000 entries more.
const LAYERS: usize = 9;
const DIRECTORIES: usize = 100;
const FILES: usize = 100;

/// The store that has the base alone, and the one that has all layers and no index.
const EMPTY: &str = "empty";
const FULL: &str = "full";

/// Stores that are copied for each run: what was indexed once is not indexed again.
struct Bench {
    layerctl: PathBuf,
    dir: PathBuf,
    layers: Vec<PathBuf>,
}

impl Bench {
    fn new(
        workspace: &Workspace,
        programs: &Programs,
        machines: &Machines,
    ) -> Result<Self, BenchError> {
        let dir = workspace.target().join("bench/index");
        files::make_empty_dir(&dir)?;
        let mut bench = Self { layerctl: programs.layerctl.clone(), dir, layers: Vec::new() };
        for number in 0..LAYERS {
            let layer = bench.layer(&format!("layer-{number}"))?;
            bench.layers.push(layer);
        }
        files::write(&bench.dir.join("without.toml"), "[boot]\nindex = false\n")?;
        Store::with_base(&bench.layerctl, bench.dir.join(EMPTY), &machines.base())?;
        bench.change(EMPTY, &bench.without(), &bench.install())?;
        files::rename(&bench.dir.join("root"), &bench.dir.join(FULL))?;
        Ok(bench)
    }

    fn layer(&self, name: &str) -> Result<PathBuf, BenchError> {
        let (tree, image) = (self.dir.join(name), self.dir.join(format!("{name}_1.img")));
        for directory in 0..DIRECTORIES {
            let directory = tree.join(format!("usr/share/{name}/directory-{directory}"));
            files::make_dir(&directory)?;
            for file in 0..FILES {
                files::write(&directory.join(format!("file-{file}")), "x".repeat(file + 1))?;
            }
        }
        store::pack(&self.layerctl, &tree, name, &image)?;
        Ok(image)
    }

    fn install(&self) -> Vec<PathBuf> {
        [PathBuf::from("install")].iter().chain(&self.layers).cloned().collect()
    }

    /// The options of a change that makes no index.
    fn without(&self) -> [PathBuf; 2] {
        ["--config".into(), self.dir.join("without.toml")]
    }

    /// Changes a copy of a store; seconds.
    fn change(
        &self,
        store: &str,
        options: &[PathBuf],
        words: &[PathBuf],
    ) -> Result<f64, BenchError> {
        let (store, root) = (self.dir.join(store), self.dir.join("root"));
        files::remove_tree(&root)?;
        process::run(process::command("cp").arg("-a").arg(&store).arg(&root))?;
        process::run(process::command("sync").arg("-f").arg(&self.dir))?;
        let mut command = process::command(&self.layerctl);
        command.arg("--root").arg(&root).args(options).args(words);
        let start = Instant::now();
        process::run(&mut command)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// The length of the index that the last run made.
    fn length(&self) -> Result<u64, BenchError> {
        let mut length = 0;
        for manifest in files::list(&self.dir.join("root/layerctl/store"))? {
            let is_manifest = manifest.extension().is_some_and(|ending| ending == "toml");
            if is_manifest && files::read_text(&manifest)?.contains("kind = \"index\"") {
                length = files::size(&manifest.with_extension("img"))?;
            }
        }
        Ok(length)
    }
}

/// Changes of stores with many small files, with an index and without.
pub(super) fn indexing(
    workspace: &Workspace,
    programs: &Programs,
    machines: &Machines,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let bench = Bench::new(workspace, programs, machines)?;
    let (install, without) = (bench.install(), bench.without());
    let small = ["kargs", "--append", "quiet"].map(PathBuf::from);
    let (mut with, mut plain, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        plain.push(bench.change(EMPTY, &without, &install)?);
        with.push(bench.change(EMPTY, &[], &install)?);
        let nothing_else = bench.change(FULL, &without, &small)?;
        more.push(bench.change(FULL, &[], &small)? - nothing_else);
    }
    let mebibytes = bench.length()? as f64 / f64::from(1 << 20);
    files::remove_tree(&bench.dir)?;
    Ok(vec![
        Figure::times("install of 91,000 entries with an index ÷ without", &with, &plain),
        Figure::median(
            "making the index of 100,000 entries, written and flushed",
            more,
            Unit::Seconds,
        )
        .goal(Goal::AtMost(1.0)),
        Figure::median("install of 91,000 entries with an index", with, Unit::Seconds),
        Figure::exact("size of the index", mebibytes, Unit::Mebibytes),
    ])
}
