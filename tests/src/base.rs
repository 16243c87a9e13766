//! The Debian base: a tree made by mmdebstrap or by mkosi from the same definition, then an image of it.
//!
//! ```text
//! mkosi/mkosi.images/base ─┬→ mmdebstrap ─┐
//! machine's apt sources  ──┴→ mkosi      ─┴→ base.tar ─┬→ root/ (what is needed outside a VM)
//!               the two static programs, units/ ───────┴→ base.squashfs
//! ```

mod compare;
mod definition;
mod mkosi;
mod mmdebstrap;

pub use compare::{Comparison, compare};
pub use definition::{Definition, DefinitionError};

use crate::cache::{self, Key};
use crate::files::{self, FileError};
use crate::process::{self, ProcessError};
use crate::programs::Programs;
use crate::sources::{Sources, SourcesError};
use crate::workspace::Workspace;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Where the project's units are in a tree.
const UNITS: &str = "usr/lib/systemd/system";

/// Why there is no base.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The definition could not be understood.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// No mirror is known.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The tree has no kernel, or more than one.
    #[error("{tree} has {count} kernels in usr/lib/modules, one is expected")]
    Kernels {
        /// The tree's directory.
        tree: PathBuf,
        /// How many there are.
        count: usize,
    },
}

/// The program that makes the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Builder {
    /// Fast, and in every Debian.
    Mmdebstrap,
    /// Needs version 25 or newer: where the machine's is older, one is unpacked from Debian's packages.
    Mkosi,
}

/// A base tree without the project's programs.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The whole tree as one archive.
    pub tar: PathBuf,
    /// The directories of it that are used outside a VM: usr/lib/modules, etc/apt, var/lib/dpkg.
    pub root: PathBuf,
    /// The kernel's version.
    pub kernel_version: String,
}

impl Tree {
    /// Makes the tree, or takes it from the cache.
    pub fn build(workspace: &Workspace, builder: Builder) -> Result<Self, BaseError> {
        let sources = Sources::of_this_machine()?;
        let definition = Definition::load(&workspace.definitions())?;
        let recipe = match builder {
            Builder::Mmdebstrap => include_str!("base/mmdebstrap.rs"),
            Builder::Mkosi => include_str!("base/mkosi.rs"),
        };
        let key = Key::new(recipe)
            .with(include_str!("base.rs"))
            .with(sources.lines().join("\n"))
            .with_tree(&workspace.definitions())?;
        let dir = cache::directory(workspace, "base", &key, |dir| {
            let tar = dir.join("base.tar");
            match builder {
                Builder::Mmdebstrap => mmdebstrap::build(workspace, &definition, &sources, &tar)?,
                Builder::Mkosi => mkosi::build(workspace, &sources, &tar)?,
            }
            extract(&tar, &dir.join("root"))
        })?;
        let root = dir.join("root");
        let kernel_version = kernel_version(&root)?;
        Ok(Self { tar: dir.join("base.tar"), root, kernel_version })
    }

    /// The directory of the kernel's modules.
    pub fn modules(&self) -> PathBuf {
        self.root.join("usr/lib/modules").join(&self.kernel_version)
    }

    /// The kernel image.
    pub fn kernel(&self) -> PathBuf {
        self.modules().join("vmlinuz")
    }
}

fn extract(tar: &Path, root: &Path) -> Result<(), BaseError> {
    files::make_empty_dir(root)?;
    let wanted = ["./usr/lib/modules", "./etc/apt", "./var/lib/dpkg", "./usr/lib/os-release"];
    let mut command = process::command("tar");
    command.arg("-xf").arg(tar).arg("-C").arg(root).arg("--no-same-owner").args(wanted);
    Ok(process::run(&mut command)?)
}

fn kernel_version(root: &Path) -> Result<String, BaseError> {
    let versions = files::list(&root.join("usr/lib/modules"))?;
    match versions.as_slice() {
        [one] => Ok(one.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        _ => Err(BaseError::Kernels { tree: root.to_owned(), count: versions.len() }),
    }
}

/// Makes the base image: the tree with the two programs and their units in it, as squashfs.
pub fn image(
    workspace: &Workspace,
    tree: &Tree,
    programs: &Programs,
) -> Result<PathBuf, BaseError> {
    let tree_key = tree.root.parent().unwrap_or(&tree.root).as_os_str().as_encoded_bytes();
    let key = Key::new(include_str!("base.rs"))
        .with(tree_key)
        .with(files::read(&programs.init)?)
        .with(files::read(&programs.layerctl)?)
        .with_tree(&workspace.units())?;
    let dir = cache::directory(workspace, "image", &key, |dir| {
        let staged = dir.join("programs");
        for (program, place) in [
            (&programs.layerctl, "usr/bin/layerctl"),
            (&programs.init, "usr/lib/layerctl/layers-init"),
        ] {
            let to = staged.join(place);
            files::make_dir(to.parent().unwrap_or(&staged))?;
            files::copy(program, &to)?;
        }
        let units = staged.join(UNITS);
        files::make_dir(units.parent().unwrap_or(&staged))?;
        process::run(process::command("cp").arg("-a").arg(workspace.units()).arg(&units))?;
        let tar = dir.join("base.tar");
        files::copy(&tree.tar, &tar)?;
        append(&tar, &staged)?;
        squash(&tar, &dir.join("base.squashfs"))?;
        files::remove_file(&tar)?;
        Ok::<_, BaseError>(files::remove_tree(&staged)?)
    })?;
    Ok(dir.join("base.squashfs"))
}

/// Adds to an archive what is below a directory; directories that are in the archive already stay as they are.
fn append(tar: &Path, staged: &Path) -> Result<(), BaseError> {
    let mut command = process::command("tar");
    command.arg("-rf").arg(tar).args(["--owner=0", "--group=0", "--numeric-owner"]);
    command.args(["--mode=u=rwX,go=rX", "--no-recursion", "-C"]).arg(staged);
    let listing = process::read(process::command("tar").arg("-tf").arg(tar))?;
    let there: HashSet<_> = listing.split(|&byte| byte == b'\n').collect();
    let is_new = |path: &Path| {
        let name = format!("./{}/", path.display());
        !there.contains(name.as_bytes())
    };
    let added = files::walk(staged)?;
    let paths = added.iter().filter_map(|path| path.strip_prefix(staged).ok());
    Ok(process::run(command.args(paths.filter(|path| is_new(path))))?)
}

/// Level 3 is a quarter larger than level 15 and 25 times as fast to make.
fn squash(tar: &Path, image: &Path) -> Result<(), BaseError> {
    let mut command = process::command("mksquashfs");
    command
        .arg("-")
        .arg(image)
        .args(["-tar", "-comp", "zstd", "-Xcompression-level", "3", "-noappend"])
        // In an archive the top directory has no name, so mksquashfs does not take its mode from there.
        .args(["-root-mode", "0755", "-no-progress", "-quiet"])
        .stdin(files::open(tar)?);
    Ok(process::run(&mut command)?)
}
