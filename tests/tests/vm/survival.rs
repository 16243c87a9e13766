//! What is written to /etc, /var and /home: which boots see it, and which leave the disk as it is.

use crate::state::{BOOT, SYSTEMD, State, report};
use std::path::Path;
use tests::failure::Failure;
use tests::process;
use tests::tools::find_program;
use tests::vm::{Drive, Filesystem, WriteLog};

/// Boots from the disk for good, runs a script and switches off; returns what the script wrote.
fn session(state: &State, disk: &Path, append: &str, script: &str) -> Result<String, Failure> {
    session_with(state, Drive::writable(disk), append, script)
}

/// As [`session`]; returns how often the disk was written to as well.
fn logged_session(
    state: &State,
    disk: &Path,
    append: &str,
    script: &str,
) -> Result<(String, u64), Failure> {
    let log = state.beside("disk.log");
    let output = session_with(state, Drive::logged(disk, &log)?, append, script)?;
    Ok((output, WriteLog::load(&log)?.writes))
}

fn session_with(
    state: &State,
    drive: Drive,
    append: &str,
    script: &str,
) -> Result<String, Failure> {
    let mut guest = state.boot_with(drive, append)?;
    let mut shell = guest.bare_shell(BOOT)?;
    let output = shell.check(script)?;
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;
    Ok(output)
}

/// Lists which of the three directories have the file.
fn seen(name: &str) -> String {
    format!("for dir in etc var home; do if [ -e /$dir/{name} ]; then echo $dir; fi; done")
}

fn write(name: &str) -> String {
    format!("for dir in etc var home; do echo {name} > /$dir/{name}; done; ")
}

const ALL: &str = "etc\nvar\nhome";

#[test]
fn files_survive_normal_boots_and_ephemeral_and_frozen_ones_leave_the_disk_alone()
-> Result<(), Failure> {
    let state = State::new("survival")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let (_, writes) = logged_session(&state, &disk, "", &write("kept"))?;
    assert!(writes > 0, "a normal boot writes");
    assert_eq!(session(&state, &disk, "", &seen("kept"))?, ALL);

    let script = seen("kept") + "; " + &write("gone") + &seen("gone");
    let seen_alone = (ALL.to_owned(), 0);
    assert_eq!(logged_session(&state, &disk, "layers.ephemeral", &script)?, seen_alone, "gone");
    let seen_both = (format!("{ALL}\n{ALL}"), 0);
    assert_eq!(
        logged_session(&state, &disk, "layers.frozen", &script)?,
        seen_both,
        "kept and gone"
    );

    let script = seen("kept") + "; echo -; " + &seen("gone");
    assert_eq!(session(&state, &disk, "", &script)?, format!("{ALL}\n-"));
    Ok(())
}

#[test]
fn an_ephemeral_boot_of_the_whole_system_writes_nothing() -> Result<(), Failure> {
    let state = State::new("survival-writes")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let log = state.beside("disk.log");
    let machine = state.machine(Drive::logged(&disk, &log)?).append("layers.ephemeral");
    let mut guest = machine.quick_systemd().start()?;
    let mut shell = guest.log_in(SYSTEMD)?;
    shell.set_deadline(SYSTEMD);
    assert_eq!(shell.check("systemctl is-system-running --wait")?, "running");
    shell.check("for dir in etc var home; do head -c 1M /dev/urandom > /$dir/gone; done; sync")?;
    shell.send("systemctl poweroff")?;
    guest.wait_for_exit(SYSTEMD)?;
    assert_eq!(WriteLog::load(&log)?.writes, 0);
    Ok(())
}

#[test]
fn an_ephemeral_boot_after_a_power_cut_leaves_the_journal_as_it_is() -> Result<(), Failure> {
    let state = State::new("survival-journal")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    guest.bare_shell(BOOT)?.check(&(write("kept") + "sync"))?;
    drop(guest);
    let has_to_be_replayed = || -> Result<bool, Failure> {
        let program = find_program("dumpe2fs").unwrap_or_else(|| "dumpe2fs".into());
        let said = process::read(process::command(program).arg("-h").arg(&disk))?;
        Ok(String::from_utf8_lossy(&said).contains("needs_recovery"))
    };
    assert!(has_to_be_replayed()?, "the power was cut");
    let (_, writes) = logged_session(&state, &disk, "layers.ephemeral", &write("gone"))?;
    assert_eq!(writes, 0);
    assert!(has_to_be_replayed()?, "the journal is as it was");
    assert_eq!(session(&state, &disk, "", &seen("kept"))?, ALL, "a normal boot replays it");
    Ok(())
}

#[test]
fn one_directory_alone_can_be_ephemeral() -> Result<(), Failure> {
    let state = State::new("survival-one")?;
    let disk = state.disk(Filesystem::Ext4)?;
    session(&state, &disk, "", &write("kept"))?;
    let script = seen("kept") + "; " + &write("second");
    assert_eq!(session(&state, &disk, "layers.ephemeral=etc,var", &script)?, "home");
    let script = seen("kept") + "; echo -; " + &seen("second");
    assert_eq!(session(&state, &disk, "", &script)?, format!("{ALL}\n-\nhome"));
    Ok(())
}

#[test]
fn a_wipe_leaves_what_the_keep_list_names() -> Result<(), Failure> {
    let state = State::new("survival-wipe")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let write = write("mine")
        + "echo 0123456789abcdef0123456789abcdef > /etc/machine-id; mkdir -p /etc/ssh; \
           echo key > /etc/ssh/ssh_host_rsa_key; echo x > /etc/ssh/sshd_config; echo host > /etc/hostname";
    session(&state, &disk, "", &write)?;
    let look = seen("mine")
        + "; cd /etc/ssh; ls -d sshd_config ssh_host_rsa_key 2>/dev/null; cat /etc/machine-id /etc/hostname; grep -c '\"wiped\":true' /run/layers/boot.json || true";
    let wiped = "ssh_host_rsa_key\n0123456789abcdef0123456789abcdef\nlayers";
    let part = session(&state, &disk, "layers.wipe=home", &seen("mine"))?;
    assert_eq!(part, "etc\nvar");
    assert_eq!(session(&state, &disk, "layers.wipe", &look)?, format!("{wiped}\n1"));
    assert_eq!(session(&state, &disk, "", &look)?, format!("{wiped}\n0"), "gone for good");
    Ok(())
}

#[test]
fn etc_belongs_to_its_generation() -> Result<(), Failure> {
    let state = State::new("survival-etc")?;
    state.install(&["htop"])?;
    state.layerctl(&["rollback", "1"])?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot(&disk, "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.check("echo 1 > /etc/one; echo 1 > /var/one; layerctl rollback 2")?;
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.generation.to_string(), "2");
    assert_eq!(shell.check("cat /etc/one /var/one")?, "1\n1", "a new /etc is a copy");
    shell.check("echo 2 > /etc/one; echo 2 > /etc/two; echo 2 > /var/two; layerctl rollback")?;
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.generation.to_string(), "1");
    let listing = shell.check("cat /etc/one; ls /etc/two || true; ls /var/two")?;
    assert!(listing.starts_with("1\n"), "{listing}");
    assert!(listing.contains("cannot access '/etc/two'"), "{listing}");
    assert!(listing.ends_with("/var/two"), "/var is shared: {listing}");
    Ok(())
}
