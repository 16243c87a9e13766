//! A store with the real base and layers, and their union.

use layers::generation::Generation;
use layers::manifest::Manifest;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::artefacts::Artefacts;
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::workspace::Workspace;

/// A store with the base, and layers in it.
pub(crate) struct Scene {
    pub(crate) artefacts: Artefacts,
    place: TempDir,
    /// The layers' images, bottom first.
    pub(crate) layers: Vec<PathBuf>,
}

impl Scene {
    pub(crate) fn new() -> Result<Self, Failure> {
        let workspace = Workspace::here();
        let artefacts = Artefacts::load(&workspace)?;
        let scene =
            Self { artefacts, place: TempDir::new_in(workspace.target())?, layers: Vec::new() };
        let mut copy = process::command("cp");
        process::run(copy.arg("-a").arg(&scene.artefacts.state).arg(scene.state()))?;
        Ok(scene)
    }

    fn state(&self) -> PathBuf {
        self.place.path().join("state")
    }

    /// Adds a layer that was built of packages with nothing under it but the base.
    pub(crate) fn packages(&mut self, name: &str) -> Result<(), Failure> {
        let image = self.artefacts.installed_layer(&Workspace::here(), name)?;
        self.layers.push(image);
        Ok(())
    }

    /// Builds a layer of one file.
    pub(crate) fn file(
        &mut self,
        name: &str,
        path: &str,
        bytes: impl AsRef<[u8]>,
    ) -> Result<(), Failure> {
        let tree = self.place.path().join(name);
        let file = tree.join(path);
        files::make_dir(file.parent().unwrap())?;
        files::write(&file, bytes)?;
        let image = self.place.path().join(format!("{name}.img"));
        let mut command = process::command(&self.artefacts.layerctl);
        command.arg("build").arg(&tree).args(["--name", name, "--version", "1", "-o"]);
        process::run(command.arg(&image))?;
        self.layers.push(image);
        Ok(())
    }

    /// Builds a layer of an RPM package on those that are there.
    pub(crate) fn rpm(&mut self, name: &str, file: &Path) -> Result<(), Failure> {
        let image = self.path(&format!("{name}.img"));
        let on: Vec<String> = self.layers.iter().map(|layer| layer.display().to_string()).collect();
        let mut command = process::command(&self.artefacts.layerctl);
        command.arg("build").arg(file).args(["--name", name, "--offline", "--base"]);
        command.arg(&self.artefacts.base).args(["--on", &on.join(","), "-o"]).arg(&image);
        process::run(command.arg("--cache").arg(self.path("cache")))?;
        self.layers.push(image);
        Ok(())
    }

    /// A path beside the store.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Installs all layers as generation 2.
    pub(crate) fn install(&self) -> Result<(), Failure> {
        let mut command = process::command(&self.artefacts.layerctl);
        command.arg("--root").arg(self.state()).arg("install").args(&self.layers);
        process::run(&mut command)?;
        let mounts = files::read_text(Path::new("/proc/self/mountinfo"))?;
        assert!(!mounts.contains(self.place.path().to_str().unwrap()), "{mounts}");
        Ok(())
    }

    /// The trigger layer's image.
    pub(crate) fn trigger(&self) -> Result<PathBuf, Failure> {
        let record = self.state().join("layerctl/generations/2/generation.toml");
        let generation = Generation::parse(&files::read_text(&record)?)?;
        let [trigger] = generation.triggers.as_slice() else { panic!("{generation}") };
        Ok(self.state().join(format!("layerctl/store/{}.img", trigger.digest.unwrap())))
    }

    /// What a script says in the union of all of it, as init would mount it.
    pub(crate) fn run(&self, script: &str) -> Result<String, Failure> {
        let mut images = vec![self.trigger()?];
        images.extend(self.layers.iter().rev().cloned());
        images.push(self.artefacts.base.clone());
        self.run_in(&images, script)
    }

    /// The same in a union of these images, topmost first.
    pub(crate) fn run_in(&self, images: &[PathBuf], script: &str) -> Result<String, Failure> {
        let mut command = process::command("unshare");
        command.args(["--mount", "sh", "-euc", UNION, "sh"]).arg(self.place.path());
        Ok(String::from_utf8(process::read(command.arg(script).args(images))?)?)
    }

    pub(crate) fn manifests(&self) -> Result<Vec<Manifest>, Failure> {
        let read = |image: &PathBuf| {
            Ok(Manifest::parse(&files::read_text(&image.with_extension("toml"))?)?)
        };
        self.layers.iter().map(read).collect()
    }
}

/// Mounts images on a tmpfs, topmost first, and runs a script in their union, where something may be written.
const UNION: &str = r#"
place=$1 script=$2; shift 2
mkdir -p "$place/union"; cd "$place/union"
mount -t tmpfs tmpfs .
cd "$place/union"
mkdir upper work root
lowers= number=0
for image; do
    number=$((number + 1)); mkdir $number; mount -o loop,ro "$image" $number
    lowers=$lowers${lowers:+:}$number
done
mount -t overlay -o "lowerdir=$lowers,upperdir=upper,workdir=work" overlay root
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/tmp
mount -t tmpfs tmpfs root/dev
mknod -m 0666 root/dev/null c 1 3
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot root sh -euc "$script"
"#;
