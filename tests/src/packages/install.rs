//! The files of a layer from packages that apt installs on the base, in a chroot with an upper over it.
//!
//! ```text
//! base.tar → base/ ─┬─ overlay, apt-get install in a chroot → upper/ → what is a layer's of it → tree/
//! apt  →  archives/ ┘
//! ```

use super::{Apt, PackagesError, Unpacked, field, layer_version, remove_documents, upper};
use crate::base::Tree;
use crate::cache::{self, Key};
use crate::files;
use crate::process;
use crate::sources::Sources;
use crate::workspace::Workspace;
use std::path::Path;

/// What runs as root in the chroot's namespaces.
const SCRIPT: &str = include_str!("install.sh");

/// Makes the files of the layer `name`, whose version is that of the first of `packages`, or takes them from the cache.
///
/// Unlike those of [`unpack`](super::unpack), they have what maintainer scripts make: accounts, enabled units,
/// alternatives, and the package database of the base with these packages. Needs root.
pub fn install(
    workspace: &Workspace,
    base: &Tree,
    name: &str,
    packages: &[&str],
) -> Result<Unpacked, PackagesError> {
    let sources = Sources::of_this_machine()?;
    let key = Key::new(include_str!("install.rs"))
        .with(include_str!("../packages.rs"))
        .with(SCRIPT)
        .with(include_str!("upper.rs"))
        .with(sources.lines().join("\n"))
        .with(base.tar.as_os_str().as_encoded_bytes())
        .with(packages.join(" "));
    let dir = cache::directory(workspace, &format!("layer/{name}"), &key, |dir| {
        let apt = Apt::new(workspace, base, &sources)?;
        let archives = dir.join("aside/archives");
        let debs = {
            let _lock = apt.lock()?;
            process::run(apt.command().arg("update"))?;
            apt.download(packages, &archives)?
        };
        let first = packages.first().copied().unwrap_or_default();
        let version = debs.iter().find_map(|deb| match field(deb, "Package") {
            Ok(package) if package == first => Some(field(deb, "Version")),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        let version = version.ok_or_else(|| PackagesError::Nothing(first.to_owned()))??;
        files::write(&dir.join("version"), layer_version(&version))?;
        make_tree(base, dir)
    })?;
    let version = files::read_text(&dir.join("version"))?;
    Ok(Unpacked { name: name.to_owned(), version, tree: dir.join("tree") })
}

fn make_tree(base: &Tree, dir: &Path) -> Result<(), PackagesError> {
    let lower = dir.join("base");
    files::make_dir(&lower)?;
    let mut extract = process::command("tar");
    extract.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"]);
    process::run(extract.arg(&base.tar).arg("-C").arg(&lower))?;

    let mut chroot = process::command("unshare");
    chroot.args(["--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"]);
    process::run(chroot.args(["sh", "-c", SCRIPT, "install"]).arg(&lower).arg(dir))?;

    let tree = dir.join("tree");
    files::rename(&dir.join("upper"), &tree)?;
    remove_documents(&tree.join("usr/share"))?;
    upper::make_layer(&tree, &lower)?;
    for scratch in ["aside", "base", "root", "work"] {
        files::remove_tree(&dir.join(scratch))?;
    }
    Ok(())
}
