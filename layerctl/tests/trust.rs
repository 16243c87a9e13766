//! What the trust file lets into a store, and what it keeps out.

use std::fs::{self, File, OpenOptions};

use insta::assert_snapshot;

use crate::signed::hidden;
use crate::world::World;

/// Lengths around which counters of 31 and 32 bits go wrong.
const LENGTHS: [u64; 4] = [(1 << 31) - 1, (1 << 31) + 1, (1 << 32) - 1, (1 << 32) + 1];

#[test]
fn nothing_enters_that_is_not_signed_as_asked() {
    let world = World::trusting();
    let _hidden = hidden();
    let (expired, revoked) = (world.key("expired"), world.key("revoked"));
    world.key("stranger");
    let trust = String::from_utf8(world.read("trust")).unwrap();
    let id = world.key_id("revoked");
    world.write("trust", format!("{trust}{expired} until=2020-01-31\n{revoked}\nrevoked {id}\n"));

    world.layer("unsigned", "1", "");
    for key in ["expired", "revoked", "stranger"] {
        world.signed_layer(key, "1", key);
    }
    world.signed_layer("htop", "3.4", "good");
    world.signed_layer("tree", "2.2", "good");
    let cases = ["bare", "manifest", "image", "swapped", "signature", "other", "damaged"];
    cases.iter().for_each(|case| world.copy_image("htop_3.4", &format!("{case}_1")));
    fs::remove_file(world.path("bare_1.toml")).unwrap();
    cut(&world, "manifest_1.toml", 200);
    cut(&world, "image_1.img", 2048);
    fs::copy(world.path("tree_2.2.img"), world.path("swapped_1.img")).unwrap();
    cut(&world, "signature_1.toml.minisig", 100);
    fs::copy(world.path("tree_2.2.toml.minisig"), world.path("other_1.toml.minisig")).unwrap();
    let mut bytes = world.read("damaged_1.img");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    world.write("damaged_1.img", bytes);
    for length in LENGTHS {
        world.copy_image("htop_3.4", &format!("long_{length}"));
        let file = OpenOptions::new().write(true).open(world.path(&format!("long_{length}.img")));
        file.unwrap().set_len(length).unwrap();
    }

    let mut names = vec!["unsigned", "expired", "revoked", "stranger"];
    names.extend(cases);
    let mut files: Vec<String> = names.iter().map(|name| format!("{name}_1.img")).collect();
    files.extend(LENGTHS.iter().map(|length| format!("long_{length}.img")));
    let mut text = String::new();
    for file in &files {
        text += &world.distrusted(&format!("install {file}"));
    }
    assert_snapshot!(text);
    world.done("--trust trust install htop_3.4.img tree_2.2.img");
}

fn cut(world: &World, name: &str, length: u64) {
    let file = OpenOptions::new().write(true).open(world.path(name)).unwrap();
    assert!(file.metadata().unwrap().len() > length, "{name}");
    file.set_len(length).unwrap();
}

/// A manifest that says so itself: nothing of such a length is hashed before it is refused.
#[test]
fn lengths_are_refused_before_a_byte_is_read() {
    let world = World::trusting();
    world.signed_layer("htop", "3.4", "good");
    for length in LENGTHS {
        let file = File::create(world.path("empty_1.img")).unwrap();
        file.set_len(length).unwrap();
        world.distrusted("install empty_1.img");
        world.distrusted("base import empty_1.img");
    }
}

#[test]
fn keys_sign_what_they_may_and_no_more() {
    let world = World::trusting();
    let _hidden = hidden();
    let limits = [
        ("bases", "kinds=base"),
        ("acme", "kinds=layer names=acme-*"),
        ("soon", "until=2999-12-31"),
    ];
    let mut trust = String::from_utf8(world.read("trust")).unwrap();
    for (name, limit) in limits {
        trust += &format!("{} {limit}\n", world.key(name));
    }
    world.write("trust", trust);
    world.signed_layer("acme-tool", "1", "acme");
    world.signed_layer("sudo", "1", "acme");
    world.signed_layer("htop", "1", "bases");
    world.signed_layer("tree", "1", "soon");
    let refused = [
        world.distrusted("install sudo_1.img"),
        world.distrusted("install htop_1.img"),
        world.run(&["--trust trust install acme-tool_1.img tree_1.img"]),
    ];
    assert_snapshot!(refused.concat());
}

#[test]
fn a_threshold_counts_each_key_once() {
    let world = World::trusting();
    let _hidden = hidden();
    let second = world.key("second");
    world.done("sign debian_13.img --key second.key");
    world.done("sign debian --key second.key");
    let trust = String::from_utf8(world.read("trust")).unwrap();
    world.write("trust", format!("{trust}threshold 2\n{second}\n"));
    world.signed_layer("htop", "1", "good");
    let mut text = world.distrusted("install htop_1.img");
    let one = world.read("htop_1.toml.minisig");
    world.write("htop_1.toml.minisig", [one.clone(), one].concat());
    text += &world.distrusted("install htop_1.img");
    world.done("sign htop_1.img --key second.key");
    text += &world.run(&["--trust trust install htop_1.img", "--trust trust verify htop"]);
    assert_snapshot!(text);
}

#[test]
fn an_older_version_needs_a_signature_of_its_own() {
    let world = World::trusting();
    let _hidden = hidden();
    world.signed_layer("htop", "3.4", "good");
    world.signed_layer("htop", "3.5", "good");
    world.write("state/layerctl/boot/versions", "layer htop 3.5\n");
    world.key("stranger");
    let mut text = world.distrusted("install htop_3.4.img");
    text += &world.run(&[
        "--trust trust downgrade allow layer htop 3.4 --key stranger.key",
        "--trust trust downgrade list",
    ]);
    text += &world.distrusted("install htop_3.4.img");
    text += &world.run(&[
        "downgrade allow kernel htop 3.4 --key good.key",
        "--trust trust downgrade allow layer htop 3.4 --key good.key --dry-run",
        "--trust trust downgrade allow layer htop 3.4 --key good.key",
        "--trust trust downgrade list --json",
        "--trust trust install htop_3.4.img",
        "--trust trust downgrade reset",
        "--trust trust downgrade reset --unchanged-exit-77",
    ]);
    assert_snapshot!(text);
}

#[test]
fn images_that_the_store_has_are_checked_again_for_each_generation() {
    let world = World::trusting();
    let _hidden = hidden();
    world.signed_layer("htop", "3.4", "good");
    world.done("--trust trust install htop_3.4.img");
    world.done("uninstall htop");
    let id = world.key_id("good");
    let mut text = world.run(&[&format!("trust revoke {id}"), "--trust trust trust show"]);
    text += &world.distrusted("install htop");
    text += &world.run(&[
        "trust revoke nonsense",
        &format!("trust revoke {id} --unchanged-exit-77"),
        "--trust trust verify --json debian",
    ]);
    assert_snapshot!(text);
}

#[test]
fn a_rollback_to_what_will_not_boot_is_told() {
    let world = World::with_layers();
    let _hidden = hidden();
    let key = world.key("good");
    world.write("trust", format!("verify require\n{key}\n"));
    world.done("sign debian htop --key good.key");
    world.done("uninstall tree");
    assert_snapshot!(world.run(&["--trust trust rollback 3", "--trust trust rollback 2"]));
}

#[test]
fn a_trust_file_that_is_not_understood_lets_nothing_in() {
    let world = World::trusting();
    world.signed_layer("htop", "3.4", "good");
    world.write("trust", "verify required\n");
    let mut text = world.distrusted("install htop_3.4.img");
    // It keeps nobody from going back, and no boot from being a good one.
    world.done("--trust trust mark-good 1");
    world.write("trust", "verify require\nkey nonsense\n");
    text += &world.distrusted("install htop_3.4.img");
    fs::remove_file(world.path("trust")).unwrap();
    text += &world.distrusted("install htop_3.4.img");
    assert_snapshot!(text);
}

#[test]
fn if_signed_takes_what_is_unsigned_and_nothing_with_a_bad_signature() {
    let world = World::trusting();
    let _hidden = hidden();
    world.key("stranger");
    let trust = String::from_utf8(world.read("trust")).unwrap();
    world.write("trust", trust.replace("require", "if-signed"));
    world.layer("htop", "3.4", "");
    world.signed_layer("tree", "2.2", "stranger");
    world.done("--trust trust install htop_3.4.img");
    assert_snapshot!(world.distrusted("install tree_2.2.img"));
}

#[test]
fn what_this_machine_makes_it_signs_itself() {
    let world = World::new();
    let _hidden = hidden();
    let key = world.key("machine");
    world.write("trust", format!("verify require\n{key} kinds=base,trigger\n"));
    world.write("layerctl.toml", "");
    world.base_tree("base");
    world.done("init");
    let mut text = world.distrusted("--config layerctl.toml base import base");
    world.write("layerctl.toml", format!("[sign]\nkey = {:?}\n", world.path("machine.key")));
    text += &world.run(&["--trust trust --config layerctl.toml base import base"]);
    text += &world.run(&["--trust trust verify"]);
    assert_snapshot!(text);
}

#[test]
fn an_initrd_takes_the_trust_file_with_it() {
    let world = World::new();
    world.kernel_tree("tree", "6.12.1");
    let key = world.key("good");
    let trust = format!("verify require\n{key}\n");
    world.write("trust", &trust);
    let line = "initrd --modules-from tree --init /bin/busybox --role virtio,ext4";
    world.done(&format!("{line} -o without"));
    world.done(&format!("{line} --trust trust -o with"));
    world.done(&format!("{line} --trust trust -o again"));
    assert!(
        world.read("with") == world.read("again") && world.read("with") != world.read("without")
    );
    let inside =
        world.shell("mkdir x; cd x; zstd -dcq ../with | cpio -id --quiet; cat etc/layerctl/trust");
    assert_eq!(inside, trust);
    let names = world.shell("zstd -dcq without | cpio -t --quiet");
    assert!(!names.contains("trust"), "{names}");
    world.write("trust", "verify require\n");
    let _hidden = hidden();
    assert_snapshot!(world.run(&[&format!("{line} --trust trust -o doubtful")]));
}
