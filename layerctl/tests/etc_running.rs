//! `etc` on the running system: the real /etc, over images that are mounted where a boot mounts them.

use insta::assert_snapshot;
use layers::policy::{Dir, Mode};
use layers::report::{BootReport, WritableMount};

use crate::etc::{report, world};
use crate::world::World;

/// Runs a script in a mount namespace that looks like a machine which booted generation 2, its /etc in `mode`.
fn booted(world: &World, mode: Mode, script: &str) -> String {
    let boot = BootReport {
        schema: layers::report::SCHEMA,
        cmdline: "quiet".to_owned(),
        generation: "2".parse().unwrap(),
        layers: vec!["web".parse().unwrap()],
        skipped: Vec::new(),
        problems: Vec::new(),
        writable: vec![WritableMount { dir: Dir::Etc, mode, wiped: false }],
        verify: layers::trust::Verify::Off,
        unsigned: Vec::new(),
        index: None,
        failed: Vec::new(),
        steps: Vec::new(),
    };
    world.write("boot.json", serde_json::to_string(&boot).unwrap());
    let base =
        world.images().into_iter().find(|image| *image != world.image("web_1.toml")).unwrap();
    let (lower, home) = match mode {
        Mode::Persistent => ("", "$at/state/layerctl/upper/etc/2"),
        _ => ("$at/state/layerctl/upper/etc/2/upper:", "$at/ephemeral/etc"),
    };
    let script = format!(
        "exec 2>&1; mount -t tmpfs none /run; at=/run/initramfs/layers
         mkdir -p $at/state $at/base $at/layer/web $at/ephemeral /run/layers
         mount --bind state $at/state; mount -t tmpfs none $at/ephemeral
         mkdir -p {home}/upper {home}/work; chmod 755 {home}/upper
         mount -o loop,ro {} $at/base; mount -o loop,ro {} $at/layer/web
         mount -t overlay layerctl:2:etc -o index=off,metacopy=off,redirect_dir=nofollow,lowerdir={lower}$at/layer/web/etc:$at/base/etc,upperdir={home}/upper,workdir={home}/work /etc
         cp boot.json /run/layers
         run() {{ echo \"$ layerctl $*\"; layerctl \"$@\" || echo \"--- exit $?\"; }}
         {script}",
        base.display(),
        world.image("web_1.toml").display(),
    );
    world.write("script", script);
    world.shell("unshare -m --propagation private sh -eu script")
}

#[test]
fn the_merged_directory_is_what_is_changed() {
    let world = world();
    report(&world);
    let text = booted(
        &world,
        Mode::Persistent,
        "run etc status
         run etc reset /etc/motd /etc/conf.d /etc/local
         cat /etc/motd; ls /etc/conf.d; ls -d /etc/local || true
         echo mine >/etc/hosts; run etc status; run etc diff /etc/hosts
         run etc conflicts; run status -q
         run --root state etc reset /etc/hosts; cat /etc/hosts
         run history -q",
    );
    assert_snapshot!(text);
    // In the namespace that is gone now nothing was left behind.
    let left = std::fs::read_dir(std::env::temp_dir()).unwrap();
    let mut left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!left.any(|name| name == ".tmp-motd"));
    assert_snapshot!("afterwards", world.run(&["etc status", "etc conflicts"]));
}

#[test]
fn a_boot_that_keeps_nothing_writes_nothing_to_the_store() {
    let world = world();
    report(&world);
    let script = "mount -o remount,bind,ro $at/state
         run etc status
         run etc take /etc/motd --theirs; cat /etc/motd
         run etc conflicts; run etc take /etc/passwd --mine; run status -q | head -4
         run etc status";
    let text = booted(&world, Mode::Frozen, script);
    assert_snapshot!(text);
}

#[test]
fn a_change_that_stops_half_way_says_what_is_done() {
    let world = world();
    report(&world);
    // A file that something is mounted on cannot be replaced.
    let script = "echo other >$at/other; mount --bind $at/other /etc/motd
         run etc reset /etc/hosts /etc/motd; cat /etc/hosts; ls -A /etc
         run etc reset /etc/motd; umount /etc/motd
         run etc reset /etc/hosts /etc/motd; run etc status
         mount -o remount,ro /etc; run etc reset /etc/local";
    assert_snapshot!(booted(&world, Mode::Persistent, script));
}

#[test]
fn accounts_are_not_merged_while_somebody_changes_them() {
    let world = world();
    let there = "root:x:0:0::/root:/bin/sh\nthere:x:1001:1001::/home/there:/bin/sh\n";
    world.write("state/layerctl/upper/etc/1/upper/passwd", there);
    world.write("state/layerctl/upper/etc/1/upper/.pwd.lock", "");
    // As lckpwdf(3) does it.
    world.write(
        "holder",
        "use Fcntl qw(:DEFAULT :flock :seek);
         sysopen(my $lock, '/etc/.pwd.lock', O_WRONLY | O_CREAT, 0600) or die $!;
         my $whole = pack('s s l! l! i', F_WRLCK, SEEK_SET, 0, 0, 0);
         fcntl($lock, F_SETLK, $whole) or die $!;
         exit(system(@ARGV) >> 8);",
    );
    let script = "run etc sync --from 1 /etc/passwd --dry-run
         perl holder layerctl etc sync --from 1 /etc/passwd || echo \"--- exit $?\"
         run etc sync --from 1 /etc/passwd; cat /etc/passwd";
    assert_snapshot!(booted(&world, Mode::Persistent, script));
}

#[test]
fn without_a_boot_report_no_etc_is_the_current_one() {
    let world = world();
    let script = "rm /run/layers/boot.json
         run etc status; run etc reset /etc/motd; run etc conflicts; run etc status --generation 2";
    assert_snapshot!(booted(&world, Mode::Persistent, script));
}
