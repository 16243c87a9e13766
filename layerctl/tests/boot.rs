//! Kernels, initrds and entries on a boot partition; `boot list`, `boot sync`, `kargs`.

use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use crate::world::World;

/// A world whose boot partition is the directory `boot`, with an entry and a kernel of somebody else.
fn world() -> World {
    let world = World::new();
    world.kernel_tree("base", "6.12.1");
    world.write("boot/loader/entries/other.conf", "title Other\nlinux /other/linux\n");
    world.write("boot/loader/entries/layerctl-mine.conf", "title Mine\nlinux /mine\n");
    world.write("boot/layerctl/README", "kept");
    world.write("boot/other/linux", "other");
    world.done("init");
    world
}

/// A world as above whose store has a base with a kernel.
fn started() -> World {
    let world = world();
    world.done("--boot boot base import base --name debian --version 13");
    world
}

/// The names of our entries.
fn entries(world: &World) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = world.files("boot/loader/entries").into_keys().collect();
    names.retain(|name| {
        !["other.conf", "layerctl-mine.conf"].map(Path::new).contains(&name.as_path())
    });
    names
}

fn ours(world: &World) -> String {
    let names = entries(world).iter().map(|name| name.display().to_string() + "\n").collect();
    let files = world.files("boot/layerctl");
    let files = files.iter().map(|(name, bytes)| {
        format!("{} {}\n", name.display(), if bytes.len() < 40 { "small" } else { "large" })
    });
    files.fold(names, |text: String, line| text + &line)
}

/// Renames our entry that begins so, as a boot loader does that counts.
fn count(world: &World, prefix: &str, counters: &str) {
    let name = entries(world).into_iter().find(|name| name.to_str().unwrap().starts_with(prefix));
    let name = name.unwrap().display().to_string();
    let stem = name.split_once('+').map_or(name.trim_end_matches(".conf"), |(stem, _)| stem);
    let directory = world.path("boot/loader/entries");
    fs::rename(directory.join(&name), directory.join(format!("{stem}{counters}.conf"))).unwrap();
}

#[test]
fn a_base_brings_its_kernel_to_the_boot_partition() {
    let world = world();
    world.layer("htop", "3.4", "");
    let mut text = world.run(&[
        "boot list",
        "--boot boot boot sync",
        "--boot boot base import base --name debian --version 13 --dry-run",
        "--boot boot base import base --name debian --version 13",
        "--boot boot base import base --name debian --version 13 --unchanged-exit-77",
        "--boot boot install htop_3.4.img --dry-run",
        "--boot boot install htop_3.4.img",
        "--boot boot boot list",
        "--boot boot boot list --json",
        "--boot boot boot sync --unchanged-exit-77",
        "--boot boot rollback --dry-run",
        "verify",
    ]);
    text += &world.shell("cat boot/loader/entries/layerctl-default-*; cat state/layerctl/generations/2/generation.toml");
    assert_snapshot!(text);
    assert_eq!(world.read("boot/loader/entries/other.conf"), b"title Other\nlinux /other/linux\n");
    assert_eq!(world.read("boot/layerctl/README"), b"kept");
}

#[test]
fn kernels_are_shared_and_go_with_their_last_generation() {
    let world = started();
    world.kernel_tree("next", "6.12.10");
    world.write("next/usr/lib/modules/6.12.9/modules.dep", "");
    world.write("next/boot/vmlinuz-6.12.9", "older by version, not by letters\n");
    world.done("--boot boot base import next --name debian --version 14");
    world.done("--boot boot kargs --append quiet");
    let mut text = ours(&world);
    text += &world.run(&[
        "--boot boot cleanup --keep 1 --dry-run",
        "--boot boot cleanup --keep 1",
        "--boot boot boot list",
        "verify",
    ]);
    text += &ours(&world);
    assert_snapshot!(text);
    let store = world.store();
    let kernels = store.keys().filter(|path| path.extension().is_some_and(|end| end == "kernel"));
    assert_eq!(kernels.count(), 1);
    assert!(world.path("boot/other/linux").exists());
}

#[test]
fn the_bytes_of_an_initrd_depend_on_the_base_alone() {
    let world = world();
    world.shell("cp -a base copy; touch copy/usr/lib/modules/6.12.1/modules.dep; mkdir other; layerctl --root other init");
    world.shell("layerctl build base --kind base --name debian --version 13 -o debian_13.img");
    world.done("base import copy --name debian --version 13");
    world.shell("layerctl --root other base import debian_13.img");
    let initrds = |state: &str| -> Vec<(PathBuf, Vec<u8>)> {
        let files = world.files(&format!("{state}/layerctl/store")).into_iter();
        files.filter(|(name, _)| name.extension().is_some_and(|end| end == "initrd")).collect()
    };
    assert_eq!(initrds("state").len(), 1);
    assert_eq!(initrds("state"), initrds("other"));
}

#[test]
fn attempts_are_in_the_names_of_entries() {
    let world = world();
    world.write("base/usr/lib/systemd/system/layerctl-mark-good.service", "");
    world.done("--boot boot base import base --name debian --version 13");
    let mut text = ours(&world);
    count(&world, "layerctl-default-1-", "+2-1");
    text += &world.run(&["--boot boot mark-good 1 --dry-run", "--boot boot mark-good 1"]);
    text += &ours(&world);
    world.done("--boot boot kargs --append quiet");
    count(&world, "layerctl-default-2-", "+0-3");
    text += &world.run(&["--boot boot boot list", "--boot boot rollback 1"]);
    text += &ours(&world);
    text += &world.run(&["--boot boot mark-good 1", "--boot boot boot sync --unchanged-exit-77"]);
    // As if init had counted too: the attempts are given anew, in the name as well.
    world.write("state/layerctl/boot/tries/2", "000\n");
    text += &world.run(&["--boot boot rollback 2"]);
    text += &ours(&world);
    assert_snapshot!(text);
}

/// The power may go after `boot/good` is written and before the names are: the boot loader goes on counting.
#[test]
fn counters_that_a_crash_left_in_the_names_go_at_the_next_good_boot() {
    let world = world();
    world.write("base/usr/lib/systemd/system/layerctl-mark-good.service", "");
    world.done("--boot boot base import base --name debian --version 13");
    count(&world, "layerctl-default-1-", "+2-1");
    world.done("--boot none mark-good 1");
    assert_snapshot!(world.run(&[
        "--boot boot mark-good 1",
        "--boot boot boot list",
        "--boot boot mark-good 1 --unchanged-exit-77",
        "--boot none mark-good 1 --unchanged-exit-77",
    ]));
}

#[test]
fn a_single_try_takes_the_kernel_of_the_default() {
    let world = started();
    world.kernel_tree("next", "6.12.2");
    world.layer("htop", "3.4", "");
    assert_snapshot!(world.run(&[
        "--boot boot install htop_3.4.img --try-once --dry-run",
        "--boot boot base import next --name debian --version 14 --try-once",
        "base import next --name debian --version 14 --try-once",
    ]));
}

#[test]
fn sync_mends_what_is_damaged_and_leaves_what_is_not_ours() {
    let world = started();
    world.done("--boot boot kargs --append quiet");
    let before = world.files("boot");
    let find = |prefix: &str, place: &str| {
        let names = world.files(place).into_keys().map(|name| name.display().to_string());
        names.into_iter().find(|name| name.contains(prefix)).unwrap()
    };
    let kernel = format!("boot/layerctl/{}", find("-linux", "boot/layerctl"));
    let entry = format!("boot/loader/entries/{}", find("layerctl-1-", "boot/loader/entries"));
    let default = find("layerctl-default-", "boot/loader/entries");
    // A length that is right and bytes that are not; half a text; a file too many; an entry too few.
    world.write(&kernel, vec![b'x'; world.read(&kernel).len()]);
    world.write(&entry, "title      debian 13\nversion    1\n");
    world.write(&format!("boot/layerctl/{}-initrd", "ab".repeat(32)), "left");
    fs::remove_file(world.path(&format!("boot/loader/entries/{default}"))).unwrap();
    assert_snapshot!(world.run(&[
        "--boot boot boot list",
        "--boot boot boot sync --dry-run",
        "--boot boot boot sync",
        "--boot boot boot sync --unchanged-exit-77",
        "history",
    ]));
    assert_eq!(world.files("boot"), before);
    // A partition that was replaced.
    fs::remove_dir_all(world.path("boot/layerctl")).unwrap();
    fs::remove_dir_all(world.path("boot/loader")).unwrap();
    world.done("--boot boot boot sync");
    for (path, bytes) in world.files("boot") {
        assert_eq!(before.get(&path), Some(&bytes), "{}", path.display());
    }
}

#[test]
fn a_boot_partition_that_is_too_small_is_refused() {
    let world = world();
    world.write("base/usr/lib/modules/6.12.1/vmlinuz", vec![7; 100_000]);
    world.shell("mkdir small; mount -t tmpfs -o size=64k none small; mkdir large; mount -t tmpfs -o size=152k none large");
    let mut text = world.refused("--boot small base import base --name debian --version 13");
    assert!(world.files("small").is_empty());
    world.done("--boot large base import base --name debian --version 13");
    world.kernel_tree("next", "6.12.2");
    world.write("next/usr/lib/modules/6.12.2/vmlinuz", vec![8; 100_000]);
    let before = world.files("large");
    text += &world.refused("--boot large base import next --name debian --version 14");
    assert_eq!(world.files("large"), before);
    text += &world.run(&["--boot large cleanup --keep 1 --dry-run"]);
    world.shell("umount small large");
    assert_snapshot!(text);
}

#[test]
fn without_an_init_program_there_is_no_initrd() {
    let world = world();
    world.shell("mv base/usr/lib/layerctl/layers-init init");
    let mut text = world.refused("--boot boot base import base --name debian --version 13");
    text += &world.run(&[
        "base import base --name debian --version 13",
        "--boot boot boot sync",
        "--boot boot kargs --append quiet",
        "--boot boot base import base --name debian --version 13 --init init",
        "--boot boot rollback",
    ]);
    text += &ours(&world);
    // A program that would not start, and a kernel that cannot do it.
    text +=
        &world.refused("--boot boot base import base --name debian --version 14 --init /bin/ls");
    world.write("base/usr/lib/modules/6.12.1/modules.builtin", "kernel/overlay.ko\n");
    text += &world.run(&["base import base --name debian --version 14 --init init"]);
    assert_snapshot!(text);
}

#[test]
fn entries_of_a_damaged_generation_are_left_alone() {
    let world = started();
    world.done("--boot boot kargs --append quiet");
    world.kernel_tree("next", "6.12.2");
    world.done("--boot boot base import next --name debian --version 14");
    world.write("state/layerctl/generations/1/generation.toml", "schema = 1\n");
    world.write("state/layerctl/generations/2/generation.toml", "schema = 1\n");
    let before = ours(&world);
    assert_snapshot!(world.run(&["--boot boot kargs --append debug", "--boot boot boot list"]));
    for line in before.lines().filter(|line| !line.contains("default") && !line.contains("-3-")) {
        assert!(ours(&world).contains(line), "{line}");
    }
}

#[test]
fn a_kernel_that_the_store_lost_is_missed() {
    let world = started();
    world.shell("rm state/layerctl/store/*.kernel");
    let mut text = world.run(&["--boot boot boot list", "verify"]);
    text += &world.refused("--boot boot kargs --append quiet");
    text += &world.run(&[
        "--boot boot base import base --name debian --version 13",
        "--boot boot kargs --append quiet",
        "verify",
    ]);
    assert_snapshot!(text);
}

#[test]
fn a_boot_partition_is_named_on_the_command_line_or_in_the_file() {
    let world = started();
    world.write("none.toml", "[boot]\npartition = \"none\"\n");
    world.write("boot.toml", format!("[boot]\npartition = \"{}\"\n", world.path("boot").display()));
    assert_snapshot!(world.run(&[
        "boot list",
        "--boot none boot list",
        "--boot nowhere boot list",
        "--boot base/etc/passwd boot sync",
        "--config none.toml boot list",
        "--config boot.toml boot list",
        "--config boot.toml --boot boot boot sync",
        "--boot none kargs --append quiet",
        "--boot boot boot sync --dry-run",
    ]));
}

#[test]
fn kargs_are_edited_as_rpm_ostree_does() {
    let world = started();
    assert_snapshot!(world.run(&[
        "kargs",
        "kargs --json",
        "kargs --append console=ttyS0 --append quiet --append console=tty0 --dry-run",
        "kargs --append console=ttyS0 --append quiet --append console=tty0",
        "kargs",
        "kargs --json",
        "kargs --append-if-missing quiet --unchanged-exit-77",
        "kargs --delete console=tty0 --append-if-missing debug",
        "kargs --replace console=ttyS1",
        "kargs --replace console=ttyS1=hvc0",
        "kargs --append 'dyndbg=\"file a.c +p\"'",
        "kargs",
        "--boot boot boot sync",
        "kargs --try-once --delete quiet",
        "kargs",
        "history",
        "status",
    ]));
}

#[test]
fn kargs_that_make_no_sense_are_refused() {
    let world = started();
    world.done("kargs --append console=ttyS0 --append console=tty0");
    let long = format!("kargs --append x={}", "y".repeat(1600));
    let lines = [
        "kargs --delete console",
        "kargs --delete console=hvc0",
        "kargs --delete quiet",
        "kargs --replace console=hvc0",
        "kargs --replace quiet=1",
        "kargs --append 'a b'",
        "kargs --append layers.generation=1",
        "kargs --append ''",
        "kargs --append=--",
        &long,
    ];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
}
