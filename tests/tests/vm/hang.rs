//! What ends a system that hangs or dies after init was executed: the watchdog that init has armed, and `panic=`.

use crate::state::{BOOT, SYSTEMD, State, says};
use std::path::PathBuf;
use tests::failure::Failure;
use tests::process;
use tests::vm::{Drive, Filesystem, Machine, Shell};

/// The kernel's first line.
const KERNEL: &str = "Linux version ";

/// Intel 6300ESB, which resets the machine when it is not pinged in time.
const WATCHDOG: [&str; 4] = ["-device", "i6300esb", "-action", "watchdog=reset"];

/// A machine with a watchdog and an initramfs that has the driver.
fn machine(state: &State) -> Result<Machine, Failure> {
    let artefacts = state.artefacts();
    let initrd: PathBuf = state.beside("initrd.img");
    let mut command = process::command(&artefacts.layerctl);
    command.arg("initrd").arg("-o").arg(&initrd).arg("--init").arg(&artefacts.init);
    command.arg("--modules-from").arg(&artefacts.tree).args(["--role", "virtio,ext4,watchdog"]);
    process::run(&mut command)?;
    let disk = state.disk(Filesystem::Ext4)?;
    let machine = Machine::new(state.name(), &artefacts.kernel, &initrd);
    Ok(machine.drive(Drive::scratch(&disk)).qemu(&WATCHDOG))
}

fn attribute(shell: &mut Shell<'_>, name: &str) -> Result<String, Failure> {
    Ok(shell.check(&format!("cat /sys/class/watchdog/watchdog0/{name}"))?)
}

#[test]
fn a_system_that_never_takes_the_watchdog_over_is_reset() -> Result<(), Failure> {
    let state = State::new("hang")?;
    let machine = machine(&state)?.append("init=/bin/sh layers.watchdog=30");
    let mut guest = machine.start()?;
    says(&mut guest, &["/dev/watchdog0 resets the machine", "watchdog did not stop"])?;
    let mut shell = guest.bare_shell(BOOT)?;
    let settings = shell.check("cat /run/systemd/system.conf.d/zz-layers-watchdog.conf")?;
    assert!(settings.ends_with("\nRuntimeWatchdogSec=30"), "{settings}");
    // The shell pings nothing.
    says(&mut guest, &[KERNEL, "/dev/watchdog0 resets the machine"])
}

#[test]
fn systemd_takes_the_watchdog_over_and_pings_it() -> Result<(), Failure> {
    let state = State::new("hang-systemd")?;
    // So short that no boot to the log-in lives through it without a ping.
    let machine =
        machine(&state)?.quick_systemd().append("layers.watchdog=16").qemu(&["-no-reboot"]);
    let mut guest = machine.start()?;
    let mut shell = guest.log_in(SYSTEMD)?;
    shell.set_deadline(SYSTEMD);
    assert_eq!(attribute(&mut shell, "state")?, "active");
    assert_eq!(attribute(&mut shell, "timeout")?, "16");
    assert_eq!(shell.check("systemctl show -P RuntimeWatchdogUSec")?, "16s");
    // As long again as the watchdog would wait, by the kernel's clock.
    let awake = "awk '{ exit $1 < 40 }' /proc/uptime";
    shell.check(&format!("until {awake}; do :; done"))?;
    shell.send("dmesg -n 7; systemctl poweroff")?;
    guest.wait_for_exit(SYSTEMD)?;
    assert!(guest.said().contains("nothing is left"), "the program at the end has run");
    Ok(())
}

#[test]
fn the_watchdog_is_left_alone_where_nobody_asks_for_it() -> Result<(), Failure> {
    let state = State::new("hang-unasked")?;
    let mut guest = machine(&state)?.append("init=/bin/sh").start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(shell.run("ls /dev/watchdog0")?.status, 2);
    assert_ne!(shell.run("ls /run/systemd/system.conf.d")?.status, 0);
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}

#[test]
fn a_panic_restarts_the_machine_after_the_time_that_the_command_line_gives() -> Result<(), Failure>
{
    let state = State::new("hang-panic")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot(&disk, "panic=10")?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.send("echo c > /proc/sysrq-trigger")?;
    says(&mut guest, &["Kernel panic - not syncing", "Rebooting in 10 seconds", KERNEL])?;
    guest.bare_shell(BOOT)?;
    Ok(())
}
