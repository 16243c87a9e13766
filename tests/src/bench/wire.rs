//! Updates on the wire: what a machine fetches that has the version before, of a server that only has files.
//!
//! ```text
//! two versions of one Debian package → two trees → two images → nginx ─┬→ layerctl upgrade --download-only
//!                                                                      └→ casync, zsync, a file by zstd or xdelta3
//! ```
//!
//! Bytes are those of nginx's log, requests and answers with their heads, over HTTP.
#![expect(clippy::disallowed_methods, reason = "measures time")]

mod peers;
mod server;
mod trees;

use super::BenchError;
use super::figure::{Figure, Goal, Unit};
use super::machines::Format;
use crate::base::Tree;
use crate::files;
use crate::process;
use crate::programs::Programs;
use crate::workspace::Workspace;
use peers::Peer;
use server::{Server, Traffic};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use trees::{Kind, Pair, Trees};

/// The part of an image that may be fetched for one package that changed, in percent.
const GOAL: f64 = 5.0;

/// What is updated, in which formats.
const FORMATS: [Format; 2] = [Format::Squashfs, Format::Erofs];

/// One pair of images, with a store that has the older one.
struct Case {
    layerctl: PathBuf,
    /// Below the tree of the peers.
    dir: PathBuf,
}

/// Every pair of versions in both formats: ours, a whole download, and the peers.
pub(super) fn wire(
    workspace: &Workspace,
    programs: &Programs,
    tree: &Tree,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let trees = Trees::make(workspace, tree)?;
    let mut figures = Vec::new();
    for pair in trees.pairs() {
        for format in FORMATS {
            let case = Case::make(programs, &trees, pair, format)?;
            figures.extend(case.measure(&trees, pair, format, runs)?);
            files::remove_tree(&case.dir)?;
        }
    }
    trees.remove()?;
    Ok(figures)
}

impl Case {
    fn make(
        programs: &Programs,
        trees: &Trees,
        pair: &Pair,
        format: Format,
    ) -> Result<Self, BenchError> {
        let dir = trees.peers().join("w/case");
        files::make_empty_dir(&dir)?;
        let case = Self { layerctl: programs.layerctl.clone(), dir };
        for directory in ["served", "root"] {
            files::make_dir(&case.dir.join(directory))?;
        }
        case.build(&pair.old, "1", pair.kind, format, &case.old())?;
        case.build(&pair.new, "2", pair.kind, format, &case.new_image())?;
        process::run(case.layerctl().args(["repo", "index"]).arg(case.dir.join("served")))?;
        process::run(case.layerctl().arg("init"))?;
        match pair.kind {
            Kind::Base => process::run(case.layerctl().args(["base", "import"]).arg(case.old()))?,
            Kind::Layer => {
                let base = case.dir.join("base.img");
                case.build(&trees.base(), "1", Kind::Base, format, &base)?;
                process::run(case.layerctl().args(["base", "import"]).arg(&base))?;
                files::remove_file(&base)?;
                process::run(case.layerctl().arg("install").arg(case.old()))?;
            }
        }
        Ok(case)
    }

    fn build(
        &self,
        tree: &Path,
        version: &str,
        kind: Kind,
        format: Format,
        to: &Path,
    ) -> Result<(), BenchError> {
        let mut build = process::command(&self.layerctl);
        build.arg("build").arg(tree).args(["--name", kind.name(), "--version", version]);
        build.args(["--format", format.name()]).arg("-o").arg(to);
        if kind == Kind::Base {
            build.args(["--kind", "base"]);
        }
        Ok(process::run(&mut build)?)
    }

    fn layerctl(&self) -> Command {
        let mut command = process::command(&self.layerctl);
        command.arg("--root").arg(self.dir.join("root"));
        command
    }

    fn old(&self) -> PathBuf {
        self.dir.join("old.img")
    }

    fn new_image(&self) -> PathBuf {
        self.dir.join("served/new.img")
    }

    fn blocks(&self) -> PathBuf {
        self.dir.join("served/new.img.blocks")
    }

    /// One download into the store, with the repository's block index or without; traffic and seconds.
    fn update(&self, server: &Server, indexed: bool) -> Result<(Traffic, f64), BenchError> {
        let aside = self.dir.join("aside");
        if !indexed {
            files::rename(&self.blocks(), &aside)?;
        }
        let nginx = server.serve(&self.dir.join("served"))?;
        let start = Instant::now();
        let done = process::run(self.layerctl().args(["upgrade", "--download-only"]));
        let seconds = start.elapsed().as_secs_f64();
        let traffic = nginx.finish()?;
        if !indexed {
            files::rename(&aside, &self.blocks())?;
        }
        done?;
        self.check_and_forget()?;
        Ok((traffic, seconds))
    }

    /// The store has the very image; then no more.
    fn check_and_forget(&self) -> Result<(), BenchError> {
        let sum = process::read(process::command("sha256sum").arg(self.new_image()))?;
        let sum = String::from_utf8_lossy(&sum);
        let digest = sum.split(' ').next().unwrap_or_default().to_owned();
        let stored = self.dir.join("root/layerctl/store").join(format!("{digest}.img"));
        process::run(process::command("cmp").arg(&stored).arg(self.new_image()))?;
        Ok(process::run(self.layerctl().args(["cleanup"]))?)
    }

    fn measure(
        &self,
        trees: &Trees,
        pair: &Pair,
        format: Format,
        runs: usize,
    ) -> Result<Vec<Figure>, BenchError> {
        let server = Server::new(&self.dir)?;
        let nginx = server.serve(&self.dir.join("served"))?;
        process::run(self.layerctl().args(["repo", "add", "main", &server.url()]))?;
        nginx.finish()?;
        // The repository's own index is known from here on, as on a machine that looks for updates daily.
        let (mut ours, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            ours.push(self.update(&server, true)?);
            whole.push(self.update(&server, false)?);
        }
        let what = format!("{}, {}, {} replaced", pair.kind.name(), format.name(), pair.package);
        let size = files::size(&self.new_image())? as f64;
        let share = |bytes: f64| bytes / size * 100.0;
        let bytes = |all: &[(Traffic, f64)]| all.iter().map(|(it, _)| it.bytes as f64).collect();
        let ours_bytes: Vec<f64> = bytes(&ours);
        let mut figures = vec![
            Figure::median(
                format!("{what}: fetched ÷ image"),
                ours_bytes.iter().map(|&bytes| share(bytes)).collect(),
                Unit::Percent,
            )
            .goal(Goal::AtMost(GOAL)),
        ];
        for peer in Peer::ALL {
            let bytes = peer.fetch(&trees.peers(), &server, &self.dir)?;
            let row = format!("… {}", peer.name());
            figures.push(Figure::exact(row, share(bytes as f64), Unit::Percent));
        }
        let ratios = ours.iter().zip(&whole).map(|((_, ours), (_, whole))| ours / whole);
        let requests = ours.iter().map(|(traffic, _)| traffic.requests as f64).collect();
        figures.extend([
            Figure::median(
                "… layerctl without the block index",
                {
                    let whole: Vec<f64> = bytes(&whole);
                    whole.iter().map(|&bytes| share(bytes)).collect()
                },
                Unit::Percent,
            ),
            Figure::median("… bytes fetched", ours_bytes, Unit::Bytes),
            Figure::exact("… bytes of the image", size, Unit::Bytes),
            Figure::exact(
                "… bytes of the block index",
                files::size(&self.blocks())? as f64,
                Unit::Bytes,
            ),
            Figure::median("… requests", requests, Unit::Count),
            Figure::median(
                format!("{what}: time ÷ that of a whole download, on loopback"),
                ratios.collect(),
                Unit::Times,
            ),
        ]);
        Ok(figures)
    }
}
