//! `initrd`.

use insta::assert_snapshot;

use crate::world::World;

/// A static program that every development machine of this project has.
const STATIC: &str = "/bin/busybox";

/// A kernel that has all that is needed built in.
fn kernel(world: &World, version: &str) {
    let directory = format!("tree/usr/lib/modules/{version}");
    let builtin = ["overlay", "loop", "squashfs", "erofs", "virtio_blk", "ext4"];
    let lines = builtin.map(|name| format!("kernel/{name}.ko\n")).concat();
    world.write(&format!("{directory}/modules.builtin"), lines);
    world.write(&format!("{directory}/modules.dep"), "");
}

#[test]
fn an_initrd_has_the_same_bytes_each_time() {
    let world = World::new();
    kernel(&world, "6.12.1");
    let line = format!("initrd --modules-from tree --init {STATIC} --role virtio,ext4");
    assert_snapshot!(world.run(&[
        &format!("{line} -o one.img"),
        &format!("{line} -o two.img"),
        &format!("{line} -o three.img --dry-run"),
        &format!("initrd --modules-from tree --init {STATIC} -o all.img"),
    ]));
    assert!(world.read("one.img") == world.read("two.img"));
    assert!(!world.path("three.img").exists());
    let names = world.shell("zstd -dcq one.img | cpio -t --quiet");
    assert!(names.lines().any(|name| name == "init"), "{names}");
}

#[test]
fn what_it_cannot_be_made_of_is_refused() {
    let world = World::new();
    kernel(&world, "6.12.1");
    let mut lines: Vec<String> = [
        "--modules-from . --init /bin/busybox",
        "--modules-from tree --init nowhere",
        "--modules-from tree --init /bin/ls",
        "--modules-from tree --init /bin/busybox --role virtio,floppy",
        "--modules-from tree --init /bin/busybox --role btrfs",
        "--modules-from tree --init /bin/busybox --kernel 6.1",
    ]
    .map(|arguments| format!("initrd {arguments} -o out.img"))
    .to_vec();
    lines.push("initrd --modules-from tree --init /bin/busybox -o nowhere/out.img".to_owned());
    let mut text: String = lines.iter().map(|line| world.refused(line)).collect();
    kernel(&world, "6.12.2");
    text += &world.refused("initrd --modules-from tree --init /bin/busybox -o out.img");
    assert_snapshot!(text);
    assert!(!world.path("out.img").exists());
}
