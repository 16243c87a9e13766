//! Mounts the state file system, and writes the boot report.

#![expect(clippy::disallowed_methods, reason = "makes a mount point and writes the report")]

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use layers::{exec::HostError, report::BootReport};
use log::warn;
use sys_mount::{FilesystemType, Mount, MountFlags};

use crate::probe::ext4;

/// Mounts `device` at `at`: writable unless `read_only` asks that nothing be written, or the device refuses it. Gives why it cannot be
/// written although nobody asked for that.
///
/// nosuid and nodev: an upper holds what a user wrote, and images bring their own mounts.
pub fn mount(
    device: &Path,
    filesystem: &str,
    at: &Path,
    read_only: bool,
) -> Result<Option<String>, HostError> {
    fs::create_dir_all(at).map_err(|error| HostError::io("create", at, error))?;
    let mount = |flags, options: &str| {
        Mount::builder()
            .fstype(FilesystemType::from(filesystem))
            .flags(MountFlags::NOSUID | MountFlags::NODEV | flags)
            .data(options)
            .mount(device, at)
            .map(drop)
    };
    let failed = |error| HostError::io(&format!("mount {filesystem}"), device, error);
    if read_only {
        // Replaying the journal writes, even under a read-only mount, and here not one write may happen.
        mount(MountFlags::RDONLY, without_replay(filesystem).unwrap_or_default())
            .map_err(failed)?;
        if has_unreplayed_journal(device, filesystem) {
            warn!(
                "{}: its journal is not empty and is not replayed, so what was written last may be missing",
                device.display()
            );
        }
        return Ok(None);
    }
    let why = match mount(MountFlags::empty(), "") {
        Ok(()) => return Ok(None),
        // A write-protected device, or a file system that its driver only reads in its present condition.
        Err(error) if is_read_only(&error) => {
            let device = device.display();
            format!("the state file system on {device} can only be read: {error}")
        }
        Err(error) => return Err(failed(error)),
    };
    match (mount(MountFlags::RDONLY, ""), without_replay(filesystem)) {
        (Err(error), Some(option)) if is_read_only(&error) => {
            mount(MountFlags::RDONLY, option).map_err(failed)?;
            warn!(
                "{}: its journal is not empty and cannot be replayed, so what was written last may be missing",
                device.display()
            );
        }
        (result, _) => result.map_err(failed)?,
    }
    Ok(Some(why))
}

/// Makes the state file system read-only, once nothing of this boot writes to it.
pub fn protect(at: &Path) -> Result<(), HostError> {
    let flags = MountFlags::REMOUNT | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    Mount::builder()
        .fstype("none")
        .flags(flags)
        .mount("none", at)
        .map(drop)
        .map_err(|error| HostError::io("remount read-only", at, error))
}

/// Whether the journal of an ext file system holds what is not in its place yet.
fn has_unreplayed_journal(device: &Path, filesystem: &str) -> bool {
    let mut superblock = [0; ext4::LENGTH];
    filesystem == "ext4"
        && File::open(device)
            .and_then(|device| device.read_exact_at(&mut superblock, ext4::OFFSET))
            .is_ok_and(|()| ext4::needs_recovery(&superblock))
}

/// The option with which a driver leaves its journal alone: replaying it writes, even under a read-only mount
/// (Linux, Documentation/admin-guide/ext4.rst, xfs.rst; Documentation/filesystems/btrfs.rst).
fn without_replay(filesystem: &str) -> Option<&'static str> {
    match filesystem {
        "ext4" => Some("noload"),
        "xfs" => Some("norecovery"),
        "btrfs" => Some("rescue=nologreplay"),
        _ => None,
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Writes the report for `layerctl status`; `path` is on a tmpfs, so nothing has to be flushed.
pub fn write_report(path: &Path, report: &BootReport) -> Result<(), HostError> {
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        let mut text = serde_json::to_vec(report)?;
        text.push(b'\n');
        fs::write(path, text)
    };
    write().map_err(|error| HostError::io("write", path, error))
}
