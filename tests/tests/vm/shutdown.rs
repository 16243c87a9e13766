//! The end of a system: `systemctl poweroff` and `reboot` leave a state file system that has nothing to be recovered.

use crate::state::{SYSTEMD, State};
use std::path::Path;
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::tools::find_program;
use tests::vm::{Drive, Filesystem};

/// What a program of the file system's makes says of a disk; the program's own verdict is its exit status.
fn examine(program: &str, arguments: &[&str], disk: &Path) -> Result<String, Failure> {
    let mut command = process::command(find_program(program).unwrap_or_else(|| program.into()));
    let output = process::read(command.args(arguments).arg(disk))?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Asserts that a disk is as a clean unmount leaves it.
fn is_clean(filesystem: Filesystem, disk: &Path) -> Result<(), Failure> {
    match filesystem {
        Filesystem::Ext4 => {
            let superblock = examine("dumpe2fs", &["-h"], disk)?;
            let state = superblock.lines().find(|line| line.starts_with("Filesystem state:"));
            assert_eq!(state.and_then(|line| line.split_whitespace().last()), Some("clean"));
            assert!(!superblock.contains("needs_recovery"), "{superblock}");
            examine("e2fsck", &["-fn"], disk)?;
        }
        Filesystem::Xfs => {
            let log = examine("xfs_logprint", &["-t"], disk)?;
            assert!(log.contains("state: <CLEAN>"), "{log}");
            examine("xfs_repair", &["-n"], disk)?;
        }
        Filesystem::Btrfs => {
            let superblock = examine("btrfs", &["inspect-internal", "dump-super"], disk)?;
            let log = superblock.lines().find(|line| line.starts_with("log_root\t"));
            assert_eq!(log.and_then(|line| line.split_whitespace().last()), Some("0"));
            examine("btrfs", &["check", "--readonly"], disk)?;
        }
    }
    Ok(())
}

/// Boots, writes, and ends as `words` say; gives what the console said.
fn end(state: &State, disk: &Path, append: &str, words: &str) -> Result<String, Failure> {
    // A machine that restarts ends QEMU, so that the disk can be looked at as it was left.
    let machine = state.machine(Drive::writable(disk)).quick_systemd().append(append);
    let mut guest = machine.qemu(&["-no-reboot"]).start()?;
    let mut shell = guest.log_in(SYSTEMD)?;
    shell.set_deadline(SYSTEMD);
    shell.check("for dir in etc var home; do echo x > /$dir/written; done")?;
    // The harness has made the console silent.
    shell.send(&format!("dmesg -n 7; {words}"))?;
    guest.wait_for_exit(SYSTEMD)?;
    Ok(guest.said().to_owned())
}

/// Asserts that the console tells of a clean end, and of nothing else.
fn tells(said: &str, loops: usize) {
    let lines: Vec<_> =
        said.lines().filter(|line| line.contains("layers-init: shutdown: ")).collect();
    let expected = format!("mounts unmounted, {loops} loop devices detached, nothing is left");
    assert!(matches!(lines[..], [line] if line.ends_with(&expected)), "{lines:?}");
    for complaint in ["Failed unmounting", "Unable to finalize"] {
        assert!(!said.contains(complaint), "{complaint}");
    }
}

/// How systemd is told to end, and the last words of the kernel.
type End = (&'static str, &'static str);

const RESTART: End = (
    "systemctl reboot --reboot-argument=unknown",
    "reboot: Restarting system with command 'unknown'",
);

const POWER_OFF: End = ("systemctl poweroff", "reboot: Power down");

/// The base on a loop device, a squashfs layer on another, EROFS layers on their files.
fn ends_clean(name: &str, filesystem: Filesystem, ends: &[End]) -> Result<(), Failure> {
    let state = State::new(name)?;
    state.install(&["htop", "tree"])?;
    let layer =
        state.build("squashed", &[("usr/share/squashed", "x")], &["--format", "squashfs"])?;
    state.layerctl(&["install", &layer.display().to_string()])?;
    let disk = state.disk(filesystem)?;
    for (words, last) in ends {
        let said = end(&state, &disk, "", words)?;
        tells(&said, 2);
        assert!(said.contains(last), "{words}");
        is_clean(filesystem, &disk)?;
    }
    Ok(())
}

#[test]
fn ext4_is_clean_after_a_restart_and_after_power_off() -> Result<(), Failure> {
    ends_clean("shutdown-ext4", Filesystem::Ext4, &[RESTART, POWER_OFF])
}

#[test]
fn xfs_is_clean_after_power_off() -> Result<(), Failure> {
    ends_clean("shutdown-xfs", Filesystem::Xfs, &[POWER_OFF])
}

#[test]
fn btrfs_is_clean_after_power_off() -> Result<(), Failure> {
    ends_clean("shutdown-btrfs", Filesystem::Btrfs, &[POWER_OFF])
}

#[test]
fn a_boot_that_writes_nothing_ends_as_well() -> Result<(), Failure> {
    let state = State::new("shutdown-frozen")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let before = files::read(&disk)?;
    // Both kinds in one machine.
    let append = "layers.ephemeral=etc,home layers.frozen=var";
    tells(&end(&state, &disk, append, "systemctl poweroff")?, 1);
    assert!(before == files::read(&disk)?, "not one write");
    Ok(())
}
