//! Trees in two versions: the test base, and a layer of git, with one package of theirs replaced by the version that Debian had
//! before.

use super::peers;
use crate::base::Tree;
use crate::bench::BenchError;
use crate::files;
use crate::packages;
use crate::process;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages of the base, one large and one small, of which Debian has two versions for most of a release's life.
const IN_BASE: [&str; 2] = ["libssl3t64", "liblzma5"];

/// The layer's package, and the one of those that it needs which is replaced.
const LAYER: (&str, &str) = ("git", "libcurl3t64-gnutls");

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole system.
    Base,
    /// Files for one.
    Layer,
}

/// A tree in two versions.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// What it is.
    pub(super) kind: Kind,
    /// The package that differs.
    pub(super) package: &'static str,
    /// The tree with its older version.
    pub(super) old: PathBuf,
    /// The tree with its newer version.
    pub(super) new: PathBuf,
}

/// All trees, and one with the peers.
pub(super) struct Trees {
    dir: PathBuf,
    pairs: Vec<Pair>,
}

impl Kind {
    /// The image's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Layer => "git",
        }
    }
}

impl Trees {
    /// Makes them. A package of which the mirror has one version only is left out. Needs root: dpkg runs in a chroot.
    pub(super) fn make(workspace: &Workspace, tree: &Tree) -> Result<Self, BenchError> {
        let dir = workspace.target().join("bench/wire");
        files::make_empty_dir(&dir)?;
        let mut trees = Self { dir, pairs: Vec::new() };
        trees.bases(workspace, tree)?;
        trees.layers(workspace, tree)?;
        trees.add_peers(workspace, tree)?;
        Ok(trees)
    }

    /// The pairs, in the order of the report.
    pub(super) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// A base.
    pub(super) fn base(&self) -> PathBuf {
        self.dir.join("base-old")
    }

    /// A base with the peers in it.
    pub(super) fn peers(&self) -> PathBuf {
        self.dir.join("peers")
    }

    /// Takes all of it away.
    pub(super) fn remove(self) -> Result<(), BenchError> {
        Ok(files::remove_tree(&self.dir)?)
    }

    fn bases(&mut self, workspace: &Workspace, tree: &Tree) -> Result<(), BenchError> {
        let old = self.base();
        files::make_dir(&old)?;
        let mut unpack = process::command("tar");
        unpack.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xf"]).arg(&tree.tar);
        process::run(unpack.arg("-C").arg(&old))?;
        // Packages as files are no part of a system, and no two of them have a block in common.
        let archives = files::list(&old.join("var/cache/apt/archives"))?;
        archives
            .iter()
            .filter(|path| is_deb(path))
            .try_for_each(|path| files::remove_file(path))?;
        for package in IN_BASE {
            if let [first, _, ..] = packages::versions(workspace, tree, package)?.as_slice() {
                install(&old, first)?;
            }
        }
        for package in IN_BASE {
            if let [_, .., last] = packages::versions(workspace, tree, package)?.as_slice() {
                let new = self.dir.join(format!("base-{package}"));
                copy(&old, &new)?;
                install(&new, last)?;
                self.pairs.push(Pair { kind: Kind::Base, package, old: old.clone(), new });
            }
        }
        Ok(())
    }

    fn layers(&mut self, workspace: &Workspace, tree: &Tree) -> Result<(), BenchError> {
        let (name, package) = LAYER;
        let versions = packages::versions(workspace, tree, package)?;
        let [first, .., last] = versions.as_slice() else { return Ok(()) };
        let (old, new) = (self.dir.join("layer-old"), self.dir.join("layer-new"));
        for unpacked in packages::unpack(workspace, tree, &[name])? {
            for (to, deb) in [(&old, first), (&new, last)] {
                copy(&unpacked.tree, to)?;
                process::run(process::command("dpkg-deb").arg("-x").arg(deb).arg(to))?;
            }
        }
        self.pairs.push(Pair { kind: Kind::Layer, package, old, new });
        Ok(())
    }

    fn add_peers(&self, workspace: &Workspace, tree: &Tree) -> Result<(), BenchError> {
        copy(&self.base(), &self.peers())?;
        for unpacked in packages::unpack(workspace, tree, &peers::PACKAGES)? {
            copy(&unpacked.tree, &self.peers())?;
        }
        Ok(())
    }
}

fn is_deb(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "deb")
}

/// Copies what is in a tree into another, which may be there.
fn copy(from: &Path, to: &Path) -> Result<(), BenchError> {
    files::make_dir(to)?;
    Ok(process::run(process::command("cp").arg("-a").arg(from.join(".")).arg(to))?)
}

/// Has the tree's own dpkg install a package.
fn install(tree: &Path, deb: &Path) -> Result<(), BenchError> {
    let inside = tree.join("tmp/package.deb");
    files::copy(deb, &inside)?;
    let mut command: Command = process::command("chroot");
    command.arg(tree).args(["dpkg", "--force-downgrade", "--install", "/tmp/package.deb"]);
    process::run(command.env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(files::remove_file(&inside)?)
}
