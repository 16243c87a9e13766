//! The files of a layer from Debian's packages: a package with those of its dependencies that the base lacks.
//!
//! apt does the choosing, with the base's own dpkg status in place of the machine's. Then there are two ways: [`unpack`]
//! takes the packages' files alone, by dpkg-deb; [`build`] has `layerctl build` install them, so that maintainer scripts run.

use crate::base::Tree;
use crate::cache::{self, Key};
use crate::files::{self, FileError};
use crate::process::{self, ProcessError};
use crate::sources::{Sources, SourcesError};
use crate::workspace::Workspace;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why there are no files for a layer.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// No mirror is known.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// apt downloaded no file of the package that was asked for.
    #[error("apt downloaded nothing for {0}: the base has it already")]
    Nothing(String),
}

/// A layer's files and what to call it.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// The layer's name: the package's.
    pub name: String,
    /// The layer's version: the package's, in the characters that a layer's version may have.
    pub version: String,
    /// The directory with the files.
    pub tree: PathBuf,
}

/// apt with the base's status and the base's release, and its own lists and downloads.
#[derive(Debug)]
struct Apt {
    state: PathBuf,
    status: PathBuf,
    lists: PathBuf,
}

impl Apt {
    fn new(workspace: &Workspace, base: &Tree, sources: &Sources) -> Result<Self, FileError> {
        let state = workspace.cache().join("apt");
        for dir in ["lists/partial", "preferences.d"] {
            files::make_dir(&state.join(dir))?;
        }
        let lists = state.join("sources.list");
        files::write(&lists, sources.lines().join("\n") + "\n")?;
        Ok(Self { status: base.root.join("var/lib/dpkg/status"), lists, state })
    }

    fn command(&self) -> Command {
        let mut command = self.program("apt-get");
        command.args(["--quiet=2", "--yes", "--no-install-recommends"]);
        command
    }

    fn program(&self, program: &str) -> Command {
        let mut command = process::command(program);
        let mut set = |key: &str, value: &Path| {
            command.arg("-o").arg(format!("{key}={}", value.display()));
        };
        set("Dir::State", &self.state);
        set("Dir::State::status", &self.status);
        set("Dir::Cache", &self.state);
        set("Dir::Etc::sourcelist", &self.lists);
        set("Dir::Etc::sourceparts", Path::new("/dev/null"));
        set("Dir::Etc::preferencesparts", &self.state.join("preferences.d"));
        for fixed in ["APT::Architecture=amd64", "APT::Sandbox::User=root", "Debug::NoLocking=1"] {
            command.args(["-o", fixed]);
        }
        command
    }

    /// Waits until nobody else uses the lists; the lock ends with the returned file.
    fn lock(&self) -> Result<File, FileError> {
        files::lock(&self.state.join("in-use"))
    }

    /// Downloads what installing `packages` needs into `dir`; returns the files.
    fn download(&self, packages: &[&str], dir: &Path) -> Result<Vec<PathBuf>, PackagesError> {
        files::make_dir(&dir.join("partial"))?;
        let mut command = self.command();
        command.arg("-o").arg(format!("Dir::Cache::archives={}", dir.display()));
        process::run(command.args(["install", "--download-only"]).args(packages))?;
        let mut found = files::list(dir)?;
        found.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
        Ok(found)
    }
}

/// Downloads what installing `packages` on the base needs into `dir`; gives the files.
pub fn download(
    workspace: &Workspace,
    base: &Tree,
    packages: &[&str],
    dir: &Path,
) -> Result<Vec<PathBuf>, PackagesError> {
    let apt = Apt::new(workspace, base, &Sources::of_this_machine()?)?;
    let _lock = apt.lock()?;
    process::run(apt.command().arg("update"))?;
    apt.download(packages, dir)
}

/// Has layerctl build the layer `name` of `packages` on the base image, into the directory `dir`; gives the image.
pub fn build(
    workspace: &Workspace,
    layerctl: &Path,
    base: &Path,
    (name, packages): (&str, &[&str]),
    dir: &Path,
) -> Result<PathBuf, PackagesError> {
    let sources = dir.join("sources.list");
    files::write(&sources, Sources::of_this_machine()?.lines().join("\n") + "\n")?;
    let mut command = process::command(layerctl);
    command.args(["build", "--packages", &packages.join(","), "--name", name, "--base"]).arg(base);
    command.arg("--sources").arg(&sources).arg("--cache").arg(workspace.cache().join("packages"));
    process::run(command.current_dir(dir))?;
    image(dir)?.ok_or_else(|| PackagesError::Nothing(name.to_owned()))
}

/// The image in a directory that has one.
pub fn image(dir: &Path) -> Result<Option<PathBuf>, FileError> {
    let is_image = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "img");
    Ok(files::list(dir)?.into_iter().find(is_image))
}

/// Makes the files of one layer for each package, or takes them from the cache.
pub fn unpack(
    workspace: &Workspace,
    base: &Tree,
    names: &[&str],
) -> Result<Vec<Unpacked>, PackagesError> {
    let sources = Sources::of_this_machine()?;
    let apt = Apt::new(workspace, base, &sources)?;
    let status = files::read(&apt.status)?;
    let mut updated = false;
    names
        .iter()
        .map(|name| {
            let key = Key::new(include_str!("packages.rs"))
                .with(sources.lines().join("\n"))
                .with(&status)
                .with(name);
            let dir = cache::directory(workspace, &format!("layer/{name}"), &key, |dir| {
                let _lock = apt.lock()?;
                if !std::mem::replace(&mut updated, true) {
                    process::run(apt.command().arg("update"))?;
                }
                unpack_one(&apt, name, dir)
            })?;
            let version = files::read_text(&dir.join("version"))?;
            Ok(Unpacked { name: (*name).to_owned(), version, tree: dir.join("tree") })
        })
        .collect()
}

/// The .deb files of a package in every version that the mirror has, the oldest first.
pub fn versions(
    workspace: &Workspace,
    base: &Tree,
    name: &str,
) -> Result<Vec<PathBuf>, PackagesError> {
    let sources = Sources::of_this_machine()?;
    let apt = Apt::new(workspace, base, &sources)?;
    let key = Key::new(include_str!("packages.rs"))
        .with(sources.lines().join("\n"))
        .with(files::read(&apt.status)?);
    let dir = cache::directory(workspace, &format!("versions/{name}"), &key, |dir| {
        let _lock = apt.lock()?;
        process::run(apt.command().arg("update"))?;
        let listed = process::read(apt.program("apt-cache").args(["madison", name]))?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        for (number, version) in listed_versions(&listed).iter().rev().enumerate() {
            let into = dir.join(number.to_string());
            files::make_dir(&into)?;
            let mut download = apt.command();
            download.arg("download").arg(format!("{name}={version}")).current_dir(&into);
            process::run(&mut download)?;
        }
        Ok::<_, PackagesError>(())
    })?;
    let found = files::list(&dir)?.into_iter().map(|version| files::list(&version));
    Ok(found.collect::<Result<Vec<_>, _>>()?.concat())
}

/// The versions that `apt-cache madison` lists, each once, the newest first: `name | version | source`.
fn listed_versions(text: &str) -> Vec<&str> {
    let mut versions: Vec<_> =
        text.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim())).collect();
    versions.dedup();
    versions
}

fn unpack_one(apt: &Apt, name: &str, dir: &Path) -> Result<(), PackagesError> {
    let tree = dir.join("tree");
    files::make_dir(&tree)?;
    let archives = dir.join("archives");
    let mut version = None;
    for deb in apt.download(&[name], &archives)? {
        process::run(process::command("dpkg-deb").arg("-x").arg(&deb).arg(&tree))?;
        if field(&deb, "Package")? == name {
            version = Some(field(&deb, "Version")?);
        }
    }
    let version = version.ok_or_else(|| PackagesError::Nothing(name.to_owned()))?;
    files::write(&dir.join("version"), layer_version(&version))?;
    remove_documents(&tree.join("usr/share"))?;
    Ok(files::remove_tree(&archives)?)
}

fn field(deb: &Path, name: &str) -> Result<String, ProcessError> {
    let value = process::read(process::command("dpkg-deb").arg("-f").arg(deb).arg(name))?;
    Ok(String::from_utf8_lossy(value.trim_ascii()).into_owned())
}

/// Removes documents and translations; copyright files stay.
fn remove_documents(share: &Path) -> Result<(), FileError> {
    for documents in ["man", "info", "locale", "lintian"] {
        files::remove_tree(&share.join(documents))?;
    }
    let doc = share.join("doc");
    if files::exists(&doc) {
        for path in files::walk(&doc)? {
            if !files::is_dir(&path) && path.file_name().is_some_and(|name| name != "copyright") {
                files::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

/// A Debian version without its epoch: the rest has only characters that a layer's version may have (deb-version(7)).
fn layer_version(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_listed_once() {
        let text = " a | 2-1 | http://h/s s/main Packages\n a | 1-1 | http://h/d d/main Packages\n\
                    \x20a | 1-1 | http://h/d d/main Sources\n";
        assert_eq!(listed_versions(text), ["2-1", "1-1"]);
    }

    #[test]
    fn the_epoch_is_dropped() {
        assert_eq!(layer_version("3.4.1-5"), "3.4.1-5");
        assert_eq!(layer_version("2:1.0~rc1+b2-1"), "1.0~rc1+b2-1");
    }
}
