//! Stores that cannot be used, or not now.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;

use insta::assert_snapshot;

use crate::world::{World, render};

#[test]
fn a_store_of_a_newer_schema_is_left_alone() {
    let world = World::with_layers();
    world.write("state/layerctl/schema", "2\n");
    let lines =
        ["init", "status", "install htop", "rollback", "cleanup", "verify", "plan", "history"];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
    world.write("state/layerctl/schema", "one\n");
    assert_snapshot!("no_number", world.refused("status"));
}

#[test]
fn there_must_be_a_store() {
    let world = World::new();
    let lines = ["status", "install htop", "cleanup --dry-run"];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
    let line = "--root nowhere init";
    let output = assert_cmd::Command::cargo_bin("layerctl")
        .unwrap()
        .args(line.split(' '))
        .current_dir(world.path("."))
        .output()
        .unwrap();
    assert_snapshot!("no_directory", render(line, &output));
}

#[test]
fn only_one_changes_a_store_at_a_time() {
    let world = World::with_layers();
    world.write("state/layerctl/lock", "4711\n");
    let holder = File::open(world.path("state/layerctl/lock")).unwrap();
    holder.lock().unwrap();
    let lines = ["uninstall htop", "rollback", "pin 1", "cleanup", "base import base"];
    let mut text = lines.map(|line| world.refused(line)).concat();
    // Readers wait for nobody.
    text += &world.run(&["set list", "rollback --dry-run"]);
    assert_snapshot!(text);
    holder.unlock().unwrap();
    world.done("rollback");
}

#[test]
fn a_store_that_may_not_be_read_says_so() {
    let world = World::with_layers();
    world.shell("chown -R 12345:12345 state/layerctl");
    let mut text = String::new();
    for line in ["status", "rollback"] {
        let output = std::process::Command::new("setpriv")
            .args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"])
            .arg(assert_cmd::cargo::cargo_bin("layerctl"))
            .args(["--root", "state", line])
            .current_dir(world.path("."))
            .output()
            .unwrap();
        text += &render(line, &output);
    }
    assert_snapshot!(text);
}

/// Runs commands on a store whose file system is a tmpfs of its own, made with `options` and changed by `spoil`.
/// Prints the commands' words and the difference that they made to the store.
fn on_tmpfs(world: &World, options: &str, spoil: &str, lines: &[&str]) -> String {
    let mut script = format!(
        "exec 2>&1; mount -t tmpfs -o {options} none state; cp -a saved/. state; {spoil}; \
         list() {{ find state -not -name lock -type f -exec sha256sum {{}} + | sort; find state | sort; }}; list >before\n",
    );
    for line in lines {
        script += &format!(
            "echo '$ layerctl {line}'; layerctl --root state {line} || echo \"--- exit $?\"\n"
        );
    }
    script += "if list | cmp -s before -; then echo '--- the store is as it was'; else echo '--- the store has changed'; fi";
    world.write("script", script);
    world.shell("unshare -m --propagation private sh -eu script")
}

fn saved_world() -> World {
    let world = World::with_layers();
    world.shell("mkdir big; head -c 3000000 /dev/urandom >big/x");
    world.done("build big --name big --version 1 -o big_1.img");
    fs::rename(world.path("state"), world.path("saved")).unwrap();
    fs::create_dir(world.path("state")).unwrap();
    world
}

#[test]
fn a_full_state_file_system_stays_as_it_is() {
    let world = saved_world();
    // Not enough room for the image: seen before the copy.
    let lines = ["install big_1.img"];
    let text = on_tmpfs(&world, "size=2m", "true", &lines);
    assert_snapshot!("before_the_copy", text);
    // Not a byte left, not even for a record.
    let spoil = "cat /dev/zero >state/filler || true";
    let lines =
        ["uninstall htop", "set create x", "install big_1.img", "base import base", "status -q"];
    assert_snapshot!("no_room_for_a_record", on_tmpfs(&world, "size=2m", spoil, &lines));
    // Bytes enough, but no inode: the kernel says so in the midst of it.
    let spoil = "n=0; while touch state/$n 2>/dev/null; do n=$((n+1)); done";
    let lines = ["install big_1.img"];
    assert_snapshot!("no_inode", on_tmpfs(&world, "size=64m,nr_inodes=60", spoil, &lines));
}

#[test]
fn cleanup_gives_room_on_a_full_state_file_system() {
    let world = saved_world();
    let spoil =
        "cp big_1.img state/layerctl/store/.tmp-left.img; cat /dev/zero >state/filler || true";
    let lines = ["uninstall htop", "cleanup", "uninstall htop"];
    assert_snapshot!(on_tmpfs(&world, "size=5m", spoil, &lines));
}

#[test]
fn the_way_back_needs_no_room() {
    let world = saved_world();
    let lines = ["rollback", "rollback 3", "rollback 1", "cleanup --keep 0", "status -q"];
    // Every byte is taken: the reserve is given up, and made again where there is room.
    let spoil = "cat /dev/zero >state/filler || true";
    assert_snapshot!("with_a_reserve", on_tmpfs(&world, "size=3m", spoil, &lines));
    // A record of the same length fits where the old one is.
    let spoil = "rm state/layerctl/reserve; cat /dev/zero >state/filler || true";
    assert_snapshot!("without_a_reserve", on_tmpfs(&world, "size=3m", spoil, &lines));
}

#[test]
fn a_read_only_state_file_system_is_said_and_still_read() {
    let world = saved_world();
    let spoil = "mount -o remount,ro state";
    let lines = ["install big_1.img", "rollback", "init", "rollback --dry-run", "set list"];
    assert_snapshot!(on_tmpfs(&world, "size=5m", spoil, &lines));
}

#[test]
fn an_install_that_is_killed_can_be_typed_again() {
    let world = World::with_layers();
    world.shell("mkdir big; head -c 3000000 /dev/urandom >big/x");
    world.done("build big --name big --version 1 -o big_1.img");
    let before = world.run(&["status", "verify", "plan"]);
    // The kernel kills a process that writes past its file size limit: here in the midst of the copy.
    let killed = std::process::Command::new("sh")
        .args(["-c", "ulimit -c 0; ulimit -f 1000; exec \"$0\" --root state install big_1.img"])
        .arg(assert_cmd::cargo::cargo_bin("layerctl"))
        .current_dir(world.path("."))
        .output()
        .unwrap();
    assert!(killed.status.signal().is_some(), "{killed:?}");
    let store = world.path("state/layerctl/store");
    // Beside it is the directory of what was made of it.
    let files = fs::read_dir(store).unwrap().map(|entry| entry.unwrap());
    let names = files.filter(|file| file.path().is_file()).map(|file| file.file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(".tmp-")).collect();
    assert_eq!(left.len(), 1, "the copy was not half-way");

    assert_eq!(before, world.run(&["status", "verify", "plan"]));
    assert_snapshot!(world.run(&["cleanup", "install big_1.img", "verify"]));
}
