//! The small trees and images that the verbs work with, made once for all runs.

use super::InjectError;
use crate::files::{self, FileError};
use crate::process;
use rustix::fs::{XattrFlags, lsetxattr};
use std::path::{Path, PathBuf};

/// The files of the smallest tree that layerctl takes for a base, with a kernel's modules.
const BASE: &[(&str, &str)] = &[
    ("dev/.keep", ""),
    ("etc/hostname", "image"),
    ("etc/motd", "welcome"),
    ("home/.keep", ""),
    ("proc/.keep", ""),
    ("run/.keep", ""),
    ("sys/.keep", ""),
    ("tmp/.keep", ""),
    ("var/.keep", ""),
    ("sbin/init", "#!/bin/sh\n"),
    ("usr/lib/modules/6.12/modules.dep", ""),
    // A base that marks boots good: its generations have attempts.
    ("usr/lib/systemd/system/layerctl-mark-good.service", ""),
];

/// What a base has beside that whose kernel goes to a boot partition.
const KERNEL: &[(&str, &str)] = &[
    (
        "usr/lib/modules/6.12/modules.builtin",
        "kernel/overlay.ko\nkernel/loop.ko\nkernel/squashfs.ko\nkernel/erofs.ko\nkernel/virtio_blk.ko\nkernel/ext4.ko\n",
    ),
    ("usr/lib/modules/6.12/vmlinuz", "kernel\n"),
];

/// Layers: name, version, what it needs.
const LAYERS: &[(&str, &str, &str)] =
    &[("htop", "3", ""), ("htop", "4", ""), ("app", "5", "lib"), ("lib", "1", "")];

/// Makes `trees` and `images` in `dir`.
pub(super) fn make(layerctl: &Path, dir: &Path) -> Result<(), InjectError> {
    let (trees, images) = (dir.join("trees"), dir.join("images"));
    files::make_dir(&images)?;
    for version in ["13", "14", "15"] {
        let release = format!("ID=debian\nVERSION_ID={version}\n");
        let own = [("usr/lib/os-release", release.as_str()), ("etc/version", version)];
        let tree = tree(&trees.join(format!("debian_{version}")), &[BASE, &own].concat())?;
        let image = images.join(format!("debian_{version}.img"));
        build(layerctl, &tree, &image, &["debian", version], &["--kind", "base"])?;
    }
    for version in ["23", "24"] {
        let release = format!("ID=debian\nVERSION_ID={version}\n");
        let own = [("usr/lib/os-release", release.as_str()), ("boot/linux", version)];
        let top = trees.join(format!("debian_{version}"));
        let tree = tree(&top, &[BASE, KERNEL, &own].concat())?;
        files::write(&tree.join("usr/lib/modules/6.12/vmlinuz"), format!("kernel {version}\n"))?;
        let init = tree.join("usr/lib/layerctl/layers-init");
        files::make_dir(init.parent().unwrap_or(&tree))?;
        files::write(&init, static_program())?;
        let image = images.join(format!("debian_{version}.img"));
        build(layerctl, &tree, &image, &["debian", version], &["--kind", "base"])?;
    }
    for (name, version, requires) in LAYERS {
        let tree = tree(
            &trees.join(format!("{name}_{version}")),
            &[(&format!("usr/share/{name}"), *version), (&format!("etc/{name}.conf"), "x")],
        )?;
        let image = images.join(format!("{name}_{version}.img"));
        build(layerctl, &tree, &image, &[name, version], &["--requires", requires])?;
    }
    // One that has to be hashed and looked into.
    files::remove_file(&images.join("debian_14.toml"))?;
    let marked = tree(&trees.join("marked_1"), &[("usr/share/a/b", "1"), ("usr/share/c", "2")])?;
    // What an overlay leaves in an upper: the tree is copied without it.
    lsetxattr(marked.join("usr"), "trusted.overlay.impure", b"y", XattrFlags::empty())
        .map_err(|error| FileError::new("mark", &marked, error.into()))?;
    let mut tar = process::command("tar");
    tar.arg("-C").arg(trees.join("htop_3")).arg("-cf").arg(trees.join("htop.tar")).arg(".");
    Ok(process::run(&mut tar)?)
}

/// The shortest file that passes for a static program: an ELF header (elf(5)) without program headers.
fn static_program() -> Vec<u8> {
    let (mut elf, zeros) = (b"\x7fELF\x02\x01\x01".to_vec(), [0_u8; 25]);
    elf.extend(zeros);
    // Where its table of program headers is, how long one is, and that there is none.
    elf.extend(64_u64.to_le_bytes());
    elf.extend([0; 14]);
    elf.extend(56_u16.to_le_bytes());
    elf.extend([0; 8]);
    elf
}

fn tree(top: &Path, contents: &[(&str, &str)]) -> Result<PathBuf, FileError> {
    for (path, text) in contents {
        let path = top.join(path);
        files::make_dir(path.parent().unwrap_or(top))?;
        files::write(&path, text)?;
    }
    Ok(top.to_owned())
}

fn build(
    layerctl: &Path,
    tree: &Path,
    image: &Path,
    [name, version]: &[&str; 2],
    options: &[&str],
) -> Result<(), InjectError> {
    let mut command = process::command(layerctl);
    command.arg("build").arg(tree).args(["--name", name, "--version", version, "-o"]).arg(image);
    // An empty list is no option.
    command.args(options.iter().take(if options.contains(&"") { 0 } else { options.len() }));
    Ok(process::run(&mut command)?)
}
