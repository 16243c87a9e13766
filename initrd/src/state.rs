//! Mounts the state file system, and writes the boot report.

#![expect(clippy::disallowed_methods, reason = "makes a mount point and writes the report")]

use std::{fs, io, path::Path};

use layers::{exec::HostError, report::BootReport};
use log::warn;
use sys_mount::{FilesystemType, Mount, MountFlags};

/// Mounts `device` at `at`: writable unless `read_only` asks otherwise or the device refuses it. Gives why it cannot be
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
    let mut why = None;
    if !read_only {
        match mount(MountFlags::empty(), "") {
            Ok(()) => return Ok(None),
            // A write-protected device, or a file system that its driver only reads in its present condition.
            Err(error) if is_read_only(&error) => {
                let device = device.display();
                why = Some(format!("the state file system on {device} can only be read: {error}"));
            }
            Err(error) => return Err(failed(error)),
        }
    }
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
    Ok(why)
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
