//! Uppers that are missing, damaged, full or tampered with: the boot comes up, says so, and nothing is lost.

use crate::state::{BOOT, State, report};
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::vm::{Drive, Filesystem, Shell};

const UPPERS: &str = "/run/initramfs/layers/state/layerctl/upper";

/// The line of the report that has `text` in it.
fn told(shell: &mut Shell<'_>, text: &str) -> Result<String, Failure> {
    let problems = report(shell)?.problems;
    let found = problems.iter().find(|problem| problem.contains(text));
    Ok(found.unwrap_or_else(|| panic!("nobody said {text:?}: {problems:?}")).clone())
}

#[test]
fn an_etc_that_went_missing_starts_from_another_s_and_a_full_disk_from_memory()
-> Result<(), Failure> {
    let state = State::new("writable-missing")?;
    state.install(&["htop"])?;
    state.install(&["tree"])?;
    state.layerctl(&["rollback", "1"])?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.problems, [""; 0]);
    shell.check("echo first > /etc/mine; layerctl rollback 2")?;
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.problems, [""; 0]);
    shell.check(&format!("echo second > /etc/mine; rm -r {UPPERS}/etc/2"))?;
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    told(
        &mut shell,
        "/etc: the upper of generation 2 is not there; it starts again from generation 1's",
    )?;
    assert_eq!(shell.check("cat /etc/mine")?, "first");
    // Nothing more fits; a reserve for root is part of it.
    let state_fs = "/run/initramfs/layers/state";
    shell.check("layerctl rollback 3")?;
    shell.run(&format!(
        "dd if=/dev/zero of={state_fs}/fill bs=1M; dd if=/dev/zero of={state_fs}/more bs=512; sync"
    ))?;
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    let why = told(&mut shell, "/etc: the state file system cannot be written")?;
    assert!(why.contains("No space left"), "{why}");
    assert_eq!(report(&mut shell)?.generation.to_string(), "3");
    assert_eq!(
        shell.check("cat /etc/mine; touch /etc/new /var/new && ls /etc/new")?,
        "first\n/etc/new"
    );
    shell.check(&format!("mount -o remount,rw {state_fs}; rm {state_fs}/fill {state_fs}/more"))?;
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.problems, [""; 0]);
    assert_eq!(shell.check("cat /etc/mine; ls /etc/new 2>/dev/null || true")?, "first");
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}

#[test]
fn what_nobody_put_into_etc_by_using_it_is_named() -> Result<(), Failure> {
    let state = State::new("writable-foreign")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    let upper = format!("{UPPERS}/etc/1/upper");
    // Hands on the disk, not on the system: overlay attributes cannot be set through a mounted overlay.
    shell.check(&format!(
        "cd {upper}; mknod disk b 254 0; cp /bin/true shell; chmod 4755 shell; mkdir moved; cd /"
    ))?;
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;
    let inside = "/layerctl/upper/etc/1/upper/moved";
    let set = format!("ea_set {inside} trusted.overlay.redirect /etc/ssl");
    process::run(process::command("debugfs").args(["-w", "-R", &set]).arg(&disk))?;

    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    for path in ["/etc/disk: ", "/etc/shell: ", "/etc/moved: "] {
        told(&mut shell, path)?;
    }
    assert_ne!(shell.run("head -c 1 /etc/disk")?.status, 0, "devices do not open there");
    assert_eq!(shell.check("ls -1 /etc/disk /etc/shell; ls /etc/moved")?, "/etc/disk\n/etc/shell");
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}

#[test]
fn an_upper_that_cannot_be_read_is_left_as_it_is() -> Result<(), Failure> {
    let state = State::new("writable-corrupt")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.check("echo 1 > /etc/mine; echo 1 > /var/mine; echo 1 > /home/mine")?;
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;
    for directory in ["etc/1/upper", "var/upper"] {
        let clear = format!("clri /layerctl/upper/{directory}");
        process::run(process::command("debugfs").args(["-w", "-R", &clear]).arg(&disk))?;
    }
    let before = files::read(&disk)?;
    assert!(!before.is_empty());

    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    let problems = report(&mut shell)?.problems;
    for dir in ["/etc: ", "/var: "] {
        assert!(problems.iter().any(|problem| problem.starts_with(dir)), "{dir}: {problems:?}");
    }
    assert_eq!(
        shell.check("cat /home/mine; ls /etc/os-release; touch /etc/x /var/x")?,
        "1\n/etc/os-release"
    );
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}
