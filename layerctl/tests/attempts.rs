//! Attempts, `mark-good`, `health`, `--try-once`.

use insta::assert_snapshot;

use crate::running_system::booted;
use crate::world::World;

/// A world whose default generation, 2, has a base that marks its boots good.
fn counted() -> World {
    let world = World::with_base();
    world.base_tree("newer");
    world.write("newer/usr/lib/systemd/system/layerctl-mark-good.service", "[Service]\n");
    world.done("base import newer --version 13.1");
    world
}

#[test]
fn a_base_that_marks_its_boots_good_gives_its_generations_three_attempts() {
    let world = counted();
    world.layer("htop", "3.4", "");
    assert_snapshot!(world.run(&[
        "install htop_3.4.img --dry-run",
        "install htop_3.4.img",
        "status",
        "status --json"
    ]));
    assert_eq!(world.read("state/layerctl/boot/tries/3"), b"003\n");
}

#[test]
fn the_configuration_says_how_many_attempts_there_are() {
    let world = counted();
    world.write("seven.toml", "[boot]\nattempts = 7\n");
    world.write("none.toml", "[boot]\nattempts = 0\n");
    world.write("wrong.toml", "[boot]\nattempts = 1000\n");
    assert_snapshot!(world.run(&[
        "--config seven.toml set create a",
        "--config none.toml set create b",
        "--config wrong.toml set create c",
        "status",
    ]));
}

#[test]
fn mark_good_takes_the_attempts_away_once() {
    let world = counted();
    assert_snapshot!(world.run(&[
        "mark-good",
        "mark-good 9",
        "mark-good 2 --dry-run",
        "mark-good 2",
        "mark-good 2 --unchanged-exit-77",
        "status",
        "history",
    ]));
}

#[test]
fn the_running_generation_is_the_one_that_is_marked_good() {
    let world = counted();
    world.report("2");
    let before = "cat /run/initramfs/layers/state/layerctl/boot/tries/2";
    assert!(world.read("state/layerctl/boot/tries/2") == b"003\n", "{before}");
    assert_snapshot!(booted(&world, &["mark-good", "mark-good", "status"]));
}

#[test]
fn a_generation_without_attempts_is_shown_and_a_rollback_to_it_gives_them_anew() {
    let world = counted();
    world.write("state/layerctl/boot/tries/2", "000\n");
    assert_snapshot!(world.run(&["status", "plan", "rollback 2", "status"]));
}

#[test]
fn try_once_leaves_the_default_alone() {
    let world = World::with_layers();
    world.layer("jq", "1", "");
    assert_snapshot!(world.run(&[
        "install jq_1.img --try-once --dry-run",
        "install jq_1.img --try-once",
        "status",
        "rollback 2 --try-once",
        "rollback 2 --try-once --unchanged-exit-77",
        "uninstall htop",
        "history",
    ]));
}

#[test]
fn the_first_generation_cannot_be_tried_once() {
    let world = World::new();
    world.base_tree("base");
    world.done("init");
    assert_snapshot!(world.refused("base import base --try-once"));
}

#[test]
fn health_runs_every_executable_of_a_directory() {
    let world = World::new();
    world.write("checks/10-good", "#!/bin/sh\necho fine\n");
    world.write("checks/20-bad", "#!/bin/sh\necho no network >&2\nexit 3\n");
    world.write("checks/30-killed", "#!/bin/sh\nkill -9 $$\n");
    world.write("checks/README", "no check\n");
    world.write("checks/40-broken", "#!/nowhere\n");
    world.write("empty/README", "no check\n");
    for name in ["10-good", "20-bad", "30-killed", "40-broken"] {
        world.chmod(&format!("checks/{name}"), 0o755);
    }
    assert_snapshot!(world.run(&[
        "health checks",
        "health empty",
        "health nowhere",
        "health checks -q"
    ]));
}

#[test]
fn health_runs_this_machine_s_checks_and_greenboot_s() {
    let world = counted();
    world.report("2");
    let script = "mount -t tmpfs none /etc; cd /etc
        mkdir -p layerctl/health.d greenboot/check/required.d greenboot/check/wanted.d
        printf '#!/bin/sh\\n' >layerctl/health.d/disk; chmod +x layerctl/health.d/disk
        ln -s /dev/null layerctl/health.d/masked
        echo 'exit 1' >greenboot/check/required.d/00_dns.sh
        echo 'exit 2' >greenboot/check/wanted.d/01_update.sh
        echo 'no script' >greenboot/check/required.d/notes.txt; cd $here";
    world.write("prepare", script);
    assert_snapshot!(booted(&world, &["health", "status"]));
}
