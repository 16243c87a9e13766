//! A store with one base in a directory of the host, as `layerctl --root` takes it.

use super::BenchError;
use crate::files;
use crate::process;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The store, and who changes it.
pub(super) struct Store {
    layerctl: PathBuf,
    root: PathBuf,
}

impl Store {
    /// Makes one in the directory `root`, whose generation has `base` alone.
    pub(super) fn with_base(
        layerctl: &Path,
        root: PathBuf,
        base: &Path,
    ) -> Result<Self, BenchError> {
        files::make_dir(&root)?;
        let store = Self { layerctl: layerctl.to_owned(), root };
        process::run(store.layerctl().arg("init"))?;
        let import = ["base", "import", "--name", "debian", "--version", "13"];
        process::run(store.layerctl().args(import).arg(base))?;
        Ok(store)
    }

    /// layerctl, at work on this store.
    pub(super) fn layerctl(&self) -> Command {
        let mut command = process::command(&self.layerctl);
        command.arg("--root").arg(&self.root);
        command
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Its images and their manifests.
    pub(super) fn images(&self) -> Result<Vec<PathBuf>, BenchError> {
        Ok(files::list(&self.root.join("layerctl/store"))?)
    }
}

/// Packs `tree` as version 1 of the layer `name`, and removes the tree.
pub(super) fn pack(
    layerctl: &Path,
    tree: &Path,
    name: &str,
    image: &Path,
) -> Result<(), BenchError> {
    let mut build = process::command(layerctl);
    build.arg("build").arg(tree).args(["--name", name, "--version", "1"]);
    process::run(build.arg("-o").arg(image))?;
    Ok(files::remove_tree(tree)?)
}
