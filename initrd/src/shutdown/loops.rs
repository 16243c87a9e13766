//! The block devices that images are mounted by, and their end: dm-verity's, then the loop devices below.

#![expect(clippy::disallowed_methods, reason = "reads sysfs")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use layers::{
    host::DEVICE_PREFIX,
    sys::{detach_loop, keep_dm, remove_dm},
};

/// The nodes of the loop devices that have a file.
pub(super) fn attached() -> Vec<PathBuf> {
    let attached = disks().filter(|device| device.join("loop/backing_file").exists());
    attached.filter_map(|device| Some(Path::new("/dev").join(device.file_name()?))).collect()
}

/// Detaches what nobody uses. What is mounted detaches itself with its mount's end.
pub(super) fn detach(devices: &[PathBuf]) {
    for device in devices {
        // One that is left is told of in the end.
        let _ = detach_loop(device);
    }
}

/// The names of the dm-verity devices that init has made.
pub(super) fn verity() -> Vec<String> {
    let names = disks().filter_map(|device| fs::read_to_string(device.join("dm/name")).ok());
    let names = names.map(|name| name.trim_end().to_owned());
    names.filter(|name| name.starts_with(DEVICE_PREFIX)).collect()
}

/// Has these devices stay when their mounts go: the kernel would remove them at some time afterwards, and the file systems
/// that their files are on are to be unmounted then.
pub(super) fn keep(names: &[String]) {
    for name in names {
        let _ = keep_dm(name);
    }
}

/// Removes those that nobody uses.
pub(super) fn remove(names: &[String]) {
    for name in names {
        let _ = remove_dm(name);
    }
}

fn disks() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/sys/block").into_iter().flatten().flatten().map(|device| device.path())
}
