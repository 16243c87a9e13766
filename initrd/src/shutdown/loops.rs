//! The loop devices that are attached, and their end.

#![expect(clippy::disallowed_methods, reason = "reads sysfs")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use layers::sys::detach_loop;

/// The nodes of the loop devices that have a file.
pub(super) fn attached() -> Vec<PathBuf> {
    let Ok(devices) = fs::read_dir("/sys/block") else { return Vec::new() };
    let attached =
        devices.flatten().filter(|device| device.path().join("loop/backing_file").exists());
    attached.map(|device| Path::new("/dev").join(device.file_name())).collect()
}

/// Detaches what nobody uses. What is mounted detaches itself with its mount's end.
pub(super) fn detach(devices: &[PathBuf]) {
    for device in devices {
        // One that is left is told of in the end.
        let _ = detach_loop(device);
    }
}
