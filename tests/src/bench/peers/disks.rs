//! The peers' disks: the same images and the same tree as in the project's own, each where its peer looks for it.

use crate::bench::BenchError;
use crate::bench::machines::{DISK_SIZE, Format, Machines};
use crate::cache::{self, Key};
use crate::files;
use crate::process;
use crate::vm::{Filesystem, make_disk};
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

/// The label of the disk with images.
pub(super) const LIVE_LABEL: &str = "benchlive";

/// A disk for live-boot and dmsquash-live: the base image where either looks for it, and `count` layers as live-boot's modules.
///
/// Modules are stacked in the order of their names, `filesystem` first, so the layers are called m001 to m128: with 128 of
/// them, the mount options just fit the page that mount(2) takes.
pub(super) fn live(
    workspace: &Workspace,
    machines: &Machines,
    count: usize,
) -> Result<PathBuf, BenchError> {
    let layers = machines.layers(Format::Squashfs, count)?;
    let base = machines.base();
    let key = key(&base, &layers)?;
    let kind = format!("bench/live-{count}");
    let dir = cache::directory(workspace, &kind, &key, |dir| {
        let root = dir.join("root");
        for directory in ["live", "LiveOS"] {
            files::make_dir(&root.join(directory))?;
        }
        let image = root.join("live/filesystem.squashfs");
        files::copy(&base, &image)?;
        process::run(process::command("ln").arg(&image).arg(root.join("LiveOS/squashfs.img")))?;
        for (number, layer) in (1..).zip(&layers) {
            files::copy(layer, &root.join(format!("live/m{number:03}.squashfs")))?;
        }
        make_disk(Filesystem::Ext4, LIVE_LABEL, DISK_SIZE, &root, &dir.join("disk.img"))?;
        Ok::<_, BenchError>(files::remove_tree(&root)?)
    })?;
    Ok(dir.join("disk.img"))
}

/// The disk with the tree, and `count` layers in it where systemd-sysext looks for extensions.
pub(super) fn extended(
    workspace: &Workspace,
    machines: &Machines,
    count: usize,
) -> Result<PathBuf, BenchError> {
    if count == 0 {
        return Ok(machines.root_disk());
    }
    let layers = machines.layers(Format::Squashfs, count)?;
    let root = machines.root_disk();
    let kind = format!("bench/extended-{count}");
    let dir = cache::directory(workspace, &kind, &key(&root, &layers)?, |dir| {
        let disk = dir.join("disk.img");
        process::run(process::command("cp").arg("--sparse=always").arg(&root).arg(&disk))?;
        let commands = dir.join("commands");
        files::write(&commands, additions(&layers))?;
        process::run(process::command("debugfs").arg("-w").arg("-f").arg(&commands).arg(&disk))?;
        Ok::<_, BenchError>(files::remove_file(&commands)?)
    })?;
    Ok(dir.join("disk.img"))
}

/// A disk depends on its base and on the layers' bytes.
fn key(base: &Path, layers: &[PathBuf]) -> Result<Key, BenchError> {
    let start = Key::new(include_str!("disks.rs")).with(base.as_os_str().as_encoded_bytes());
    layers.iter().try_fold(start, |key, layer| Ok(key.with(files::read(layer)?)))
}

/// The commands of debugfs(8) that put images into /var/lib/extensions. An extension's name is its file's, without the ending,
/// and its release file has it too, so the version that a layer's file name has is left out.
fn additions(layers: &[PathBuf]) -> String {
    let mut commands = "mkdir /var/lib/extensions\ncd /var/lib/extensions\n".to_owned();
    for layer in layers {
        let file = layer.file_stem().unwrap_or_default().to_string_lossy();
        let name = file.split('_').next().unwrap_or_default();
        commands.push_str(&format!("write \"{}\" {name}.raw\n", layer.display()));
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_named_without_their_version() {
        let commands = additions(&["/a b/layer001_1.img".into()]);
        assert!(commands.ends_with("\nwrite \"/a b/layer001_1.img\" layer001.raw\n"), "{commands}");
    }
}
