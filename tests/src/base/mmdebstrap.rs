//! The base tree by mmdebstrap(1): as root directly, otherwise in a user namespace.

use super::{BaseError, Definition};
use crate::files;
use crate::process;
use crate::sources::{RELEASE, Sources};
use crate::workspace::Workspace;
use std::path::Path;

pub(super) fn build(
    workspace: &Workspace,
    definition: &Definition,
    sources: &Sources,
    tar: &Path,
) -> Result<(), BaseError> {
    let packages = workspace.cache().join("packages");
    files::make_dir(&packages)?;
    let extra = tar.with_file_name("extra.tar");
    archive(&definition.extra, &extra)?;
    let hook = |name: &str, what: String| format!("--{name}-hook={what}");
    let (packages, script) = (packages.display(), definition.script.display());
    let mut command = process::command("mmdebstrap");
    command
        .args(["--quiet", "--variant=apt", "--format=tar", "--architectures=amd64"])
        .arg(format!("--include={}", definition.packages.join(",")))
        // Downloads are kept, so a second build fetches only what is new.
        .args(["--skip=download/empty", "--skip=essential/unlink", "--skip=cleanup/apt/cache"])
        // The definition's script does this part, for both builders alike.
        .arg("--skip=cleanup/reproducible")
        .arg("--setup-hook=mkdir -p \"$1\"/var/cache/apt/archives")
        .arg(hook("setup", format!("sync-in '{packages}' /var/cache/apt/archives")))
        .arg(hook("customize", format!("sync-out /var/cache/apt/archives '{packages}'")))
        .arg(hook("customize", format!("tar-in '{}' /", extra.display())))
        .arg(hook("customize", format!("upload '{script}' /last-step")))
        .arg("--customize-hook=chmod 0755 \"$1\"/last-step && chroot \"$1\" /last-step")
        .arg("--customize-hook=rm \"$1\"/last-step")
        .arg(RELEASE)
        .arg(tar)
        .args(sources.lines())
        // The kernel's package would run initramfs-tools otherwise.
        .env("INITRD", "No");
    process::run(&mut command)?;
    Ok(files::remove_file(&extra)?)
}

/// The tree is root's in the archive, whoever owns the checkout.
fn archive(tree: &Path, tar: &Path) -> Result<(), BaseError> {
    let mut command = process::command("tar");
    command
        .args(["--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX", "--sort=name"])
        .arg("-cf")
        .arg(tar)
        .arg("-C")
        .arg(tree)
        .arg(".");
    Ok(process::run(&mut command)?)
}
