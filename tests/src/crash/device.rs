//! Loop devices and mounts that go away with this process, however it ends.
#![expect(clippy::disallowed_methods, reason = "opens devices")]

use super::CrashError;
use super::filesystem::program_at;
use crate::files::{self, FileError};
use crate::process;
use crate::vm::Filesystem;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Gives this process mounts of its own, which are gone with it. Only for a process with one thread.
pub(crate) fn own_mounts() -> Result<(), CrashError> {
    let failed = |source: io::Error| CrashError::Io {
        doing: "get mounts of our own, as root",
        path: "/".into(),
        source,
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| failed(e.into()))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|e| failed(e.into()))
}

/// Mounts a tmpfs of a few times the memory that the disks need; only pages in use cost anything.
pub(super) fn mount_tmpfs(at: &Path) -> Result<(), CrashError> {
    mount("tmpfs", at, "tmpfs", MountFlags::empty(), Some(c"size=4g,mode=0700")).map_err(|e| {
        CrashError::Io { doing: "mount tmpfs at", path: at.to_owned(), source: e.into() }
    })
}

/// A loop device over a file.
pub(crate) struct LoopDevice {
    path: PathBuf,
    /// Keeps the device attached, which was told to detach once nobody has it open.
    file: File,
}

impl LoopDevice {
    pub(crate) fn attach(backing: &Path) -> Result<Self, CrashError> {
        let losetup = || program_at("losetup");
        let said = process::read(losetup().args(["--find", "--show"]).arg(backing))?;
        let path = PathBuf::from(String::from_utf8_lossy(&said).trim());
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        // Detaching a device that is open waits until it is not: so it goes with this process, even a killed one.
        process::run(losetup().arg("--detach").arg(&path))?;
        let file = opened.map_err(|e| FileError::new("open", &path, e))?;
        Ok(Self { path, file })
    }

    /// Makes the kernel believe that what is written is on the disk at once. Flushes would only take time where nobody looks
    /// at what a crash leaves: after it.
    pub(super) fn without_flushes(&self) -> Result<(), CrashError> {
        self.set_cache("write through")
    }

    /// `queue/write_cache` (Linux, Documentation/ABI/stable/sysfs-block); it outlives the attachment.
    fn set_cache(&self, kind: &str) -> Result<(), CrashError> {
        let name = self.path.file_name().unwrap_or_default();
        let setting = Path::new("/sys/block").join(name).join("queue/write_cache");
        Ok(files::write(&setting, kind)?)
    }

    /// The device.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Makes the kernel ask for flushes, whatever was set on the device before.
    pub(crate) fn with_flushes(&self) -> Result<(), CrashError> {
        self.set_cache("write back")
    }

    /// Makes Btrfs forget the device: it would refuse an older copy of the same file system on another one.
    pub(super) fn forget(&self, filesystem: Filesystem) -> Result<(), CrashError> {
        if filesystem == Filesystem::Btrfs {
            process::run(program_at("btrfs").args(["device", "scan", "--forget"]).arg(&self.path))?;
        }
        Ok(())
    }

    /// Mounts its file system as init does, but for `atime`: what is read must not change the disk that is looked at.
    pub(super) fn mount(&self, filesystem: Filesystem, at: &Path) -> io::Result<Mounted> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
        let options = CString::new(filesystem.options())?;
        mount(&self.path, at, filesystem.name(), flags, Some(options.as_c_str()))?;
        Ok(Mounted { at: Some(at.to_owned()) })
    }
}

/// A mount; unmounted when it is dropped.
pub(super) struct Mounted {
    at: Option<PathBuf>,
}

impl Mounted {
    /// Unmounts, and says whether that worked.
    pub(super) fn unmount(mut self) -> io::Result<()> {
        self.at.take().map_or(Ok(()), |at| Ok(unmount(&at, UnmountFlags::empty())?))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(at) = self.at.take() {
            // After a failed check: what is still open in it goes with the process.
            let _ = unmount(&at, UnmountFlags::DETACH);
        }
    }
}
