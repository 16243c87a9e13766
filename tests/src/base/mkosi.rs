//! The base tree by mkosi(1), and mkosi's own initrd: version 25 or newer, run from a tree of Debian's packages of it, so that the machine
//! needs Python and nothing else of its own.

use super::{BaseError, Tree};
use crate::files;
use crate::mkosi::{deb822, tools_tree};
use crate::process;
use crate::sources::{RELEASE, Sources};
use crate::workspace::Workspace;
use std::path::Path;
use std::process::Command;

pub(super) fn build(workspace: &Workspace, sources: &Sources, tar: &Path) -> Result<(), BaseError> {
    let work = tar.with_file_name("mkosi");
    let mut command = mkosi(workspace, sources, &work)?;
    process::run(command.arg("build").current_dir(workspace.definitions()))?;
    files::rename(&work.join("output/base.tar"), tar)?;
    Ok(files::remove_tree(&work)?)
}

impl Tree {
    /// Makes mkosi's own initrd for the tree's kernel, `initrd.cpio.zst` in `dir`, with the kernel modules of mkosi's list and
    /// those that the patterns `modules` name.
    pub fn mkosi_initrd(
        &self,
        workspace: &Workspace,
        modules: &[&str],
        dir: &Path,
    ) -> Result<(), BaseError> {
        let work = dir.join("mkosi");
        let empty = work.join("empty");
        files::make_dir(&empty)?;
        let mut command = mkosi(workspace, &Sources::of_this_machine()?, &work)?;
        let place = Path::new("/usr/lib/modules").join(&self.kernel_version);
        command
            // No definition but mkosi's own.
            .args(["--directory=", "--build-sources=", "--include=mkosi-initrd"])
            .args(["--distribution=debian", &format!("--release={RELEASE}")])
            .args(["--format=cpio", "--output=initrd", "--kernel-modules-exclude=.*"])
            .args(modules.iter().map(|pattern| format!("--kernel-modules-include={pattern}")))
            .arg(format!("--extra-tree={}:{}", self.modules().display(), place.display()))
            .arg("build");
        process::run(command.current_dir(&empty))?;
        // The name without a suffix is a link.
        files::rename(&work.join("output/initrd.cpio.zst"), &dir.join("initrd.cpio.zst"))?;
        Ok(files::remove_tree(&work)?)
    }
}

/// The command `mkosi`, whose directories are in `work`; a verb is to be added.
fn mkosi(workspace: &Workspace, sources: &Sources, work: &Path) -> Result<Command, BaseError> {
    let tools = tools_tree::<BaseError>(workspace, sources)?;
    let sandbox = work.join("sandbox");
    let lists = sandbox.join("etc/apt/sources.list.d");
    files::make_dir(&lists)?;
    // Replaces the sources that mkosi would write, one of which, debian-debug, few mirrors have.
    files::write(&lists.join("mkosi.sources"), deb822(sources))?;
    for dir in ["output", "workspace", "cache"] {
        files::make_dir(&work.join(dir))?;
    }
    let packages = workspace.cache().join("mkosi-packages");
    files::make_dir(&packages)?;
    let mut command = process::command("/usr/bin/python3");
    command
        .args(["-m", "mkosi", "--force"])
        .arg(option("tools-tree", &tools))
        .arg(option("sandbox-tree", &sandbox))
        .arg(option("output-directory", &work.join("output")))
        .arg(option("workspace-directory", &work.join("workspace")))
        .arg(option("cache-directory", &work.join("cache")))
        .arg(option("package-cache-directory", &packages))
        .env("PYTHONPATH", tools.join("usr/lib/python3/dist-packages"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
