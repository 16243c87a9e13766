//! Mounts the state file system, and writes the boot report.

#![expect(clippy::disallowed_methods, reason = "makes a mount point and writes the report")]

use std::{fs, io, path::Path};

use layers::{exec::HostError, report::BootReport};
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
    let mount = |flags| {
        Mount::builder()
            .fstype(FilesystemType::from(filesystem))
            .flags(MountFlags::NOSUID | MountFlags::NODEV | flags)
            .mount(device, at)
            .map(drop)
    };
    let failed = |error| HostError::io(&format!("mount {filesystem}"), device, error);
    if read_only {
        return mount(MountFlags::RDONLY).map(|()| None).map_err(failed);
    }
    match mount(MountFlags::empty()) {
        Ok(()) => Ok(None),
        // A write-protected device, or a file system that its driver only reads in its present condition.
        Err(error) if is_read_only(&error) => {
            let why =
                format!("the state file system on {} can only be read: {error}", device.display());
            mount(MountFlags::RDONLY).map(|()| Some(why)).map_err(failed)
        }
        Err(error) => Err(failed(error)),
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
