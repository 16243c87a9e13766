//! The attacks on updates that The Update Framework names (TUF specification 1.0.33, section 1.5.2), each against a repository
//! of signed images and a signed index. What cannot apply is written in docs/verification.md.

use std::fs::{self, File};

use insta::assert_snapshot;

use crate::server::Nginx;
use crate::signed::hidden;
use crate::world::World;

/// A store that wants everything signed, and `served`: a repository of signed images with a signed index.
fn served() -> World {
    let world = World::trusting();
    fs::create_dir(world.path("served")).unwrap();
    serve(&world, "htop", "3.4", "good", "");
    publish(&world);
    world.done("--trust trust repo add main served");
    world
}

/// Builds and signs a layer in `served`.
fn serve(world: &World, name: &str, version: &str, key: &str, options: &str) {
    let tree = world.layer_tree(name, version);
    let image = format!("served/{name}_{version}.img");
    world.done(&format!("build {tree} --name {name} --version {version} -o {image} {options}"));
    world.done(&format!("sign {image} --key {key}.key"));
}

fn publish(world: &World) {
    world.done("repo index served --key good.key");
}

/// What lies between a repository and its users changes the index's text and signs it with what it has.
fn forge(world: &World, key: &str, change: impl Fn(&str) -> String) {
    let text = String::from_utf8(world.read("served/layers.toml")).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed);
    world.write("served/layers.toml", changed);
    world.shell(&format!("cd served; minisign -S -s ../{key}.key -m layers.toml </dev/null >&2"));
}

/// The index and its signature as they are now.
fn keep(world: &World) -> [(&'static str, Vec<u8>); 2] {
    ["served/layers.toml", "served/layers.toml.minisig"].map(|name| (name, world.read(name)))
}

fn put_back(world: &World, kept: &[(&'static str, Vec<u8>)]) {
    kept.iter().for_each(|(name, bytes)| world.write(name, bytes));
}

/// Both ways in which an index is asked for: alone, and for an image.
fn refused(world: &World) -> String {
    world.distrusted("repo refresh") + &world.distrusted("upgrade --check")
}

#[test]
fn what_is_signed_is_installed_and_upgraded() {
    let world = served();
    let _hidden = hidden();
    let mut text = world.run(&["--trust trust install htop", "--trust trust verify"]);
    serve(&world, "htop", "3.5", "good", "");
    publish(&world);
    text += &world.run(&[
        "--trust trust upgrade --check",
        "--trust trust upgrade --dry-run",
        "--trust trust upgrade",
        "--trust trust repo refresh",
        "--trust trust verify htop",
    ]);
    assert_snapshot!(text);
    let left: Vec<_> =
        world.store().into_keys().filter(|path| path.to_string_lossy().contains(".tmp-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_server_gives_signatures_beside_images() {
    let world = served();
    let _hidden = hidden();
    let nginx = Nginx::start(&world, "");
    let url = nginx.url();
    let install = |file: &str| format!("--trust trust install {url}/{file}");
    world.layer("bare", "1", "");
    world.shell("cp bare_1.img bare_1.toml served; cp bare_1.img served/lone_1.img");
    let refused = [install("bare_1.img"), install("lone_1.img")].map(|line| world.refused(&line));
    for (text, why) in refused.iter().zip(["is not signed", "it has no manifest beside it"]) {
        assert!(text.contains(why), "{text}");
    }
    let log = String::from_utf8(world.read("access.log")).unwrap();
    assert!(!log.contains(".img "), "no image is asked for before its signature is good: {log}");
    world.done(&install("htop_3.4.img"));
    let found = world.run(&["--trust trust verify htop"]);
    assert!(found.contains("signature: trusted"), "{found}");
}

#[test]
fn arbitrary_software() {
    let world = served();
    let _hidden = hidden();
    world.key("attacker");
    serve(&world, "sudo", "9", "attacker", "");
    let before = keep(&world);
    world.done("repo index served --key attacker.key");
    let mut text = refused(&world);
    // An index that its repository signed does not make the images in it good.
    publish(&world);
    world.done("--trust trust repo refresh");
    text += &world.distrusted("install sudo");
    put_back(&world, &before);
    // Nor does none at all.
    fs::remove_file(world.path("served/layers.toml.minisig")).unwrap();
    text += &refused(&world);
    fs::remove_file(world.path("served/layers.toml")).unwrap();
    world.shell("cd served; sha256sum *.img >SHA256SUMS");
    text += &refused(&world);
    assert_snapshot!(text);
}

#[test]
fn endless_data() {
    let world = served();
    let endless = |name: &str| {
        let path = world.path(name);
        File::create(path).unwrap().set_len(1 << 33).unwrap();
    };
    let kept = keep(&world);
    let names = ["served/htop_3.4.toml", "served/htop_3.4.toml.minisig", "served/htop_3.4.img"];
    let mut text = String::new();
    for name in names {
        let bytes = world.read(name);
        endless(name);
        text += &world.distrusted("install htop");
        world.write(name, bytes);
    }
    for name in ["served/layers.toml.minisig", "served/layers.toml"] {
        serve(&world, "tree", "1", "good", "");
        publish(&world);
        endless(name);
        text += &world.distrusted("repo refresh");
        put_back(&world, &kept);
    }
    assert_snapshot!(text);
    world.done("--trust trust install htop");
}

#[test]
fn extraneous_dependencies() {
    let world = served();
    let _hidden = hidden();
    serve(&world, "spy", "1", "good", "");
    publish(&world);
    // The index makes an image ask for another that is signed as well: only its own manifest can.
    forge(&world, "good", |text| {
        let text = text.replacen("dirs = [", "requires = [\"spy\"]\ndirs = [", 1);
        change_line(&text, "serial", &format!("serial = {}", serial(&text) + 1))
    });
    world.done("--trust trust repo refresh");
    assert_snapshot!(world.distrusted("install htop"));
}

#[test]
fn fast_forward() {
    let world = served();
    let _hidden = hidden();
    world.done("--trust trust install htop");
    let kept = keep(&world);
    // Who has the key for a moment must not be able to make all indexes to come too old.
    forge(&world, "good", |text| change_line(text, "serial", "serial = 99999999999"));
    let text = refused(&world);
    put_back(&world, &kept);
    serve(&world, "htop", "3.5", "good", "");
    publish(&world);
    world.done("--trust trust upgrade --check");
    assert_snapshot!(text);
}

fn serial(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("serial = ")).unwrap().parse().unwrap()
}

fn change_line(text: &str, key: &str, line: &str) -> String {
    let changed = |old: &str| {
        let is = old.starts_with(&format!("{key} = "));
        if is { line.to_owned() } else { old.to_owned() }
    };
    text.lines().map(|old| changed(old) + "\n").collect()
}

#[test]
fn indefinite_freeze() {
    let world = served();
    let _hidden = hidden();
    forge(&world, "good", |text| {
        change_line(text, "valid-until", "valid-until = \"2026-01-01T00:00:00Z\"")
    });
    let mut text = refused(&world);
    // What was taken when it was valid does not stay so for ever.
    let cache = "state/layerctl/cache/repos/main.toml";
    let kept = String::from_utf8(world.read(cache)).unwrap();
    let index = String::from_utf8(world.read("served/layers.toml")).unwrap();
    let signatures = String::from_utf8(world.read("served/layers.toml.minisig")).unwrap();
    let mut table: toml::Table = kept.parse().unwrap();
    table.insert("text".into(), index.into());
    table.insert("signatures".into(), signatures.into());
    world.write(cache, table.to_string());
    fs::rename(world.path("served"), world.path("away")).unwrap();
    text += &world.distrusted("install htop");
    assert_snapshot!(text);
}

#[test]
fn mix_and_match() {
    let world = served();
    let _hidden = hidden();
    let old = keep(&world);
    let manifest = ["toml", "toml.minisig"].map(|ending| {
        let name = format!("served/htop_3.4.{ending}");
        (name.clone(), world.read(&name))
    });
    // The same name and version once more, with other bytes.
    world.write("htop-3.4/usr/share/doc/htop", "fixed\n");
    serve(&world, "htop", "3.4", "good", "");
    publish(&world);
    world.done("--trust trust repo refresh");
    let new = keep(&world);
    let mut text = String::new();
    // An index with the signature of another.
    put_back(&world, &[new[0].clone(), old[1].clone()]);
    let cached = world.read("state/layerctl/cache/repos/main.toml");
    fs::remove_file(world.path("state/layerctl/cache/repos/main.toml")).unwrap();
    text += &world.distrusted("repo refresh");
    world.write("state/layerctl/cache/repos/main.toml", cached);
    // An image's old manifest, signed as well, beside the new index.
    put_back(&world, &new);
    manifest.iter().for_each(|(name, bytes)| world.write(name, bytes));
    world.done("--trust trust repo refresh");
    text += &world.distrusted("install htop");
    assert_snapshot!(text);
}

#[test]
fn rollback() {
    let world = served();
    let _hidden = hidden();
    let old = keep(&world);
    serve(&world, "htop", "3.5", "good", "");
    publish(&world);
    world.done("--trust trust install htop");
    let new = keep(&world);
    put_back(&world, &old);
    let mut text = refused(&world);
    // Another index of the same age.
    put_back(&world, &new);
    forge(&world, "good", |text| change_line(text, "file", "file = \"other.img\""));
    text += &world.distrusted("repo refresh");
    // An image on its own: the version that was marked good is the lowest.
    world.write("state/layerctl/boot/versions", "layer htop 3.5\n");
    text += &world.distrusted("install served/htop_3.4.img --replace");
    assert_snapshot!(text);
}

#[test]
fn key_compromise() {
    let world = served();
    let _hidden = hidden();
    let id = world.key_id("good");
    let second = world.key("second");
    let trust = String::from_utf8(world.read("trust")).unwrap();
    // One of two keys is not enough, be it for an index or an image.
    world.write("trust", format!("{trust}threshold 2\n{second}\n"));
    let mut text = refused(&world);
    for file in ["layers.toml", "htop_3.4.img"] {
        world.done(&format!("sign served/{file} --key second.key"));
    }
    world.done("--trust trust repo refresh");
    // One that is known to be stolen counts no more, here at once, and it cannot come back.
    publish(&world);
    serve(&world, "htop", "3.4", "good", "");
    world.write("trust", format!("{trust}{second}\n"));
    world.done(&format!("trust revoke {id}"));
    text += &refused(&world);
    text += &world.distrusted("install served/htop_3.4.img");
    assert_snapshot!(text);
}

#[test]
fn wrong_software() {
    let world = served();
    let _hidden = hidden();
    serve(&world, "tree", "2.2", "good", "");
    publish(&world);
    world.done("--trust trust repo refresh");
    // Asked for htop, the server gives what is signed as tree.
    for ending in ["img", "toml", "toml.minisig"] {
        let (from, to) = (format!("served/tree_2.2.{ending}"), format!("served/htop_3.4.{ending}"));
        fs::copy(world.path(&from), world.path(&to)).unwrap();
    }
    let mut text = world.distrusted("install htop");
    // Or the image alone.
    serve(&world, "htop", "3.4", "good", "");
    publish(&world);
    world.done("--trust trust repo refresh");
    fs::copy(world.path("served/tree_2.2.img"), world.path("served/htop_3.4.img")).unwrap();
    text += &world.distrusted("install htop");
    assert_snapshot!(text);
}
