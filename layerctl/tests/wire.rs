//! Updates on the wire, from a real nginx: what an older image has is not fetched again, and whatever is wrong with what is
//! beside an image, the image is right.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;

use insta::assert_snapshot;

use crate::server::{Nginx, Relay};
use crate::world::{World, render};

/// Bytes of a layer's data, which no compression makes smaller.
const SIZE: usize = 3 << 20;

/// A world that has `big 1` and can get `big 2`, in which `changed` bytes in the middle are others and two files are new.
fn outdated(format: &str, changed: usize) -> (World, Nginx) {
    let world = World::with_base();
    world.shell(&format!(
        "mkdir -p served big-1/usr/share/big; cd big-1/usr/share/big
         for n in 1 2 3 4; do head -c {} /dev/urandom >$n; done; head -c 50000 /dev/urandom >small; cd ../../../..
         cp -a big-1 big-2; head -c {changed} /dev/urandom | dd of=big-2/usr/share/big/2 bs=1000 seek=300 conv=notrunc status=none
         echo new >big-2/usr/share/big/0; head -c 5000 /dev/urandom >big-2/usr/share/big/10",
        SIZE / 4
    ));
    build(&world, "big", 1, format);
    world.done("repo index served");
    let nginx = Nginx::start(&world, "");
    world.done(&format!("repo add main {}", nginx.url()));
    world.done("install big");
    build(&world, "big", 2, format);
    world.done("repo index served");
    (world, nginx)
}

fn build(world: &World, name: &str, version: u8, format: &str) {
    world.done(&format!(
        "build {name}-{version} --name {name} --version {version} --format {format} -o served/{name}_{version}.img"
    ));
}

/// Has the repository elsewhere from now on.
fn move_to(world: &World, url: &str) {
    world.done("repo remove main");
    world.done(&format!("repo add main {url}"));
}

/// Asserts that the store has `big 2` as it is on the server, and nothing unpublished. Gives what was said.
fn upgraded(world: &World) -> String {
    let output = world.command("upgrade").output().unwrap();
    let text = render("upgrade", &output);
    assert!(output.status.success(), "{text}");
    assert_is_whole(world);
    text
}

fn assert_is_whole(world: &World) {
    let stored = fs::read(world.image("served/big_2.toml")).unwrap();
    assert!(stored == world.read("served/big_2.img"), "it is the server's");
    let parts: Vec<_> = world
        .store()
        .into_keys()
        .filter(|path| path.to_string_lossy().contains("/.tmp-"))
        .collect();
    assert_eq!(parts, Vec::<std::path::PathBuf>::new());
}

/// What nginx was asked for since `before`.
fn asked(world: &World, before: &str) -> String {
    let log = String::from_utf8(world.read("access.log")).unwrap();
    log.strip_prefix(before).unwrap().to_owned()
}

/// How often the image was asked for without a range.
fn whole(log: &str) -> usize {
    log.lines().filter(|line| line.starts_with("GET /big_2.img 200")).count()
}

#[test]
fn only_what_is_new_is_fetched() {
    for format in ["squashfs", "erofs"] {
        let (world, nginx) = outdated(format, 20_000);
        let relay = Relay::start(nginx.port, u64::MAX);
        move_to(&world, &format!("http://127.0.0.1:{}", relay.port));
        let before = asked(&world, "");
        let already = relay.bytes.load(Ordering::SeqCst);
        let connections = relay.connections.load(Ordering::SeqCst);
        let text = upgraded(&world);
        let bytes = relay.bytes.load(Ordering::SeqCst) - already;
        // A squashfs block of 128 KiB at most for each of two changed places, index, metadata.
        assert!(bytes < SIZE as u64 / 8, "{format}: {bytes} bytes: {text}");
        assert!(relay.connections.load(Ordering::SeqCst) - connections <= 2, "{format}");
        let log = asked(&world, &before);
        assert!(log.contains("GET /big_2.img.blocks 200") && whole(&log) == 0, "{log}");
        assert!(log.contains("GET /big_2.img 206 bytes="), "{log}");
        println!("{format}: {bytes} bytes\n{log}");
        if format == "squashfs" {
            assert_snapshot!(text);
        }
    }
}

#[test]
fn a_base_is_updated_in_the_same_way() {
    let world = World::new();
    world.base_tree("debian-1");
    world.shell("mkdir -p served; head -c 2000000 /dev/urandom >debian-1/usr/lib/one; cp -a debian-1 debian-2");
    world.shell("head -c 70000 /dev/urandom >debian-2/usr/lib/two");
    for version in [1, 2] {
        build(&world, "debian", version, "squashfs --kind base");
    }
    world.done("init");
    world.done("base import served/debian_1.img");
    world.done("repo index served");
    let nginx = Nginx::start(&world, "");
    world.done(&format!("repo add main {}", nginx.url()));
    let text = world.run(&["upgrade --dry-run", "upgrade"]);
    assert_eq!(text.matches("bytes taken from debian 1").count(), 2, "{text}");
    let stored = fs::read(world.image("served/debian_2.toml")).unwrap();
    assert!(stored == world.read("served/debian_2.img"));
    let log = asked(&world, "");
    assert!(!log.contains("GET /debian_2.img 200"), "{log}");
}

#[test]
fn an_index_is_made_once_and_for_servers_to_read() {
    let (world, _nginx) = outdated("squashfs", 1);
    let path = world.path("served/big_2.img.blocks");
    let is = || (fs::metadata(&path).unwrap().modified().unwrap(), fs::read(&path).unwrap());
    let before = is();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(before.1.len(), 48 + world.read("served/big_2.img").len() / 4096 * 8);
    world.done("repo index served");
    assert_eq!(is(), before);
    // One that is of another image is made anew.
    fs::copy(world.path("served/big_1.img.blocks"), &path).unwrap();
    world.done("repo index served");
    assert_eq!(is().1, before.1);
    assert!(!world.path("served/htop_1.img.blocks").exists());
    world.layer("htop", "1", "");
    world.shell("mv htop_1.* served/");
    world.done("repo index served");
    assert!(!world.path("served/htop_1.img.blocks").exists(), "it is too small");
}

/// Puts `make`'s bytes in the place of the block index.
fn with_index(world: &World, make: impl Fn(Vec<u8>) -> Vec<u8>) {
    let name = "served/big_2.img.blocks";
    world.write(name, make(world.read(name)));
}

/// Gives all blocks from the `first` on the hash of the block before.
fn shifted(mut bytes: Vec<u8>, first: usize) -> Vec<u8> {
    let end = bytes.len();
    let from = 48 + first * 8;
    bytes.copy_within(from..end - 8, from + 8);
    bytes
}

#[test]
fn whatever_is_wrong_with_an_index_the_image_is_right() {
    type Wrong = fn(Vec<u8>) -> Vec<u8>;
    let useless: [(&str, Wrong); 5] = [
        ("empty", |_| Vec::new()),
        ("a page", |_| b"<html>not found</html>".to_vec()),
        ("cut", |bytes| bytes[..bytes.len() - 1].to_vec()),
        ("without end", |bytes| bytes.repeat(50)),
        ("another image's", |mut bytes| {
            bytes[20] ^= 1;
            bytes
        }),
    ];
    let (world, _nginx) = outdated("erofs", 20_000);
    let right = world.read("served/big_2.img.blocks");
    for (what, wrong) in useless {
        world.write("served/big_2.img.blocks", &right);
        with_index(&world, wrong);
        let before = asked(&world, "");
        upgraded(&world);
        let log = asked(&world, &before);
        assert_eq!(whole(&log), 1, "{what}: {log}");
        again(&world);
    }
    fs::remove_file(world.path("served/big_2.img.blocks")).unwrap();
    let before = asked(&world, "");
    upgraded(&world);
    assert_eq!(whole(&asked(&world, &before)), 1);
    again(&world);
    // What it says is there, but elsewhere: only the SHA-256 of all tells.
    world.write("served/big_2.img.blocks", shifted(right, 5));
    let before = asked(&world, "");
    let text = upgraded(&world);
    let log = asked(&world, &before);
    assert!(whole(&log) == 1 && log.contains(" 206 bytes="), "{log}");
    assert!(!text.contains("taken from"), "{text}");
}

/// Takes the upgrade back, and its image away.
fn again(world: &World) {
    world.done("rollback");
    fs::remove_file(world.image("served/big_2.toml")).unwrap();
}

#[test]
fn a_damaged_older_image_does_no_harm() {
    let (world, _nginx) = outdated("squashfs", 1000);
    let older = world.image("served/big_1.toml");
    let mut bytes = fs::read(&older).unwrap();
    for byte in bytes.iter_mut().step_by(100_000) {
        *byte ^= 1;
    }
    fs::write(&older, bytes).unwrap();
    let before = asked(&world, "");
    assert!(upgraded(&world).contains("taken from big 1"));
    assert_eq!(whole(&asked(&world, &before)), 0);
}

#[test]
fn a_server_without_ranges_gives_the_whole() {
    let (world, nginx) = outdated("squashfs", 1000);
    drop(nginx);
    let nginx = Nginx::start(&world, "max_ranges 0;");
    move_to(&world, &nginx.url());
    let before = asked(&world, "");
    let text = upgraded(&world);
    assert!(!text.contains("taken from"), "{text}");
    let log = asked(&world, &before);
    assert!(log.contains("GET /big_2.img 200 bytes="), "{log}");
}

#[test]
fn what_was_put_together_before_a_cut_is_kept() {
    let (world, nginx) = outdated("squashfs", 400_000);
    // Enough for the indexes, and for some of the parts.
    let relay = Relay::start(nginx.port, 60_000);
    move_to(&world, &format!("http://127.0.0.1:{}", relay.port));
    let output = world.command("upgrade").output().unwrap();
    let text = render("upgrade", &output);
    assert!(!output.status.success() || text.contains("taken from"), "{text}");
    let mut runs = 1;
    while !world.image("served/big_2.toml").exists() && runs < 9 {
        assert_eq!(world.images().len(), 2, "no part has a final name");
        world.command("upgrade").output().unwrap();
        runs += 1;
    }
    assert_is_whole(&world);
    let log = asked(&world, "");
    assert_eq!(whole(&log), 0, "{log}");
    assert!(relay.bytes.load(Ordering::SeqCst) < SIZE as u64 / 2, "{log}");
}

#[test]
fn an_image_that_has_little_in_common_is_got_whole() {
    let (world, _nginx) = outdated("erofs", 1);
    world.shell("for n in 1 2 3 4; do head -c 700000 /dev/urandom >big-2/usr/share/big/$n; done");
    build(&world, "big", 2, "erofs");
    world.done("repo index served");
    let before = asked(&world, "");
    upgraded(&world);
    assert_eq!(whole(&asked(&world, &before)), 1);
}
