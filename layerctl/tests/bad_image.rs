//! Images that must not enter a store.

use insta::assert_snapshot;

use crate::world::{World, render};

#[test]
fn a_file_that_is_no_image_is_refused() {
    let world = World::with_base();
    world.layer("htop", "3.4", "");
    world.write("text_1.img", "hello\n".repeat(1000));
    world.write("empty_1.img", "");
    world.shell("mkfifo pipe_1.img");
    let lines = [
        "install text_1.img",
        "install empty_1.img",
        "install pipe_1.img",
        "base import text_1.img",
    ];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
}

#[test]
fn a_truncated_image_is_refused() {
    let world = World::with_base();
    world.shell("mkdir t; head -c 300000 /dev/urandom >t/x");
    for format in ["squashfs", "erofs"] {
        world.done(&format!(
            "build t --name {format} --version 1 --format {format} -o {format}_1.img"
        ));
        world.shell(&format!(
            "truncate -s 100000 {format}_1.img; cp {format}_1.img bare-{format}_1.img"
        ));
    }
    let lines = ["squashfs_1.img", "erofs_1.img", "bare-squashfs_1.img", "bare-erofs_1.img"];
    assert_snapshot!(lines.map(|file| world.refused(&format!("install {file}"))).concat());
}

#[test]
fn a_damaged_superblock_is_refused() {
    let world = World::with_base();
    world.layer_tree("a", "1");
    world.shell(
        "mksquashfs a-1 version_1.img -quiet -no-progress >/dev/null; cp version_1.img table_1.img",
    );
    // Bytes 28 and 29 are the version, 64 to 71 the place of the inode table.
    world.shell("printf '\\007' | dd of=version_1.img bs=1 seek=28 conv=notrunc status=none");
    world.shell("printf '\\377\\377' | dd of=table_1.img bs=1 seek=70 conv=notrunc status=none");
    let lines = ["install version_1.img", "install table_1.img"];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
}

#[test]
fn whiteouts_and_opaque_directories_are_refused() {
    let world = World::with_base();
    world.layer_tree("a", "1");
    world.shell("mkdir -p a-1/etc/x");
    world.mark("a-1/etc/x", "trusted.overlay.opaque", b"y");
    world.shell("mksquashfs a-1 opaque_1.img -quiet -no-progress >/dev/null");
    world.shell("rm -r a-1/etc; for n in 1 2 3 4 5 6 7; do mknod a-1/usr/bin/w$n c 0 0; done");
    world.shell("mksquashfs a-1 whiteout_1.img -quiet -no-progress >/dev/null");
    let lines = ["install opaque_1.img", "install whiteout_1.img"];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
}

#[test]
fn declared_deletions_are_taken() {
    let world = World::with_base();
    let tree = world.layer_tree("a", "1");
    world.shell("mknod a-1/usr/bin/vi c 0 0");
    world.done(&format!("build {tree} --name a --version 1 -o a_1.img --deletes /usr/bin/vi"));
    world.done("install a_1.img");
}

#[test]
fn a_root_that_locks_users_out_is_refused() {
    let world = World::with_base();
    world.layer_tree("a", "1");
    for (mode, name) in [(0o700, "private"), (0o754, "half")] {
        world.chmod("a-1", mode);
        world.shell(&format!("mksquashfs a-1 {name}_1.img -quiet -no-progress >/dev/null"));
    }
    let lines = ["install private_1.img", "install half_1.img"];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
}

#[test]
fn odd_names_and_versions_are_refused() {
    let world = World::with_base();
    world.layer("htop", "3.4", "");
    // One that does not say itself what it is called.
    world.shell("rm htop_3.4.*; mksquashfs htop-3.4 htop_3.4.img -quiet -no-progress >/dev/null");
    world.shell("for n in 'h top_1' 'htop_1:2' 'a_b_c_d' '-x_1' 'hätop_1'; do cp htop_3.4.img \"./$n.img\"; done");
    let lines = [
        "install './h top_1.img'",
        "install htop_1:2.img",
        "install a_b_c_d.img",
        "install ./-x_1.img",
        "install hätop_1.img",
    ];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
}

#[test]
fn a_manifest_that_does_not_fit_its_image_is_refused() {
    let world = World::with_base();
    world.layer("htop", "3.4", "");
    let good = String::from_utf8(world.read("htop_3.4.toml")).unwrap();
    let digest = good.lines().find(|line| line.starts_with("digest")).unwrap();
    let size = good.lines().find(|line| line.starts_with("size")).unwrap();
    let other = format!("digest = \"{}\"", "0".repeat(64));
    let mut text = String::new();
    for (from, to) in [
        (size, "size = 1"),
        ("format = \"erofs\"", "format = \"squashfs\""),
        ("dirs = [\"usr\"]", "dirs = [\"etc\", \"usr\"]"),
        (digest, other.as_str()),
        ("schema = 1", "schema = 2"),
        ("kind", "kidn"),
        ("version = \"3.4\"", "version = \"3/4\""),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        world.write("htop_3.4.toml", bad);
        text += &format!("== {to}\n{}", world.refused("install htop_3.4.img"));
    }
    assert_snapshot!(text);
}

#[test]
fn looking_into_an_image_needs_a_capability() {
    let world = World::with_base();
    world.layer("htop", "3.4", "");
    let before = world.store();
    let program = assert_cmd::cargo::cargo_bin("layerctl");
    let line = "install htop_3.4.img";
    let output = std::process::Command::new("setpriv")
        .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"])
        .arg(program)
        .args(["--root", "state", "install", "htop_3.4.img"])
        .current_dir(world.path("."))
        .output()
        .unwrap();
    assert_snapshot!(render(line, &output));
    assert_eq!(before, world.store());
}
