//! Disk images as systemd-repart makes them, and other images of extensions.

use insta::assert_snapshot;

use crate::world::World;

const ROOT: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
const USR: &str = "8484680c-9521-48c6-9c11-b0720656f69e";
const ARM64: &str = "b921b045-1df0-41c3-af44-4c6f280d3fae";
const DATA: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

/// A tree `NAME` that is an extension of that name, with one program in it.
fn extension(world: &World, name: &str, release: &str) {
    world.write(&format!("{name}/usr/bin/{name}"), format!("{name}\n"));
    let file = format!("{name}/usr/lib/extension-release.d/extension-release.{name}");
    world.write(&file, release);
}

/// A disk image with one partition of 4 MiB for each of these types; the first one holds the file `image`.
fn disk(world: &World, image: &str, types: &[&str], name: &str) {
    let mut script = String::from("label: gpt\n");
    for (number, kind) in types.iter().enumerate() {
        script += &format!("start={}, size=8192, type={kind}\n", 2048 + 8192 * number);
    }
    world.write("table", script);
    world.shell(&format!(
        "truncate -s 0 {name}; truncate -s 20M {name}
         sfdisk --quiet --no-reread --no-tell-kernel {name} <table >/dev/null
         dd if={image} of={name} bs=1M seek=1 conv=notrunc status=none"
    ));
}

fn squashfs(world: &World, tree: &str) {
    world.shell(&format!("mksquashfs {tree} {tree}.fs -quiet -no-progress -noappend >/dev/null"));
}

fn erofs(world: &World, tree: &str) {
    world.shell(&format!("mkfs.erofs --quiet -T0 {tree}.fs {tree} 2>/dev/null"));
}

const DEBIAN: &str = "ID=debian\nVERSION_ID=13\n";

#[test]
fn the_root_partition_is_taken_out_byte_for_byte() {
    let world = World::with_base();
    for make in [squashfs, erofs] {
        extension(&world, "htop", DEBIAN);
        make(&world, "htop");
        disk(&world, "htop.fs", &[ROOT, DATA], "htop_3.4_x86-64.raw");
        world.done("install --replace htop_3.4_x86-64.raw");
        let sum = |file: &str| world.shell(&format!("sha256sum <{file} | cut -d' ' -f1"));
        let image = format!("state/layerctl/store/{}.img", sum("htop.fs").trim());
        assert_eq!(world.read(&image), world.read("htop.fs"));
    }
    assert_snapshot!(world.run(&["lint htop_3.4_x86-64.raw", "files htop"]));
}

#[test]
fn a_usr_partition_comes_below_usr() {
    let world = World::with_base();
    for (make, version) in [(squashfs as fn(&World, &str), "1"), (erofs, "2")] {
        extension(&world, "htop", DEBIAN);
        world.shell("rm -rf inner; mv htop/usr inner");
        make(&world, "inner");
        let name = format!("htop_{version}.raw");
        disk(&world, "inner.fs", &[USR], &name);
        world.done(&format!("install --replace {name}"));
        let listed = world.run(&["files htop"]);
        assert!(listed.contains("\n/usr/bin/htop\n"), "{listed}");
    }
    // What is packed anew is the same each time.
    let first = world.images();
    world.done("install --replace htop_1.raw");
    assert_eq!(first, world.images());
}

#[test]
fn a_disk_image_made_by_systemd_repart_installs() {
    let world = World::with_base();
    extension(&world, "htop", DEBIAN);
    world.write("repart/10-root.conf", "[Partition]\nType=root\nFormat=squashfs\nCopyFiles=/usr\n");
    world.shell(
        "systemd-repart --empty=create --size=auto --definitions=repart --root=htop --dry-run=no htop.raw >/dev/null 2>&1",
    );
    world.done("install htop.raw");
    let listed = world.run(&["files htop"]);
    assert!(listed.contains("\n/usr/bin/htop\n"), "{listed}");
}

#[test]
fn bare_images_have_the_name_of_their_extension() {
    let world = World::with_base();
    extension(&world, "docker", "ID=_any\nARCHITECTURE=x86-64\n");
    squashfs(&world, "docker");
    world.shell("mv docker.fs docker-24.0.9-x86-64.raw; cp docker-24.0.9-x86-64.raw whatever.raw");
    extension(&world, "tool", "ID=_any\nSYSEXT_IMAGE_VERSION=7\n");
    erofs(&world, "tool");
    world.shell("mv tool.fs tool.raw");
    extension(&world, "arm", "ID=_any\nARCHITECTURE=arm64\n");
    erofs(&world, "arm");
    world.shell("mv arm.fs arm_1_x86-64.raw");
    assert_snapshot!(world.run(&[
        "install docker-24.0.9-x86-64.raw",
        "lint whatever.raw --json",
        "install tool.raw",
        "install arm_1_x86-64.raw",
    ]));
}

#[test]
fn extensions_for_other_systems_are_refused_with_the_reason() {
    let world = World::with_base();
    let mut text = String::new();
    for (number, release) in [
        "ID=fedora\nVERSION_ID=42\n",
        "ID=debian\nVERSION_ID=12\n",
        "ID=debian\n",
        "VERSION_ID=13\n",
        "ID=debian\nVERSION_ID=13\nSYSEXT_SCOPE=initrd\n",
        "ID=debian\nVERSION_ID=13\nARCHITECTURE=arm64\n",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("x{number}");
        extension(&world, &name, release);
        squashfs(&world, &name);
        world.shell(&format!("mv {name}.fs {name}.raw"));
        text += &world.refused(&format!("install {name}.raw"));
    }
    assert_snapshot!(text);
}

#[test]
fn disk_images_without_one_file_system_are_refused() {
    let world = World::with_base();
    extension(&world, "htop", DEBIAN);
    squashfs(&world, "htop");
    world.write("text", "no file system\n");
    disk(&world, "htop.fs", &[DATA], "none_1.raw");
    disk(&world, "htop.fs", &[ROOT, ROOT], "two_1.raw");
    disk(&world, "htop.fs", &[ROOT, USR], "both_1.raw");
    disk(&world, "htop.fs", &[ARM64], "arm_1.raw");
    disk(&world, "text", &[ROOT], "text_1.raw");
    disk(&world, "htop.fs", &[ROOT], "cut_1.raw");
    world.shell("truncate -s 3M cut_1.raw");
    disk(&world, "htop.fs", &[ROOT], "short_1.raw");
    // The length that the squashfs superblock tells, 40 bytes behind the partition's start.
    world.shell("printf '\\377\\377\\377' | dd of=short_1.raw bs=1 seek=$((1048576 + 40)) conv=notrunc status=none");
    let names = ["none", "two", "both", "arm", "text", "cut", "short"];
    assert_snapshot!(names.map(|name| world.refused(&format!("install {name}_1.raw"))).concat());
}

/// Images with any bit of their superblock flipped, and manifests with any byte changed, are taken for what they are or
/// refused; the program always ends in order.
#[test]
fn flipped_bits_are_refused_or_change_nothing() {
    let world = World::with_base();
    world.layer("htop", "3.4", "--format squashfs");
    let whole = world.read("htop_3.4.img");
    let manifest = world.read("htop_3.4.toml");
    let lint = |what: &str| {
        let output = world.command("lint htop_3.4.img").output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{what}: {output:?}");
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("panicked"),
            "{what}: {output:?}"
        );
        output.status.success()
    };
    for place in (0..96).step_by(3) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        world.write("htop_3.4.img", &bytes);
        lint(&format!("byte {place} of the image"));
        // The manifest's digest is another one, whatever the superblock looks like.
        let output = world.command("install htop_3.4.img").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "byte {place}: {output:?}");
    }
    world.write("htop_3.4.img", &whole);
    for place in (0..manifest.len()).step_by(7) {
        let mut bytes = manifest.clone();
        bytes[place] ^= 0x04;
        world.write("htop_3.4.toml", &bytes);
        lint(&format!("byte {place} of the manifest"));
    }
    world.write("htop_3.4.toml", &manifest);
    assert!(lint("the whole"));
}

/// A disk image `htop.raw` with a squashfs and its hash tree, by systemd-repart. Before systemd 255, that took a disk's sectors
/// for verity's blocks, so the disk has some of 4096 bytes. Gives the root hash that it tells.
fn with_hash_tree(world: &World) -> Option<String> {
    world.shell("rm -rf repart; mkdir repart");
    squashfs(world, "htop");
    let image = world.path("htop.fs");
    let data = format!(
        "[Partition]\nType=root\nCopyBlocks={}\nVerity=data\nVerityMatchKey=root\n",
        image.display()
    );
    let hash = "[Partition]\nType=root-verity\nVerity=hash\nVerityMatchKey=root\n";
    world.write("repart/10-root.conf", data);
    world.write("repart/11-verity.conf", hash);
    let said = world.shell(
        "truncate -s 0 htop.raw; truncate -s 24M htop.raw
         disk=$(losetup --find --show --sector-size 4096 htop.raw)
         systemd-repart --empty=force --definitions=repart --dry-run=no $disk >repart.log 2>&1; status=$?
         losetup --detach $disk; cat repart.log; exit $status",
    );
    let is_hash =
        |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    said.split_whitespace().find(is_hash).map(str::to_owned)
}

/// The value of a key of the only layer's manifest in the store.
fn in_manifest(world: &World, key: &str) -> Option<String> {
    let text = world.shell("cat state/layerctl/store/*.toml");
    let start = format!("{key} = ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.map(|value| value.trim_matches('"').to_owned())
}

#[test]
fn the_hash_tree_of_a_disk_image_is_the_image_s() {
    let world = World::with_base();
    extension(&world, "htop", DEBIAN);
    let root = with_hash_tree(&world).unwrap();
    world.done("install htop.raw");
    assert_eq!(in_manifest(&world, "root"), Some(root.clone()));
    let salt = in_manifest(&world, "salt").unwrap();
    assert_eq!(salt.len(), 64, "systemd-repart salts its trees");
    world.shell(&format!(
        "cd state/layerctl/store; image=$(basename *.verity .verity)
         PATH=$PATH:/usr/sbin veritysetup verify $image.img $image.verity {root}"
    ));
    let listed = world.run(&["files htop"]);
    assert!(listed.contains("\n/usr/bin/htop\n"), "{listed}");
}

#[test]
fn a_disk_image_whose_files_are_not_its_hash_tree_s_is_refused() {
    let world = World::with_base();
    extension(&world, "htop", DEBIAN);
    assert!(with_hash_tree(&world).is_some());
    // Eight bytes behind the beginning of a squashfs image is the time at which it was made.
    let mut bytes = world.read("htop.raw");
    let start =
        (0..bytes.len()).step_by(4096).find(|at| bytes[*at..].starts_with(b"hsqs")).unwrap();
    bytes[start + 8] ^= 1;
    world.write("htop.raw", bytes);
    let refused = world.refused("install htop.raw");
    assert!(refused.contains("htop.raw is damaged or was changed"), "{refused}");
    assert!(refused.contains("get or build the disk image again"), "{refused}");
    assert!(world.shell("ls state/layerctl/store").lines().all(|name| !name.ends_with(".verity")));
}
