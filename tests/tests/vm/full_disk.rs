//! On each file system: what is written is kept, and a state disk without a free block boots, with the way back and the way to
//! room again.

use crate::state::{BOOT, State, report};
use std::path::Path;
use tests::failure::Failure;
use tests::vm::{Drive, Filesystem, Guest, Shell};

const STATE: &str = "/run/initramfs/layers/state";

/// Takes every block, and before that, on ext4, every inode; root's own reserve is among them.
const FILL: &str = r#"cd /run/initramfs/layers/state; mkdir fill; cd fill
if [ "$(findmnt -no FSTYPE /run/initramfs/layers/state)" = ext4 ]; then
i=0; while touch $(seq -f i%.0f $i $((i+999))); do i=$((i+1000)); done 2>/dev/null; fi
rm -f i0 i1 i2; s=64; while [ $s -gt 0 ]; do fallocate -l ${s}M big$s 2>/dev/null || s=$((s/2)); [ -e big$s ] && mv big$s kept$((n=n+1)); done
dd if=/dev/zero of=blocks bs=1M; dd if=/dev/zero of=bytes bs=512 ; sync
dd if=/dev/zero of=bytes oflag=append conv=notrunc bs=512; touch x y z; sync"#;

/// Whether a file can be made and written.
const HAS_ROOM: &str = "(head -c 5000 /dev/zero > /run/initramfs/layers/state/probe 2>/dev/null; s=$?; rm -f /run/initramfs/layers/state/probe; exit $s)";

fn default(shell: &mut Shell<'_>) -> Result<String, Failure> {
    Ok(shell
        .check(&format!("cat {STATE}/layerctl/boot/default"))?
        .trim_start_matches('0')
        .to_owned())
}

fn boot(state: &State, disk: &Path) -> Result<Guest, Failure> {
    state.boot_with(Drive::writable(disk), "")
}

fn on_a_full_disk(filesystem: Filesystem, name: &str, mebibytes: u64) -> Result<(), Failure> {
    let state = State::new(name)?;
    state.install(&["htop"])?;
    state.install(&["jq"])?;
    state.install(&["tree"])?;
    state.layerctl(&["rollback", "3"])?;
    let disk = state.disk_of(filesystem, mebibytes)?;
    let mut guest = boot(&state, &disk)?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.set_deadline(BOOT);
    // The disk was made of copies of files, which have no blocks kept for them: a change keeps some again.
    shell.check("layerctl pin 1; layerctl unpin 1")?;
    let mounts = shell.check(&format!("grep ' {STATE} ' /proc/mounts"))?;
    assert!(mounts.contains(&format!(" {} rw,nosuid,nodev", filesystem.name())), "{mounts}");
    shell.check("for dir in etc var home; do echo mine > /$dir/mine; done")?;
    shell.run(FILL)?;
    assert_ne!(shell.run(HAS_ROOM)?.status, 0, "the disk is full");

    assert_eq!(default(&mut shell)?, "3");
    shell.check("layerctl rollback")?;
    assert_eq!(default(&mut shell)?, "2");
    // The reserve is used up now.
    shell.check("layerctl rollback 1")?;
    shell.check("layerctl rollback 2")?;
    assert_eq!(default(&mut shell)?, "2");
    shell.reboot_kernel()?;

    // One that never ran has no /etc, and no room for one.
    let mut shell = guest.bare_shell(BOOT)?;
    shell.set_deadline(BOOT);
    let booted = report(&mut shell)?;
    assert_eq!(booted.generation.to_string(), "2");
    assert!(booted.failed.is_empty(), "{:?}", booted.failed);
    assert_eq!(shell.check("cat /etc/mine; touch /etc/new && ls /etc/new")?, "mine\n/etc/new");
    shell.check("layerctl rollback 3")?;
    assert_eq!(default(&mut shell)?, "3");
    shell.reboot_kernel()?;

    // One that ran before has all of its own.
    let mut shell = guest.bare_shell(BOOT)?;
    shell.set_deadline(BOOT);
    let booted = report(&mut shell)?;
    assert_eq!(booted.generation.to_string(), "3");
    assert_eq!(shell.check("cat /etc/mine /var/mine /home/mine")?, "mine\nmine\nmine");
    shell.check("layerctl rollback 1")?;
    shell.check("layerctl rollback 3")?;
    // The others go, and the image that only the fourth has.
    shell.check("layerctl cleanup --keep 0")?;
    assert_eq!(shell.check(&format!("ls -1 {STATE}/layerctl/generations"))?, "3\nserial");
    // What that gives back, the store keeps in reserve first.
    let images = format!("ls -1 {STATE}/layerctl/store/*.img | wc -l");
    let left = "the base, two layers, the trigger layer over them, and the index of all";
    assert_eq!(shell.check(&images)?, "5", "{left}");
    shell.check(&format!("rm -r {STATE}/fill; layerctl verify"))?;
    shell.check(HAS_ROOM)?;
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.problems, [""; 0]);
    assert_eq!(shell.check("cat /etc/mine")?, "mine");
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}

#[test]
fn a_full_ext4_boots_and_changes_what_boots() -> Result<(), Failure> {
    on_a_full_disk(Filesystem::Ext4, "full-ext4", 512)
}

#[test]
fn a_full_xfs_boots_and_changes_what_boots() -> Result<(), Failure> {
    on_a_full_disk(Filesystem::Xfs, "full-xfs", 512)
}

#[test]
fn a_full_btrfs_boots_and_changes_what_boots() -> Result<(), Failure> {
    on_a_full_disk(Filesystem::Btrfs, "full-btrfs", 512)
}
