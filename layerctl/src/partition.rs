//! Which boot partition goes with the store, and whose it is.

#![expect(clippy::disallowed_methods, reason = "looks for the boot partition and at the machine")]

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use layers::boot_partition::BootPartition;
use layers::layout::{BootDir, EFIVARS};
use layers::machine_id::MachineId;
use layers::plan::change::Refusal;
use layers::store::efi;
use layers::store::partition::{self, Look};

use crate::context::Context;
use crate::error::Error;

/// Where the partition is mounted by custom (UAPI.1; file-hierarchy(7)).
const PLACES: [&str; 3] = ["/boot", "/efi", "/boot/efi"];

/// `f_type` of FAT (`MSDOS_SUPER_MAGIC`, statfs(2)).
const FAT: u64 = 0x4d44;

/// The word for no boot partition.
const NONE: &str = "none";

/// Finds and reads the boot partition: the one that was named on the command line, else the one that the configuration
/// names, else, for the running system's store, a FAT file system in one of the customary places.
pub(crate) fn find(
    context: &Context,
    configured: Option<&Path>,
    look: Look,
) -> Result<Option<BootPartition>, Error> {
    let at = match (context.boot(), configured) {
        (Some(named), _) | (None, Some(named)) if named == Path::new(NONE) => None,
        (Some(named), _) => Some(named.to_owned()),
        (None, Some(configured)) => Some(mounted(configured)?),
        (None, None) if context.is_running_system() => customary(),
        (None, None) => None,
    };
    let Some(at) = at else { return Ok(None) };
    let mut partition = partition::read(&BootDir::new(&at), look)?;
    if context.is_running_system() {
        partition.machine_id = machine_id();
        partition.state = state_uuid(&context.mount_point());
        partition.disown();
        partition.one_shot = efi::one_shot(Path::new(EFIVARS));
        if partition.state.is_none() && partition.state().is_none() {
            context.ui.warn(
                "the UUID of the state file system is not known, so boot entries do not name it: init looks for the label layers",
            );
        }
    }
    Ok(Some(partition))
}

/// A directory that the configuration names is of no use while nothing is mounted there: what was written would be hidden
/// by the partition later.
fn mounted(at: &Path) -> Result<PathBuf, Error> {
    let device = |path: &Path| {
        fs::metadata(path)
            .map(|metadata| metadata.dev())
            .map_err(|error| Error::io("read", path, error))
    };
    let parent = at.parent().unwrap_or(at);
    if device(at)? != device(parent)? {
        return Ok(at.to_owned());
    }
    let what = format!("the boot partition is not mounted at {}", at.display());
    let hint = format!("mount it: mount {}; or go without it: --boot none", at.display());
    Err(Refusal::new(what, hint).into())
}

fn customary() -> Option<PathBuf> {
    let is_fat = |place: &&str| {
        rustix::fs::statfs(*place).is_ok_and(|found| u64::try_from(found.f_type) == Ok(FAT))
    };
    PLACES.into_iter().find(is_fat).map(PathBuf::from)
}

fn machine_id() -> Option<String> {
    let text = fs::read_to_string("/etc/machine-id").ok()?;
    MachineId::is_one(text.as_bytes()).then(|| text.trim_end().to_ascii_lowercase())
}

/// The UUID of the file system that is mounted at `mount_point`: as udev has it, else by the links that it keeps.
fn state_uuid(mount_point: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let source = mount_source(&mounts, mount_point)?;
    let device = fs::metadata(&source).ok()?.rdev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let record = fs::read_to_string(format!("/run/udev/data/b{major}:{minor}"));
    let told = record.ok().and_then(|record| udev_uuid(&record));
    told.or_else(|| linked_uuid(device).ok().flatten())
}

fn linked_uuid(device: u64) -> io::Result<Option<String>> {
    for link in fs::read_dir("/dev/disk/by-uuid")? {
        let link = link?;
        if fs::metadata(link.path()).is_ok_and(|metadata| metadata.rdev() == device) {
            return Ok(link.file_name().into_string().ok());
        }
    }
    Ok(None)
}

/// The device that is mounted at a mount point, by the last of the lines that say so (proc_pid_mountinfo(5)).
fn mount_source(mounts: &str, mount_point: &Path) -> Option<String> {
    let source = |line: &str| {
        let (place, rest) = line.split_once(" - ")?;
        let at = place.split(' ').nth(4)?;
        (Path::new(at) == mount_point).then(|| rest.split(' ').nth(1).map(str::to_owned))?
    };
    mounts.lines().rev().find_map(source)
}

/// The file system's UUID in a device's record of udev's database.
fn udev_uuid(record: &str) -> Option<String> {
    let uuid = record.lines().find_map(|line| line.strip_prefix("E:ID_FS_UUID="))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!uuid.is_empty() && uuid.bytes().all(plain)).then(|| uuid.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_of_a_mount_point_is_that_of_its_last_mount() {
        let mounts = "22 1 0:21 / /proc rw - proc proc rw\n\
            30 1 254:1 / /run/initramfs/layers/state rw,nodev shared:1 - ext4 /dev/vda1 rw\n\
            31 1 254:2 /sub /run/initramfs/layers/state rw - ext4 /dev/vda2 rw\n\
            32 1 254:3 / /run/initramfs/layers/state/x rw - ext4 /dev/vda3 rw\n";
        let source = |at: &str| mount_source(mounts, Path::new(at));
        assert_eq!(source("/run/initramfs/layers/state"), Some("/dev/vda2".to_owned()));
        assert_eq!(source("/run"), None);
    }

    #[test]
    fn a_uuid_of_udev_is_taken_where_it_is_plain() {
        let record =
            |uuid: &str| format!("S:disk/x\nE:ID_FS_TYPE=ext4\nE:ID_FS_UUID={uuid}\nG:y\n");
        let uuid = "6d3376e4-fc93-4509-95ec-a21d68011da2";
        assert_eq!(udev_uuid(&record(uuid)), Some(uuid.to_owned()));
        assert_eq!(udev_uuid(&record("")), None);
        assert_eq!(udev_uuid(&record("a b")), None);
        assert_eq!(udev_uuid("E:ID_FS_TYPE=ext4\n"), None);
    }
}
