//! Everything that a machine boots: the programs, the base, the initramfs, the layers, a state directory.
//!
//! `cargo xtask` builds them and writes where they are to target/artefacts.json, which the tests read.

use crate::base::{self, BaseError, Builder, Tree};
use crate::cache::{self, Key};
use crate::files::{self, FileError};
use crate::packages::{self, PackagesError, Unpacked};
use crate::process::{self, ProcessError};
use crate::programs::Programs;
use crate::sources::Sources;
use crate::workspace::Workspace;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The packages that layers are made of.
const LAYERS: &[&str] = &["htop", "jq", "tree"];

/// Layers that are made by installing packages, each with those that its programs need with their default settings; the
/// first gives the version.
///
/// They are big, so they are made for the tests that ask for one, and are no part of [`Artefacts::layers`].
const INSTALLED: &[(&str, &[&str])] = &[
    ("authorities", &["ca-certificates"]),
    ("avahi-daemon", &["avahi-daemon"]),
    ("dnf", &["dnf", "rpm"]),
    ("docker", &["docker.io", "docker-cli"]),
    ("ed", &["ed"]),
    ("fonts", &["fontconfig", "fonts-dejavu-core"]),
    ("json", &["jq"]),
    ("nginx", &["nginx"]),
    ("podman", &["podman", "aardvark-dns", "dbus-user-session", "nftables", "passt", "uidmap"]),
    ("yaml", &["python3-yaml"]),
];

/// What the initramfs has modules for.
const ROLES: &str = "virtio,ext4,btrfs,xfs";

/// Why something could not be built, or was not.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactsError {
    /// The base failed.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A layer's files failed.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// There is no recipe for the layer.
    #[error("no layer of that name is made by installing packages: {0}")]
    Unknown(String),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nothing was built yet.
    #[error("nothing is built yet\ntype: cargo xtask test")]
    NotBuilt(#[source] FileError),
    /// The list of what is built is not one.
    #[error("target/artefacts.json is damaged\ntype: cargo xtask test")]
    Damaged(#[from] serde_json::Error),
}

/// Where everything is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Artefacts {
    /// The static command.
    pub layerctl: PathBuf,
    /// PID 1 of the initramfs.
    pub init: PathBuf,
    /// What puts covers to the test in a guest.
    pub covered: PathBuf,
    /// The base's tree of files, where the kernel's modules are.
    pub tree: PathBuf,
    /// The base's kernel.
    pub kernel: PathBuf,
    /// The initramfs with the project's init.
    pub initrd: PathBuf,
    /// The base image.
    pub base: PathBuf,
    /// The same base as EROFS, with its manifest beside it.
    pub erofs_base: PathBuf,
    /// The layer images, each with its manifest beside it, in a directory of their own.
    pub layers: PathBuf,
    /// A directory to fill a state file system with: an initialised store with the base in it.
    pub state: PathBuf,
}

impl Artefacts {
    /// Builds what is not up to date, and writes the list that [`load`](Self::load) reads.
    pub fn build(workspace: &Workspace) -> Result<Self, ArtefactsError> {
        let programs = Programs::build(workspace)?;
        let tree = Tree::build(workspace, Builder::Mmdebstrap)?;
        let base = base::image(workspace, &tree, &programs)?;
        let unpacked = packages::unpack(workspace, &tree, LAYERS)?;
        let key = Key::new(include_str!("artefacts.rs")).with(files::read(&programs.layerctl)?);
        let built = Self {
            kernel: tree.kernel(),
            initrd: initrd(workspace, &key, &programs, &tree)?,
            layers: layer_images(workspace, &key, &programs, &unpacked)?,
            state: state(workspace, &key, &programs, &base)?,
            erofs_base: erofs_base(workspace, &key, &programs, &base)?,
            base,
            tree: tree.root,
            init: programs.init,
            covered: programs.covered,
            layerctl: programs.layerctl,
        };
        files::write(&list(workspace), serde_json::to_vec_pretty(&built)?)?;
        Ok(built)
    }

    /// Reads where the things are that [`build`](Self::build) made.
    pub fn load(workspace: &Workspace) -> Result<Self, ArtefactsError> {
        let text = files::read(&list(workspace)).map_err(ArtefactsError::NotBuilt)?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// The image of the layer made of a package.
    pub fn layer(&self, package: &str) -> Result<PathBuf, FileError> {
        let found = files::list(&self.layers)?.into_iter().find(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(&format!("{package}_")) && name.ends_with(".img")
        });
        found.ok_or_else(|| {
            FileError::new("find a layer in", &self.layers, std::io::ErrorKind::NotFound.into())
        })
    }

    /// The image of a layer that is made by installing packages, with its manifest beside it; made now, or taken from the
    /// cache. The names are those of this file's table.
    pub fn installed_layer(
        &self,
        workspace: &Workspace,
        name: &str,
    ) -> Result<PathBuf, ArtefactsError> {
        let found = INSTALLED.iter().find(|(layer, _)| *layer == name);
        let (_, names) = found.ok_or_else(|| ArtefactsError::Unknown(name.to_owned()))?;
        let key = Key::new(include_str!("artefacts.rs"))
            .with(Sources::of_this_machine().map_err(PackagesError::from)?.lines().join("\n"))
            .with(files::read(&self.layerctl)?)
            .with(path_bytes(&self.base));
        let dir = cache::directory(workspace, &format!("installed/{name}"), &key, |dir| {
            let built = packages::build(workspace, &self.layerctl, &self.base, (name, names), dir);
            built.map(drop).map_err(ArtefactsError::from)
        })?;
        packages::image(&dir)?.ok_or_else(|| ArtefactsError::Unknown(name.to_owned()))
    }
}

/// systemd-boot for a removable disk's EFI/BOOT/BOOTX64.EFI, of the base's release; unpacked now, or taken from the cache.
pub fn boot_loader(workspace: &Workspace) -> Result<PathBuf, ArtefactsError> {
    Ok(systemd_boot(workspace)?.join("systemd-bootx64.efi"))
}

/// systemd-stub for unified kernel images, from the same package.
pub fn stub(workspace: &Workspace) -> Result<PathBuf, ArtefactsError> {
    Ok(systemd_boot(workspace)?.join("linuxx64.efi.stub"))
}

fn systemd_boot(workspace: &Workspace) -> Result<PathBuf, ArtefactsError> {
    let tree = Tree::build(workspace, Builder::Mmdebstrap)?;
    let unpacked = packages::unpack(workspace, &tree, &["systemd-boot-efi"])?;
    let package = unpacked.into_iter().next().map(|package| package.tree).unwrap_or_default();
    Ok(package.join("usr/lib/systemd/boot/efi"))
}

fn list(workspace: &Workspace) -> PathBuf {
    workspace.target().join("artefacts.json")
}

fn initrd(
    workspace: &Workspace,
    key: &Key,
    programs: &Programs,
    tree: &Tree,
) -> Result<PathBuf, ArtefactsError> {
    let key = key.clone().with(files::read(&programs.init)?).with(path_bytes(&tree.root));
    let dir = cache::directory(workspace, "initrd", &key, |dir| {
        let mut command = process::command(&programs.layerctl);
        command.arg("initrd").arg("-o").arg(dir.join("initrd.img")).arg("--modules-from");
        command.arg(&tree.root).arg("--init").arg(&programs.init).args(["--role", ROLES]);
        Ok::<_, ArtefactsError>(process::run(&mut command)?)
    })?;
    Ok(dir.join("initrd.img"))
}

fn layer_images(
    workspace: &Workspace,
    key: &Key,
    programs: &Programs,
    unpacked: &[Unpacked],
) -> Result<PathBuf, ArtefactsError> {
    let trees = unpacked.iter();
    let key = trees.fold(key.clone(), |key, layer| key.with(path_bytes(&layer.tree)));
    cache::directory(workspace, "layers", &key, |dir| {
        for layer in unpacked {
            let file = dir.join(format!("{}_{}_amd64.img", layer.name, layer.version));
            layer_image(&programs.layerctl, layer, &file)?;
        }
        Ok(())
    })
}

fn layer_image(layerctl: &Path, layer: &Unpacked, file: &Path) -> Result<(), ArtefactsError> {
    let mut command = process::command(layerctl);
    command.arg("build").arg(&layer.tree).args(["--name", &layer.name]);
    command.args(["--version", &layer.version]).arg("-o").arg(file);
    Ok(process::run(&mut command)?)
}

fn state(
    workspace: &Workspace,
    key: &Key,
    programs: &Programs,
    base: &Path,
) -> Result<PathBuf, ArtefactsError> {
    cache::directory(workspace, "state", &key.clone().with(path_bytes(base)), |dir| {
        let layerctl = |words: &[&str]| {
            let mut command = process::command(&programs.layerctl);
            command.arg("--root").arg(dir).args(words);
            command
        };
        process::run(&mut layerctl(&["init"]))?;
        process::run(layerctl(&["base", "import"]).arg(base))?;
        Ok(())
    })
}

/// Makes the base anew as EROFS, by way of its files; they are root's where root calls.
fn erofs_base(
    workspace: &Workspace,
    key: &Key,
    programs: &Programs,
    base: &Path,
) -> Result<PathBuf, ArtefactsError> {
    let key = key.clone().with(path_bytes(base));
    let dir = cache::directory(workspace, "erofs", &key, |dir| {
        let tree = dir.join("tree");
        let mut unpack = process::command("unsquashfs");
        process::run(unpack.args(["-no-progress", "-quiet", "-d"]).arg(&tree).arg(base))?;
        let mut build = process::command(&programs.layerctl);
        build.arg("build").arg(&tree).args(["--kind", "base", "--format", "erofs"]);
        build.args(["--name", "debian", "--version", "13-erofs", "-o"]);
        process::run(build.arg(dir.join("base.erofs")))?;
        Ok::<_, ArtefactsError>(files::remove_tree(&tree)?)
    })?;
    Ok(dir.join("base.erofs"))
}

fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}
