//! Accounts of the administrator and of a package, over an upgrade and a rollback.

use crate::state::{BOOT, SYSTEMD, State, report};
use tests::failure::Failure;
use tests::vm::{Drive, Filesystem};
use tests::workspace::Workspace;

/// What getent(1) says about one of the administrator's users; the second field of shadow(5) is the password's hash.
const ALICE: &str = "getent passwd alice; getent shadow alice; getent group alice; \
    grep ^alice: /etc/subuid /etc/subgid; stat -c %U /home/alice";

#[test]
fn a_layer_adds_its_user_to_the_administrators_and_a_rollback_brings_etc_back()
-> Result<(), Failure> {
    let state = State::new("accounts")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let image = state.artefacts().installed_layer(&Workspace::here(), "avahi-daemon")?;
    let media = state.media(&[image.clone(), image.with_extension("toml")])?;

    let machine = state.machine(Drive::writable(&disk)).drive(Drive::read_only(&media));
    let mut guest = machine.clone().append("init=/bin/sh").start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.check("useradd --create-home alice && echo 'alice:correct horse' | chpasswd")?;
    let alice = shell.check(ALICE)?;
    assert!(alice.contains("\nalice:$y$"), "{alice}");
    shell
        .check("echo before > /etc/note; mount /dev/vdb /layers; layerctl install /layers/*.img")?;
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;

    let mut guest = machine.clone().quick_systemd().start()?;
    let mut shell = guest.log_in(SYSTEMD)?;
    shell.set_deadline(SYSTEMD);
    assert_eq!(report(&mut shell)?.generation.to_string(), "2");
    assert_eq!(shell.check(ALICE)?, alice, "the administrator's user is as it was");
    for file in ["passwd", "group", "shadow"] {
        let layers = format!("grep ^avahi: /run/initramfs/layers/trigger/etc/{file}");
        let merged = shell.check(&format!("getent {file} avahi"))?;
        assert_eq!(merged, shell.check(&layers)?, "the package's user is as its trigger made it");
    }
    assert_eq!(shell.run("systemctl is-system-running --wait")?.output, "running");
    assert_eq!(shell.check("ps -C avahi-daemon -o user= | sort -u")?, "avahi", "its service runs");
    shell.check("echo after > /etc/note; useradd bob; usermod --shell /bin/sh alice")?;
    shell.check("layerctl rollback")?;
    shell.send("systemctl poweroff")?;
    guest.wait_for_exit(SYSTEMD)?;

    let mut guest = machine.append("init=/bin/sh").start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.generation.to_string(), "1");
    assert_eq!(shell.check("cat /etc/note")?, "before");
    assert_eq!(shell.check(ALICE)?, alice);
    assert_eq!(shell.check("getent passwd bob avahi || true")?, "");
    Ok(())
}
