//! The base tree by mkosi(1), version 25 or newer, run from a tree of Debian's packages of it, so that the machine
//! needs Python and nothing else of its own.

use super::BaseError;
use crate::cache::{self, Key};
use crate::files;
use crate::process;
use crate::sources::{RELEASE, Sources};
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

const TOOLS: &str = "mkosi,systemd,systemd-container,systemd-repart,squashfs-tools,erofs-utils,e2fsprogs,cpio,zstd,\
    xz-utils,kmod,debian-archive-keyring,apt,btrfs-progs,xfsprogs,dosfstools,mtools,python3,ca-certificates,\
    bubblewrap,uidmap";

pub(super) fn build(workspace: &Workspace, sources: &Sources, tar: &Path) -> Result<(), BaseError> {
    let tools = tools_tree(workspace, sources)?;
    let work = tar.with_file_name("mkosi");
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
        .arg("build")
        .env("PYTHONPATH", tools.join("usr/lib/python3/dist-packages"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(workspace.definitions());
    process::run(&mut command)?;
    files::rename(&work.join("output/base.tar"), tar)?;
    Ok(files::remove_tree(&work)?)
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn tools_tree(workspace: &Workspace, sources: &Sources) -> Result<PathBuf, BaseError> {
    let key = Key::new(TOOLS).with(sources.lines().join("\n"));
    let dir = cache::directory(workspace, "mkosi-tools", &key, |dir| {
        let mut command = process::command("mmdebstrap");
        command
            .args(["--quiet", "--variant=apt", "--format=directory", "--architectures=amd64"])
            .arg(format!("--include={TOOLS}"))
            .arg(RELEASE)
            .arg(dir.join("root"))
            .args(sources.lines());
        Ok::<_, BaseError>(process::run(&mut command)?)
    })?;
    Ok(dir.join("root"))
}

fn deb822(sources: &Sources) -> String {
    let stanza = |uri: &str, suites: &str| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        )
    };
    let mut text = stanza(&sources.main, &format!("{RELEASE} {RELEASE}-updates"));
    if let Some(security) = &sources.security {
        text.push_str(&stanza(security, &format!("{RELEASE}-security")));
    }
    text
}
