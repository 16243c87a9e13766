//! The first mounts: what the kernel itself offers, and /run.

#![expect(clippy::disallowed_methods, reason = "makes mount points")]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sys_mount::{Mount, MountFlags};

/// One of the first mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlyMount {
    /// Where.
    pub target: &'static str,
    /// The file system type, which is its source as well.
    pub filesystem: &'static str,
    /// mount(2)'s flags.
    pub flags: MountFlags,
    /// The file system's own options.
    pub options: &'static str,
}

const NOSUID_NODEV: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);
const KERNEL: MountFlags = NOSUID_NODEV.union(MountFlags::NOEXEC);

/// The mounts in order, with the options that systemd gives them (systemd, src/shared/mount-setup.c).
///
/// /run may hold programs: what runs at shutdown lies in /run/initramfs.
pub const EARLY_MOUNTS: [EarlyMount; 4] = [
    EarlyMount { target: "/proc", filesystem: "proc", flags: KERNEL, options: "" },
    EarlyMount { target: "/sys", filesystem: "sysfs", flags: KERNEL, options: "" },
    EarlyMount {
        target: "/dev",
        filesystem: "devtmpfs",
        flags: MountFlags::NOSUID,
        options: "mode=0755",
    },
    EarlyMount {
        target: "/run",
        filesystem: "tmpfs",
        flags: NOSUID_NODEV,
        options: "mode=0755,size=20%,nr_inodes=800k",
    },
];

/// A mount that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {filesystem} on {target}: {source}")]
pub struct Error {
    /// The type.
    pub filesystem: &'static str,
    /// Where.
    pub target: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Mounts [`EARLY_MOUNTS`]; one that is mounted already is left as it is.
pub fn mount_all() -> Result<(), Error> {
    EARLY_MOUNTS.iter().try_for_each(|early| {
        mount(early).map_err(|source| Error {
            filesystem: early.filesystem,
            target: early.target.into(),
            source,
        })
    })
}

fn mount(early: &EarlyMount) -> io::Result<()> {
    let target = Path::new(early.target);
    match fs::create_dir(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mounted = Mount::builder()
        .fstype(early.filesystem)
        .flags(early.flags)
        .data(early.options)
        .mount(early.filesystem, target);
    match mounted {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
        other => other.map(drop),
    }
}
