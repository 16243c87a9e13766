//! The device that holds the state: its file systems, how it is named, and what is wrong with it.

use crate::state::{BOOT, State, report, says};
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::tools::find_program;
use tests::vm::{Drive, Filesystem, Machine, make_disk};

/// A disk with a partition table whose one partition holds the state.
fn partitioned(state: &State) -> Result<std::path::PathBuf, Failure> {
    let filesystem = state.disk(Filesystem::Ext4)?;
    let disk = state.beside("gpt.img");
    files::make_sparse(&disk, files::size(&filesystem)? + (4 << 20))?;
    let sgdisk = find_program("sgdisk").unwrap_or_else(|| "sgdisk".into());
    let end = (files::size(&filesystem)? >> 9) + 2048 - 1;
    process::run(
        process::command(sgdisk)
            .args(["-n", &format!("1:2048:{end}"), "-c", "1:layers-state"])
            .args(["-u", "1:0FC63DAF-8483-4772-8E79-3D69D8477DE4"])
            .arg(&disk),
    )?;
    let mut copy = process::command("dd");
    copy.arg(format!("if={}", filesystem.display())).arg(format!("of={}", disk.display()));
    process::run(copy.args(["bs=1M", "seek=1", "conv=notrunc,sparse"]))?;
    Ok(disk)
}

#[test]
fn a_partition_is_found_by_each_of_its_names() -> Result<(), Failure> {
    let state = State::new("state-names")?;
    let disk = partitioned(&state)?;
    let blkid = find_program("blkid").unwrap_or_else(|| "blkid".into());
    let mut blkid = process::command(blkid);
    blkid.args(["-p", "-o", "value", "-s", "UUID"]).arg(state.beside("disk.img"));
    let uuid = String::from_utf8(process::read(&mut blkid)?)?;
    for name in [
        format!("UUID={}", uuid.trim_end()),
        "PARTLABEL=layers-state".into(),
        "PARTUUID=0fc63daf-8483-4772-8e79-3d69d8477de4".into(),
        "/dev/vda1".into(),
    ] {
        let mut guest = state.boot(&disk, &format!("layers.state={name}"))?;
        says(&mut guest, &["state device /dev/vda1: ext4, LABEL=layers, "])?;
        guest.bare_shell(BOOT)?;
    }
    Ok(())
}

#[test]
fn a_label_that_two_devices_have_is_refused() -> Result<(), Failure> {
    let state = State::new("state-twins")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let twins = state.machine(Drive::scratch(&disk)).drive(Drive::scratch(&disk));
    let mut guest = twins.start()?;
    says(
        &mut guest,
        &[
            "--- layers: nothing could be started ---",
            "LABEL=layers is ambiguous, and which device is meant is not guessed; block devices:",
            "/dev/vda: ext4, LABEL=layers",
            "/dev/vdb: ext4, LABEL=layers",
            "layers.state=UUID=...",
        ],
    )
}

#[test]
fn a_missing_device_is_waited_for_and_then_told() -> Result<(), Failure> {
    let state = State::new("state-missing")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot(&disk, "layers.state=LABEL=elsewhere layers.timeout=2")?;
    says(
        &mut guest,
        &[
            "no block device is LABEL=elsewhere after 2 s; block devices:",
            "/dev/vda: ext4, LABEL=layers",
            "layers.timeout=120",
        ],
    )?;
    drop(guest);
    let none: Machine = state.machine_without_disk().append("layers.timeout=2");
    says(
        &mut none.start()?,
        &["no block device is LABEL=layers after 2 s; no block device is there at all"],
    )
}

#[test]
fn a_full_state_file_system_boots_without_writing() -> Result<(), Failure> {
    let state = State::new("state-full")?;
    state.install(&["htop"])?;
    state.layerctl(&["rollback", "1"])?;
    let disk = state.beside("small.img");
    make_disk(Filesystem::Ext4, "layers", 256, &state.path(""), &disk)?;
    let mut guest = state.boot(&disk, "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    // Generation 2 has no /etc of its own yet, and there is no room for one.
    shell.check("echo before > /etc/note; layerctl rollback 2")?;
    let fill = "cd /run/initramfs/layers/state; for block in 1M 4k 1; do \
                dd if=/dev/zero bs=$block of=fill-$block 2>&1 | grep -o 'No space left' || true; done; cd /";
    assert_eq!(shell.check(fill)?, "No space left\nNo space left\nNo space left");
    shell.reboot_kernel()?;

    says(&mut guest, &["/etc: the state file system cannot be written: "])?;
    let mut shell = guest.bare_shell(BOOT)?;
    let report = report(&mut shell)?;
    assert_eq!(report.generation.to_string(), "2");
    assert!(report.problems.iter().any(|problem| problem.contains("No space left")), "{report:?}");
    shell.check("htop --version")?;
    assert_eq!(shell.check("cat /etc/note; echo now > /etc/note; cat /etc/note")?, "before\nnow");
    Ok(())
}

#[test]
fn a_write_protected_device_boots_frozen() -> Result<(), Failure> {
    let state = State::new("state-protected")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.check("echo before > /etc/note")?;
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;

    let mut guest = state.boot_with(Drive::read_only(&disk), "")?;
    says(&mut guest, &["/etc: the state file system on /dev/vda can only be read: "])?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.problems.len(), 3, "one for each of /etc, /var and /home");
    assert_eq!(shell.check("cat /etc/note; echo now > /etc/note; cat /etc/note")?, "before\nnow");
    Ok(())
}

/// As after a power failure: the journal has what could only be written back by writing.
#[test]
fn a_write_protected_device_with_a_journal_to_replay_boots_frozen() -> Result<(), Failure> {
    let state = State::new("state-journal")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    guest.bare_shell(BOOT)?.check("echo before > /etc/note; sync")?;
    drop(guest);

    let mut guest = state.boot_with(Drive::read_only(&disk), "")?;
    says(
        &mut guest,
        &[
            "/dev/vda: its journal is not empty and cannot be replayed",
            "/etc: the state file system on /dev/vda can only be read: ",
        ],
    )?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(shell.check("echo now > /etc/note; cat /etc/note")?, "now");
    Ok(())
}
