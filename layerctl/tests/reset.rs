//! `reset`.

use insta::assert_snapshot;

use crate::world::World;

/// A store whose generation 3 has run and whose uppers have something in them.
fn lived_in() -> World {
    let world = World::with_layers();
    let upper = "state/layerctl/upper";
    world.write(&format!("{upper}/etc/3/upper/machine-id"), "0123\n");
    world.write(&format!("{upper}/etc/3/upper/ssh/ssh_host_ed25519_key"), "key\n");
    world.write(&format!("{upper}/etc/3/upper/ssh/sshd_config"), "Port 22\n");
    world.write(&format!("{upper}/etc/3/upper/nm/connections/home"), "psk\n");
    world.write(&format!("{upper}/etc/3/upper/nm/connections/work"), "psk\n");
    world.write(&format!("{upper}/etc/3/upper/evil\u{1b}[31m"), "");
    world.shell(&format!("mknod {upper}/etc/3/upper/motd c 0 0"));
    world.write(&format!("{upper}/var/upper/log/messages"), "x\n");
    world.write(&format!("{upper}/var/bound/lib/containers/image"), "blob\n");
    world.write("state/layerctl/boot/ran", "3\n");
    world
}

#[test]
fn a_reset_is_asked_for_shown_and_taken_back() {
    let world = lived_in();
    assert_snapshot!(world.run(&[
        "reset --cancel",
        "reset --etc --keep /etc/nm --dry-run",
        "reset --etc --keep /etc/nm '/etc/a*'",
        "status",
        "status --json",
        "reset --etc --keep /etc/nm '/etc/a*'",
        "reset",
        "reset --cancel --dry-run",
        "reset --cancel",
        "status -q",
        "history",
    ]));
    assert!(!world.path("state/layerctl/boot/reset").exists());
}

#[test]
fn a_preview_lists_what_goes_and_writes_nothing() {
    let world = lived_in();
    let before = world.store();
    assert_snapshot!(world.run(&[
        "reset --preview",
        "reset --preview --etc --keep '/etc/nm/connections/w*' /etc/nothing",
        "reset --preview --etc --json",
    ]));
    assert_eq!(before, world.store());
    // An /etc that is not there yet is made of the one that ran last, and emptied then.
    world.done("uninstall htop");
    assert_snapshot!("of_the_next_generation", world.run(&["reset --preview --etc"]));
}

#[test]
fn bad_requests_are_refused() {
    let world = lived_in();
    world.write(
        "layerctl.toml",
        "writable.var.mode = \"frozen\"\nwritable.home.mode = \"ephemeral\"\n",
    );
    let lines = [
        "reset --keep etc/nm",
        "reset --keep /etc/../root",
        "reset --keep /etc",
        "reset --keep /opt/x",
        "reset --var --keep /etc/nm",
        "reset --keep '/etc/*/x'",
        "reset --preview --keep /opt/x",
    ];
    let mut text = lines.map(|line| world.refused(line)).concat();
    world.done("--config layerctl.toml policy apply");
    text += &["reset --var", "reset --home", "reset --preview --home"]
        .map(|line| world.refused(line))
        .concat();
    text += &world.run(&["reset --json", "reset --preview --cancel", "reset --cancel --etc"]);
    // Those that are persistent.
    text += &world.run(&["reset"]);
    assert_snapshot!(text);
    world.write("layerctl.toml", "writable.etc.mode = \"frozen\"\nwritable.var.mode = \"frozen\"\nwritable.home.mode = \"frozen\"\n");
    world.done("--config layerctl.toml policy apply");
    assert_snapshot!("nothing_is_persistent", world.refused("reset"));
}

#[test]
fn a_damaged_request_is_said_and_replaced() {
    let world = lived_in();
    world.write("state/layerctl/boot/reset", "dirs = [\"opt\"]\n");
    assert_snapshot!(world.run(&[
        "status -q",
        "status --json -q",
        "reset --etc",
        "reset --cancel"
    ]));
}
