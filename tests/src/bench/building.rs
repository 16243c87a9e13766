//! Building an image beside the tools that it is built with, and a layer of a package beside other ways to make one.
#![expect(clippy::disallowed_methods, reason = "measures time")]

use super::BenchError;
use super::figure::{Figure, Goal, Unit};
use super::machines::Machines;
use crate::base::{BaseError, Tree};
use crate::crash::own_mounts;
use crate::files;
use crate::mkosi::{deb822, tools_tree};
use crate::process;
use crate::programs::Programs;
use crate::sources::Sources;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The package that layers are made of.
const PACKAGE: &str = "htop";

/// What is compared: a name for the report, the project's way, another, and the goal for the first in terms of the second.
struct Pair {
    name: &'static str,
    ours: &'static str,
    other: &'static str,
    goal: Option<f64>,
}

const fn pair(
    name: &'static str,
    ours: &'static str,
    other: &'static str,
    goal: Option<f64>,
) -> Pair {
    Pair { name, ours, other, goal }
}

const PAIRS: [Pair; 5] = [
    pair("layer as EROFS ÷ mkfs.erofs", "build_erofs", "mkfs_erofs_alone", Some(1.1)),
    pair("layer as squashfs ÷ mksquashfs", "build_squashfs", "mksquashfs_alone", Some(1.1)),
    pair("base as squashfs ÷ mksquashfs", "build_base", "mksquashfs_base", Some(1.1)),
    pair(
        "layer of a package ÷ apt-get in a chroot, mksquashfs",
        "build_package",
        "apt_and_mksquashfs",
        Some(1.3),
    ),
    pair("layer of a package ÷ mkosi's sysext", "build_package", "mkosi_sysext", None),
];

/// The functions that build.
const SCRIPT: &str = include_str!("building.sh");

/// Trees to be packed, caches, and what else the builders are given.
struct Site {
    work: PathBuf,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Site {
    fn new(
        workspace: &Workspace,
        programs: &Programs,
        tree: &Tree,
        machines: &Machines,
    ) -> Result<Self, BenchError> {
        let sources = Sources::of_this_machine().map_err(BaseError::from)?;
        let mkosi = tools_tree::<BenchError>(workspace, &sources)?;
        own_mounts()?;
        let work = workspace.target().join("bench/building");
        let file = |name: &str| work.join(name);
        files::make_empty_dir(&file("work"))?;
        files::write(&file("sources.list"), sources.lines().join("\n") + "\n")?;
        files::write(&file("mkosi.sources"), deb822(&sources))?;
        unpack(&tree.tar, &file("base"), &file("tree"))?;
        let packages = workspace.cache().join("mkosi-packages");
        files::make_dir(&packages)?;
        let variables = vec![
            ("LAYERCTL", programs.layerctl.clone()),
            ("WORK", file("work")),
            ("TREE", file("tree")),
            ("BASE", file("base")),
            ("BASE_IMAGE", machines.base()),
            ("SOURCES", file("sources.list")),
            ("DEB822", file("mkosi.sources")),
            ("MKOSI", mkosi),
            ("MKOSI_PACKAGES", packages),
            ("PACKAGE", PACKAGE.into()),
        ];
        Ok(Self { work, variables })
    }

    fn command(&self, verb: &str) -> Command {
        let mut sh = process::command("sh");
        sh.args(["-euc", &format!("{SCRIPT}\n{verb}\n")]).env("LC_ALL", "C");
        sh.envs(self.variables.iter().map(|(key, value)| (key, value)));
        sh
    }

    /// The seconds that one way takes, with the trees in memory and nothing to write from before.
    fn time(&self, verb: &str) -> Result<f64, BenchError> {
        process::run(&mut self.command("clean"))?;
        let start = Instant::now();
        process::run(&mut self.command(verb))?;
        let took = start.elapsed().as_secs_f64();
        eprintln!("xtask: {verb}: {took:.2} s");
        Ok(took)
    }
}

/// Unpacks the base, and beside it what a large layer has: programs, libraries and data.
fn unpack(tar: &Path, base: &Path, tree: &Path) -> Result<(), BenchError> {
    for dir in [base, &tree.join("usr")] {
        files::make_empty_dir(dir)?;
    }
    process::run(process::command("tar").arg("-xpf").arg(tar).arg("-C").arg(base))?;
    let mut copy = process::command("cp");
    copy.arg("-a").args(["usr/bin", "usr/lib", "usr/share"].map(|dir| base.join(dir)));
    process::run(copy.arg(tree.join("usr")))?;
    Ok(files::remove_tree(&tree.join("usr/lib/modules"))?)
}

/// Each way in turns with the one that it is compared with.
pub(super) fn building(
    workspace: &Workspace,
    programs: &Programs,
    tree: &Tree,
    machines: &Machines,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let site = Site::new(workspace, programs, tree, machines)?;
    process::run(&mut site.command("prepare"))?;
    let mut ratios = Vec::new();
    let mut times = Vec::new();
    for pair in &PAIRS {
        // Once for nothing: what is fetched is in the caches then, and what is read in memory.
        site.time(pair.ours)?;
        site.time(pair.other)?;
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            ours.push(site.time(pair.ours)?);
            others.push(site.time(pair.other)?);
        }
        let each = ours.iter().zip(&others).map(|(ours, other)| ours / other).collect();
        let what = format!("building: {}", pair.name);
        let ratio = Figure::median(what.as_str(), each, Unit::Times);
        ratios.push(match pair.goal {
            Some(goal) => ratio.goal(Goal::AtMost(goal)),
            None => ratio,
        });
        for (way, samples) in [(pair.ours, ours), (pair.other, others)] {
            let way = way.replace('_', " ");
            times.push(Figure::median(format!("… of {what}: {way}"), samples, Unit::Seconds));
        }
    }
    files::remove_tree(&site.work)?;
    ratios.extend(times);
    Ok(ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_a_function_of_the_script() {
        for verb in
            PAIRS.iter().flat_map(|pair| [pair.ours, pair.other]).chain(["clean", "prepare"])
        {
            assert!(SCRIPT.lines().any(|line| line.starts_with(&format!("{verb}() {{"))), "{verb}");
        }
    }
}
