//! A state file system in the making: a directory that the real layerctl fills, that a test may damage, and that becomes
//! a disk.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tests::artefacts::Artefacts;
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::tools::find_program;
use tests::vm::{Drive, Filesystem, Guest, Machine, Shell, make_disk};
use tests::workspace::Workspace;

/// Long enough for a boot to init, on a machine that is busy with other things; one takes 5 s where it is not.
pub(crate) const BOOT: Duration = Duration::from_secs(180);

/// Long enough for systemd to reach its default target, or to shut down, on a busy machine; either takes 20 s on an idle one.
pub(crate) const SYSTEMD: Duration = Duration::from_secs(400);

/// The size of a state disk in MiB: the smallest that mkfs.xfs takes, and some room for two bases.
const DISK: u64 = 512;

/// A directory to fill a state disk from, and a place for the disks. Both go with this value.
pub(crate) struct State {
    name: String,
    artefacts: Artefacts,
    place: TempDir,
}

impl State {
    /// A store with the squashfs base as generation 1. `name` names the machines that boot it.
    pub(crate) fn new(name: &str) -> Result<Self, Failure> {
        let state = Self::place(name)?;
        let mut copy = process::command("cp");
        process::run(copy.arg("-a").arg(&state.artefacts.state).arg(state.path("")))?;
        Ok(state)
    }

    /// An empty store.
    pub(crate) fn empty(name: &str) -> Result<Self, Failure> {
        let state = Self::place(name)?;
        files::make_dir(&state.path(""))?;
        state.layerctl(&["init"])?;
        Ok(state)
    }

    fn place(name: &str) -> Result<Self, Failure> {
        let workspace = Workspace::here();
        let artefacts = Artefacts::load(&workspace)?;
        let dir = workspace.machine(name);
        files::make_dir(&dir)?;
        Ok(Self { name: name.to_owned(), artefacts, place: TempDir::new_in(dir)? })
    }

    /// What machines that boot it are called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn artefacts(&self) -> &Artefacts {
        &self.artefacts
    }

    /// A path in the store: below /layerctl of the state file system.
    pub(crate) fn store(&self, path: &str) -> PathBuf {
        self.path("layerctl").join(path)
    }

    /// A path in the state file system.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        let top = self.place.path().join("state");
        if path.is_empty() { top } else { top.join(path) }
    }

    /// A path beside the state, for whatever a test makes.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    /// Runs layerctl on the store.
    pub(crate) fn layerctl(&self, words: &[&str]) -> Result<String, Failure> {
        let mut command = process::command(&self.artefacts.layerctl);
        let output = process::read(command.arg("--root").arg(self.path("")).args(words))?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Installs ready-made layers, one generation for each call.
    pub(crate) fn install(&self, packages: &[&str]) -> Result<(), Failure> {
        let mut words = vec!["install".to_owned()];
        for package in packages {
            words.push(self.artefacts.layer(package)?.display().to_string());
        }
        self.layerctl(&words.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
    }

    /// Installs a layer that is made by installing packages, as a generation of its own.
    pub(crate) fn install_packages(&self, layer: &str) -> Result<(), Failure> {
        let image = self.artefacts.installed_layer(&Workspace::here(), layer)?;
        self.layerctl(&["install", &image.display().to_string()]).map(drop)
    }

    /// Makes an image of files given as (path, text), by `layerctl build` with `options`.
    pub(crate) fn build(
        &self,
        name: &str,
        contents: &[(&str, &str)],
        options: &[&str],
    ) -> Result<PathBuf, Failure> {
        let tree = self.beside(name);
        for (path, text) in contents {
            let path = tree.join(path);
            files::make_dir(path.parent().unwrap_or(&tree))?;
            files::write(&path, text)?;
        }
        let image = self.beside(&format!("{name}.img"));
        let mut command = process::command(&self.artefacts.layerctl);
        command.arg("build").arg(&tree).args(["--name", name, "--version", "1", "-o"]);
        process::run(command.arg(&image).args(options))?;
        Ok(image)
    }

    /// The image in the store of a generation's layer, or of its base where `layer` is `None`.
    pub(crate) fn image(&self, generation: u64, layer: Option<&str>) -> Result<PathBuf, Failure> {
        let status: Value = serde_json::from_str(&self.layerctl(&["status", "--json"])?)?;
        let generations = status["generations"].as_array().unwrap();
        let found = generations.iter().find(|one| one["id"] == generation).unwrap();
        let image = match layer {
            None => &found["base"],
            Some(layer) => {
                let layers = found["layers"].as_array().unwrap();
                layers.iter().find(|one| one["name"] == layer).unwrap()
            }
        };
        Ok(self.store(&format!("store/{}.img", image["digest"].as_str().unwrap())))
    }

    /// Makes the disk with the label `layers`.
    pub(crate) fn disk(&self, filesystem: Filesystem) -> Result<PathBuf, Failure> {
        self.disk_of(filesystem, DISK)
    }

    /// Makes the disk with the label `layers` in another size, in MiB; the file is sparse.
    pub(crate) fn disk_of(
        &self,
        filesystem: Filesystem,
        mebibytes: u64,
    ) -> Result<PathBuf, Failure> {
        let image = self.beside("disk.img");
        make_disk(filesystem, "layers", mebibytes, &self.path(""), &image)?;
        Ok(image)
    }

    /// Makes a disk with copies of these files, which systemd mounts at /layers.
    pub(crate) fn media(&self, files: &[PathBuf]) -> Result<PathBuf, Failure> {
        let from = self.beside("media");
        files::make_dir(&from)?;
        for file in files {
            files::copy(file, &from.join(file.file_name().unwrap_or_default()))?;
        }
        let image = self.beside("media.img");
        make_disk(Filesystem::Ext4, "layermedia", 64, &from, &image)?;
        Ok(image)
    }

    /// An initramfs that has a shell: the host's busybox.
    pub(crate) fn initrd_with_shell(&self) -> Result<PathBuf, Failure> {
        let initrd = self.beside("initrd.img");
        let busybox = find_program("busybox").unwrap();
        let mut command = process::command(&self.artefacts.layerctl);
        command.arg("initrd").arg("-o").arg(&initrd).arg("--init").arg(&self.artefacts.init);
        command.arg("--modules-from").arg(&self.artefacts.tree).arg("--shell").arg(busybox);
        process::run(command.args(["--role", "virtio,ext4"]))?;
        Ok(initrd)
    }

    /// A machine with the project's initramfs and this disk.
    pub(crate) fn machine(&self, drive: Drive) -> Machine {
        self.machine_without_disk().drive(drive)
    }

    /// A machine with the project's initramfs alone.
    pub(crate) fn machine_without_disk(&self) -> Machine {
        Machine::new(&self.name, &self.artefacts.kernel, &self.artefacts.initrd)
    }

    /// Starts a machine that ends in a shell in place of systemd; its writes to the disk are dropped with it.
    pub(crate) fn boot(&self, disk: &Path, append: &str) -> Result<Guest, Failure> {
        self.boot_with(Drive::scratch(disk), append)
    }

    /// As [`boot`](Self::boot), with another access to the disk.
    pub(crate) fn boot_with(&self, drive: Drive, append: &str) -> Result<Guest, Failure> {
        Ok(self.machine(drive).append("init=/bin/sh").append(append).start()?)
    }
}

/// The report of the boot that a shell runs in.
pub(crate) fn report(shell: &mut Shell<'_>) -> Result<layers::report::BootReport, Failure> {
    Ok(serde_json::from_str(&shell.check("cat /run/layers/boot.json")?)?)
}

/// Overwrites bytes in the middle of a file.
pub(crate) fn overwrite(path: &Path, at: u64, bytes: &[u8]) -> Result<(), Failure> {
    let mut content = files::read(path)?;
    let at = usize::try_from(at)?;
    content[at..at + bytes.len()].copy_from_slice(bytes);
    // Images in the store are read-only files, which stops nobody who is root.
    Ok(files::write(path, content)?)
}

/// Asserts that the console says these texts in this order, each within a boot's deadline.
pub(crate) fn says(guest: &mut Guest, texts: &[&str]) -> Result<(), Failure> {
    for text in texts {
        guest.wait_for(text, BOOT)?;
    }
    Ok(())
}
