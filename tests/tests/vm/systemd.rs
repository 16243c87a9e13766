//! What systemd expects of /etc and /var: machine-id(5), the stamps of systemd-update-done.service(8), presets.

use crate::state::{BOOT, State, report};
use std::time::Duration;
use tests::failure::Failure;
use tests::vm::{Drive, Filesystem, Shell};

/// Long enough for a whole boot, on a machine that is busy with other things; one takes 40 s where it is not.
const SYSTEM: Duration = Duration::from_secs(300);

/// Asserts that all units came up; gives the machine's ID.
fn is_sound(shell: &mut Shell<'_>) -> Result<String, Failure> {
    // Degraded or not, this waits until all jobs are done.
    shell.run("systemctl is-system-running --wait")?;
    assert_eq!(shell.check("systemctl --failed --no-legend")?, "");
    let id = shell.check("cat /etc/machine-id")?;
    assert_eq!(id.len(), 32, "{id}");
    assert_eq!(shell.check("systemd-id128 machine-id")?, id);
    Ok(id)
}

/// What is left to delete beside the uppers.
const DISCARDED: &str =
    "find /run/initramfs/layers/state/layerctl/upper -maxdepth 3 -name '.tmp-*'";

#[test]
fn nothing_fails_and_the_machine_stays_itself_after_a_wiped_and_an_ephemeral_boot()
-> Result<(), Failure> {
    let state = State::new("systemd-boots")?;
    state.install(&["htop"])?;
    let disk = state.disk(Filesystem::Ext4)?;

    let mut guest = state.machine(Drive::writable(&disk)).start()?;
    let mut shell = guest.log_in(SYSTEM)?;
    shell.set_deadline(SYSTEM);
    let id = is_sound(&mut shell)?;
    shell.check("touch /etc/gone /var/gone /home/gone; mkdir -p /var/kept; touch /var/kept/x")?;
    let preview = shell.check("layerctl reset --preview")?;
    assert!(preview.contains("/home/gone"), "{preview}");
    shell.check("layerctl reset --keep /var/kept")?;
    shell.send("systemctl reboot")?;

    let mut shell = guest.log_in(SYSTEM)?;
    shell.set_deadline(SYSTEM);
    assert_eq!(is_sound(&mut shell)?, id, "the keep-list survives a wipe");
    assert_eq!(
        shell.check("ls -d /etc/gone /var/gone /home/gone /var/kept/x 2>/dev/null || true")?,
        "/var/kept/x"
    );
    assert!(report(&mut shell)?.writable.iter().all(|mount| mount.wiped));
    // The deletion goes on beside the boot; it is over when nothing is left.
    shell.check(&format!("until [ -z \"$({DISCARDED})\" ]; do :; done"))?;
    shell.send("systemctl poweroff")?;
    guest.wait_for_exit(SYSTEM)?;

    let mut guest = state
        .machine(Drive::writable(&disk))
        .append("layers.ephemeral layers.ephemeral.size=300M")
        .start()?;
    let mut shell = guest.log_in(SYSTEM)?;
    shell.set_deadline(SYSTEM);
    assert_eq!(is_sound(&mut shell)?, id, "the keep-list survives an ephemeral boot");
    assert_eq!(shell.check("ls /var/kept 2>/dev/null || true")?, "");
    let size = shell.check("findmnt -no OPTIONS /run/initramfs/layers/ephemeral")?;
    assert!(size.contains("size=307200k") && size.contains("nr_inodes=76800"), "{size}");
    let access = shell.check("findmnt -no OPTIONS /run/initramfs/layers/state")?;
    assert!(access.starts_with("ro,"), "{access}");
    Ok(())
}

/// A service and its user, as a package has them that never saw this system.
const BEACON: &[(&str, &str)] = &[
    (
        "usr/lib/systemd/system/beacon.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nUser=beacon\nExecStart=/usr/bin/id -un\n\
         [Install]\nWantedBy=multi-user.target\n",
    ),
    ("usr/lib/sysusers.d/beacon.conf", "u beacon - \"Beacon\"\n"),
    ("usr/lib/tmpfiles.d/beacon.conf", "d /var/lib/beacon 0750 beacon beacon\n"),
];

#[test]
fn a_new_layer_s_service_runs_at_once_and_stays_disabled_where_it_was_disabled()
-> Result<(), Failure> {
    let state = State::new("systemd-presets")?;
    let beacon = state.build("beacon", BEACON, &[])?;
    state.layerctl(&["install", &beacon.display().to_string()])?;
    state.install(&["tree"])?;
    state.layerctl(&["rollback", "1"])?;
    let disk = state.disk(Filesystem::Ext4)?;

    // The base alone runs first, so that /etc says that it is up to date.
    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.check("touch /etc/mine; layerctl rollback 2")?;
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;

    let mut guest = state.machine(Drive::writable(&disk)).quick_systemd().start()?;
    let mut shell = guest.log_in(SYSTEM)?;
    shell.set_deadline(SYSTEM);
    is_sound(&mut shell)?;
    assert_eq!(shell.check("systemctl is-active beacon")?, "active");
    assert_eq!(
        shell.check("stat -c '%U %a' /var/lib/beacon; ls /etc/mine")?,
        "beacon 750\n/etc/mine"
    );
    shell.check("systemctl disable --now beacon; layerctl rollback 3")?;
    shell.send("systemctl reboot")?;

    let mut shell = guest.log_in(SYSTEM)?;
    shell.set_deadline(SYSTEM);
    is_sound(&mut shell)?;
    assert_eq!(report(&mut shell)?.generation.to_string(), "3");
    assert_eq!(shell.run("systemctl is-enabled beacon")?.output, "disabled");
    assert_eq!(shell.check("id -un beacon; ls /etc/mine")?, "beacon\n/etc/mine");
    Ok(())
}
