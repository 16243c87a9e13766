//! The other end of a boot: this program as /run/initramfs/shutdown, which systemd-shutdown(8) makes the root's
//! program when it has killed all others, since nobody who stands on the images can unmount them
//! (<https://systemd.io/INITRD_INTERFACE>).
//!
//! ```text
//! boot      init puts itself into the tmpfs on /run: /run/initramfs/shutdown
//! shutdown  systemd-shutdown binds /proc, /sys, /dev and /run below /run/initramfs, makes that the root and the old root
//!           /oldroot, and executes /shutdown VERB
//! here      moves the old /run out of the old root and unmounts all: overlays let go of images, images of dm-verity and loop
//!           devices, these of the state file system, which stands in /run and is the last
//! ```

#![expect(clippy::disallowed_methods, reason = "the end of all effects")]

use std::{
    ffi::{CString, OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use layers::{exec::HostError, layout::BootPaths, sys::restart_with};
use log::{LevelFilter, error, info};
use nix::{
    sys::reboot::RebootMode,
    unistd::{pause, sync},
};
use sys_mount::{Mount, MountFlags, UnmountFlags, unmount};

use crate::{failure::restart, handover::move_mount, kmsg};

mod loops;
pub mod mounts;

/// What systemd mounts things on when it changes to /run/initramfs, and where [`OLD_RUN`] is moved to.
const MOUNT_POINTS: [&str; 6] = ["dev", "oldroot", "oldrun", "proc", "run", "sys"];

/// The old /run, in which the state file system is mounted. As long as it stands on the old root, each keeps the other: the
/// root is made of images, the images are files of the state file system.
const OLD_RUN: &str = "/oldroot/run";

/// What `systemctl reboot --reboot-argument=` leaves behind (systemd, src/shared/reboot-util.c).
const REBOOT_ARGUMENT: &str = "/run/systemd/reboot-param";

/// Puts this program where systemd looks for it at shutdown. It costs memory as large as the program.
pub fn prepare() -> Result<(), HostError> {
    let program = Path::new(BootPaths::SHUTDOWN);
    let directory = program.parent().unwrap_or(program);
    for name in MOUNT_POINTS {
        let path = directory.join(name);
        fs::create_dir_all(&path).map_err(|error| HostError::io("create", &path, error))?;
    }
    fs::copy("/proc/self/exe", program)
        .map(drop)
        .map_err(|error| HostError::io("write", program, error))
}

/// The verb, where PID 1 was started as the program that [`prepare`] has put there.
pub fn verb(arguments: impl IntoIterator<Item = OsString>) -> Option<OsString> {
    let mut arguments = arguments.into_iter();
    let program = arguments.next()?;
    let called = Path::new(&program).file_name() == Path::new(BootPaths::SHUTDOWN).file_name();
    called.then(|| arguments.next().unwrap_or_default())
}

/// Unmounts everything, tells on the console how that went, and ends as the verb says.
pub fn run(verb: &OsStr) -> ! {
    kmsg::start(LevelFilter::Info);
    let argument = fs::read(REBOOT_ARGUMENT).ok();
    if let Err(error) = move_mount(Path::new(OLD_RUN), Path::new("/oldrun")) {
        error!("{error}");
    }
    let before = Standing::now();
    loops::keep(&before.verity);
    let left = unmount_all();
    sync();
    let unmounted = before.mounts.len().saturating_sub(left.mounts.len());
    let detached = before.loops.len().saturating_sub(left.loops.len());
    let done = format!("shutdown: {unmounted} mounts unmounted, {detached} loop devices detached");
    match left.list() {
        list if list.is_empty() => info!("{done}, nothing is left"),
        list => error!("{done}; still there: {}", list.join(", ")),
    }
    end(verb, argument)
}

/// What is mounted and attached.
struct Standing {
    mounts: Vec<mounts::Mount>,
    verity: Vec<String>,
    loops: Vec<PathBuf>,
}

impl Standing {
    fn now() -> Self {
        let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let mounts = mounts::order(mounts::parse(&mountinfo));
        Self { mounts, verity: loops::verity(), loops: loops::attached() }
    }

    fn count(&self) -> usize {
        self.mounts.len() + self.verity.len() + self.loops.len()
    }

    /// Each with the reason why it is still there.
    fn list(&self) -> Vec<String> {
        let mounts = self.mounts.iter().filter_map(|mount| {
            Some(format!("{} ({})", mount.at.display(), take_down(mount).err()?))
        });
        let loops = self.loops.iter().map(|device| device.display().to_string());
        mounts.chain(self.verity.iter().cloned()).chain(loops).collect()
    }
}

/// Takes down all that can be, in turns, for as long as one helps the next: an image's file is in use until its overlay,
/// its mount and its loop device are gone. Gives what is left.
fn unmount_all() -> Standing {
    let mut standing = Standing::now();
    loop {
        for mount in &standing.mounts {
            // What is in use may not be in the next turn; what is left in the end is told.
            let _ = take_down(mount);
        }
        loops::remove(&standing.verity);
        loops::detach(&standing.loops);
        let left = Standing::now();
        if left.count() == 0 || left.count() >= standing.count() {
            return left;
        }
        standing = left;
    }
}

/// Unmounts, and never lazily: what still writes is found out. A disk is made read-only first, so that its file system is
/// whole even where something holds on to it.
fn take_down(mount: &mounts::Mount) -> io::Result<()> {
    if mount.writable_disk {
        let _ = Mount::builder()
            .fstype("none")
            .flags(MountFlags::REMOUNT | MountFlags::RDONLY)
            .mount("none", &mount.at);
    }
    unmount(&mount.at, UnmountFlags::empty())
}

/// Comes to this program's end; PID 1 has none of its own.
fn end(verb: &OsStr, argument: Option<Vec<u8>>) -> ! {
    match verb.to_str() {
        Some("halt") => restart(RebootMode::RB_HALT_SYSTEM),
        Some("poweroff") => restart(RebootMode::RB_POWER_OFF),
        Some("kexec") => restart(RebootMode::RB_KEXEC),
        _ => {}
    }
    if let Some(argument) = argument.as_deref().and_then(line) {
        error!("restart with an argument: {}", restart_with(&argument));
    }
    // What could not be done as it was asked for ends here too: a machine that comes up again is worth more than one that hangs.
    restart(RebootMode::RB_AUTOBOOT);
    loop {
        pause();
    }
}

/// The first line, unless it is empty.
fn line(text: &[u8]) -> Option<CString> {
    let line = text.split(|&byte| byte == b'\n').next()?;
    CString::new(line).ok().filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb_of(words: &[&str]) -> Option<OsString> {
        verb(words.iter().map(OsString::from))
    }

    #[test]
    fn the_name_of_the_program_tells_the_end_from_the_beginning() {
        assert_eq!(verb_of(&["/shutdown", "reboot", "--log-level", "6"]), Some("reboot".into()));
        assert_eq!(verb_of(&["/run/initramfs/shutdown"]), Some("".into()));
        for words in [&["/init", "shutdown"][..], &["/init"], &[]] {
            assert_eq!(verb_of(words), None, "{words:?}");
        }
    }

    #[test]
    fn the_argument_for_the_firmware_is_the_first_line() {
        assert_eq!(line(b"bootloader\nx"), Some(c"bootloader".to_owned()));
        assert_eq!(line(b"0 tryboot"), Some(c"0 tryboot".to_owned()));
        for none in [&b""[..], b"\nx", b"a\0b"] {
            assert_eq!(line(none), None, "{none:?}");
        }
    }
}
