//! The fixed trees, images and store.

use super::GateError;
use crate::files::{self, FileError};
use crate::process;
use crate::seed::Seed;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// How many layers of one small file get a generation for each.
const LAYERS: usize = 24;

/// How many layers the last generation has: what grows with the square of their number is then seen.
const TOGETHER: usize = 128;

/// One time for all runs: 2026-01-01.
const EPOCH: &str = "1767225600";

/// The files of the smallest tree that layerctl takes for a base.
const BASE: [(&str, &str); 11] = [
    ("dev/.keep", ""),
    ("etc/hostname", "image\n"),
    ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
    ("home/.keep", ""),
    ("proc/.keep", ""),
    ("run/.keep", ""),
    ("sys/.keep", ""),
    ("tmp/.keep", ""),
    ("usr/lib/os-release", "ID=debian\nVERSION_ID=13\n"),
    ("usr/lib/systemd/systemd", ""),
    ("var/.keep", ""),
];

/// A directory in memory with a store and what its changes take.
pub(super) struct Scene {
    dir: TempDir,
    layerctl: PathBuf,
}

impl Scene {
    /// Makes everything: the same bytes each time, as far as the image tools' versions are the same.
    pub(super) fn make(layerctl: &Path) -> Result<Self, GateError> {
        let dir = tempfile::Builder::new()
            .prefix("layerctl-gate-")
            .tempdir_in("/dev/shm")
            .map_err(|error| FileError::new("make a directory in", Path::new("/dev/shm"), error))?;
        let scene = Self { dir, layerctl: layerctl.to_owned() };
        for name in ["state", "tmp"] {
            files::make_dir(&scene.path(name))?;
        }
        scene.tree("base", BASE.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())))?;
        scene.run("build base --kind base --name debian --version 13 -o base.img")?;
        // One of other bytes, so that an import has an image to write.
        scene.tree("first", [("etc/first", Vec::new())])?;
        scene.tree("first", BASE.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())))?;
        scene.payload()?;
        scene.run("init")?;
        scene.run("base import first --name debian --version 12")?;
        for number in 1..=LAYERS {
            scene.run(&format!("install {}", scene.layer(number)?))?;
        }
        let together = (LAYERS + 1..=TOGETHER).map(|number| scene.layer(number));
        scene.run(&format!("install {}", together.collect::<Result<Vec<_>, _>>()?.join(" ")))?;
        Ok(scene)
    }

    /// A layer of one small file; the name of its image.
    fn layer(&self, number: usize) -> Result<String, GateError> {
        let (name, path) = (format!("layer-{number}"), format!("usr/share/layer-{number}"));
        self.tree(&name, [(path.as_str(), name.clone().into_bytes())])?;
        let image = format!("{name}.img");
        self.run(&format!("build {name} --name {name} --version 1 -o {image}"))?;
        Ok(image)
    }

    /// A layer of two hundred texts and some that cannot be compressed, in both formats.
    fn payload(&self) -> Result<(), GateError> {
        let mut seed = Seed::new(1);
        let mut contents = Vec::new();
        for number in 0..200 {
            let lines = (0..40).map(|_| format!("line {} of {number}\n", seed.below(1000)));
            contents.push((format!("usr/share/texts/{number}"), lines.collect::<String>().into()));
        }
        for number in 0..8 {
            let bytes: Vec<u8> = (0..8192).flat_map(|_| seed.draw().to_le_bytes()).collect();
            contents.push((format!("usr/lib/data/{number}"), bytes));
        }
        self.tree("payload", contents.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())))?;
        for format in ["squashfs", "erofs"] {
            let naming = "--name payload --version 1";
            self.run(&format!("build payload {naming} --format {format} -o payload-{format}.img"))?;
        }
        Ok(())
    }

    fn tree<'a>(
        &self,
        name: &str,
        contents: impl IntoIterator<Item = (&'a str, Vec<u8>)>,
    ) -> Result<(), GateError> {
        let top = self.path(name);
        for (path, bytes) in contents {
            let path = top.join(path);
            files::make_dir(path.parent().unwrap_or(&top))?;
            files::write(&path, bytes)?;
        }
        Ok(())
    }

    /// A path in the directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of layerctl on the store.
    pub(super) fn command(&self, words: &str) -> Command {
        let mut command = process::command(&self.layerctl);
        command.arg("--root").arg(self.path("state")).args(words.split(' '));
        self.settle(&mut command);
        command
    }

    /// Runs a program here, in an environment that is the same everywhere.
    pub(super) fn settle(&self, command: &mut Command) {
        command.current_dir(self.dir.path()).env("SOURCE_DATE_EPOCH", EPOCH);
        command.env("TMPDIR", self.path("tmp")).env("LC_ALL", "C").env("NO_COLOR", "1");
    }

    fn run(&self, words: &str) -> Result<(), GateError> {
        Ok(process::run(&mut self.command(words))?)
    }
}
