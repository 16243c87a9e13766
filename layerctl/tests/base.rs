//! `init` and `base import`.

use insta::assert_snapshot;

use crate::world::World;

#[test]
fn init_makes_a_store_once() {
    let world = World::new();
    assert_snapshot!(world.run(&[
        "status",
        "init --dry-run",
        "init",
        "init",
        "init --unchanged-exit-77",
        "init --dry-run",
        "status",
        "history",
    ]));
}

#[test]
fn a_directory_becomes_the_base() {
    let world = World::new();
    world.base_tree("base");
    assert_snapshot!(world.run(&[
        "init",
        "base import base --dry-run",
        "base import base",
        "base import base",
        "base import base --unchanged-exit-77",
        "base import base --name mine --version 1.0~rc1",
        "status",
        "history",
    ]));
    let left: Vec<_> =
        world.store().into_keys().filter(|path| path.to_string_lossy().contains(".tmp-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_image_becomes_the_base() {
    let world = World::new();
    world.base_tree("base");
    world.done("init");
    world.done("build base --kind base --name debian --version 13.1 -o debian_13.1.img");
    world.done("build base --kind base --format erofs --name debian --version 13.2 -o two.erofs");
    assert_snapshot!(world.run(&[
        "base import debian_13.1.img --dry-run",
        "base import debian_13.1.img",
        "base import two.erofs",
        "status",
    ]));
}

#[test]
fn an_image_without_a_manifest_is_named_by_its_file_or_its_os_release() {
    let world = World::new();
    world.base_tree("base");
    world.done("init");
    world.shell("mksquashfs base plain.squashfs -quiet -no-progress >/dev/null");
    world.shell("cp plain.squashfs other_7.squashfs; echo x >base/etc/x");
    world.shell("mksquashfs base unlike_9_x86-64.raw -quiet -no-progress >/dev/null");
    assert_snapshot!(world.run(&[
        "base import plain.squashfs",
        "base import other_7.squashfs",
        "base import unlike_9_x86-64.raw",
        "base import plain.squashfs --name third --version 8",
        "status",
    ]));
}

#[test]
fn what_is_no_base_is_refused() {
    let world = World::new();
    world.base_tree("base");
    world.done("init");
    world.layer("htop", "3.4", "");
    world.shell("mkdir empty; cp -a base noinit; rm noinit/usr/lib/systemd/systemd");
    world.shell("cp -a base anonymous; rm anonymous/usr/lib/os-release");
    world.shell("mksquashfs empty empty_1.img -quiet -no-progress >/dev/null");
    let lines = [
        "base import htop_3.4.img",
        "base import empty --name a --version 1",
        "base import empty_1.img",
        "base import noinit",
        "base import anonymous",
        "base import anonymous --name 'my base' --version 1",
        "base import nowhere",
    ];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
}
