//! `key` and `sign`, with minisign's own program on the other side.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use crate::signed::hidden;
use crate::world::World;

#[test]
fn a_key_is_two_files_that_nothing_overwrites() {
    let world = World::new();
    let _hidden = hidden();
    world.write("password", "open sesame\n");
    world.write("empty", "\n");
    assert_snapshot!(world.run(&[
        "key generate --no-password --dry-run",
        "key generate --no-password --comment 'our layers' -o ours",
        "key generate --no-password -o ours",
        "key generate --password-file password -o locked",
        "key generate --password-file empty -o other",
        "key generate --password-file nowhere -o other",
        "key generate -o other",
    ]));
    for key in ["ours.key", "locked.key"] {
        let mode = std::fs::metadata(world.path(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    assert!(!world.path("other.key").exists() && !world.path("layerctl.key").exists());
    let secret = String::from_utf8(world.read("ours.key")).unwrap();
    let output = world.command("key generate --no-password -o third").output().unwrap();
    assert!(secret.starts_with("untrusted comment: our layers\n"), "{secret}");
    let secret = String::from_utf8(world.read("third.key")).unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!said.contains(secret.lines().nth(1).unwrap()), "nothing prints a secret");
}

#[test]
fn minisign_signs_with_our_keys_and_verifies_our_signatures() {
    let world = World::new();
    world.write("password", "open sesame\n");
    world.done("key generate --password-file password -o locked");
    world.key("bare");
    world.layer("htop", "3.4", "");
    world.write("text", "anything\n");
    world.shell("minisign -S -s locked.key -m text -x a <password >&2; minisign -Vq -p locked.pub -m text -x a");
    world.shell("minisign -S -s bare.key -m text -x b </dev/null >&2; minisign -Vq -p bare.pub -m text -x b");

    world.done("sign htop_3.4.img --key locked.key --password-file password");
    let verify = |key: &str| world.shell(&format!("minisign -V -p {key}.pub -m htop_3.4.toml"));
    assert!(verify("locked").contains("file:htop_3.4.toml\thashed"), "{}", verify("locked"));
    // From a descriptor, as systemd and scripts give it.
    world.shell("layerctl sign htop_3.4.img --key locked.key --password-fd 3 3<password 2>&1");
    verify("locked");
    let one = world.read("htop_3.4.toml.minisig");
    assert_eq!(
        one.iter().filter(|byte| **byte == b'\n').count(),
        4,
        "the same key's took its place"
    );
    let manifest = world.read("htop_3.4.toml");

    world.done("sign ./htop_3.4.toml --key bare.key");
    verify("locked");
    assert_eq!(world.read("htop_3.4.toml"), manifest, "what others signed stays as it is");
    let both = world.read("htop_3.4.toml.minisig");
    assert_eq!(both.iter().filter(|byte| **byte == b'\n').count(), 8);
    assert!(both.starts_with(&one));
    world.shell("tail -n 4 htop_3.4.toml.minisig >second; minisign -Vq -p bare.pub -m htop_3.4.toml -x second");
}

#[test]
fn what_minisign_makes_is_taken() {
    let world = World::trusting();
    world.write("password", "open sesame\nopen sesame\n");
    world.shell("minisign -G -W -p theirs.pub -s theirs.key >&2; minisign -G -p locked.pub -s locked.key <password >&2");
    let line = |key: &str| world.shell(&format!("sed -n 's/^RW/key RW/p' {key}.pub"));
    let mut trust = String::from_utf8(world.read("trust")).unwrap();
    trust += &line("theirs");
    trust += &line("locked");
    world.write("trust", trust);
    // With a key of minisign's, and signed by its own program in both of its ways.
    world.signed_layer("one", "1", "theirs");
    world.done("--trust trust install one_1.img");
    world.layer("two", "1", "");
    world.done("sign two_1.img --key locked.key --password-file password");
    world.done("--trust trust install two_1.img");
    for (name, way) in [("three", "-H"), ("four", "-l")] {
        world.signed_layer(name, "1", "good");
        world.shell(&format!(
            "minisign -S {way} -s theirs.key -m {name}_1.toml -x {name}_1.toml.minisig </dev/null >&2"
        ));
        world.done(&format!("--trust trust install {name}_1.img"));
    }
}

#[test]
fn what_cannot_be_signed_is_refused() {
    let world = World::with_layers();
    let _hidden = hidden();
    world.key("good");
    world.write("password", "wrong\n");
    world.write("right", "right\n");
    world.done("key generate --password-file right -o locked");
    world.write("foreign.key", "untrusted comment: x\nRWQAAA\n");
    world.write("none/loose_1.img", world.read("htop_3.4.img"));
    world.write("other_1.img", world.read("htop_3.4.img"));
    world.write("other_1.toml", world.read("tree_2.2.toml"));
    let mut swapped = world.read("htop_3.4.img");
    let last = swapped.len() - 1;
    swapped[last] ^= 1;
    world.write("swapped_1.img", swapped);
    world.write("swapped_1.toml", world.read("htop_3.4.toml"));
    let lines = [
        "sign htop_3.4.img --key nowhere.key",
        "sign htop_3.4.img --key foreign.key",
        "sign htop_3.4.img --key good.pub",
        "sign htop_3.4.img --key locked.key --password-file password",
        "sign none/loose_1.img --key good.key",
        "sign ./none/loose_1.toml --key good.key",
        "sign other_1.img --key good.key",
        "sign swapped_1.img --key good.key",
        "sign vim --key good.key",
    ];
    assert_snapshot!(lines.iter().map(|line| world.refused(line)).collect::<String>());
}

#[test]
fn images_of_the_store_are_signed_where_they_are() {
    let world = World::with_layers();
    let _hidden = hidden();
    let key = world.key("good");
    world.write("trust", format!("verify if-signed\n{key}\n"));
    let mut text = world.run(&[
        "sign htop --key good.key --dry-run",
        "sign htop debian --key good.key",
        "sign htop --key good.key",
        "--trust trust verify htop",
        "--trust trust verify",
        "--trust trust verify --json tree",
        "verify htop",
        "--trust trust trust require",
        "sign tree --key good.key",
        "--trust trust trust require",
        "--trust trust trust show",
        "--trust trust install htop",
    ]);
    let tree = world.image("htop_3.4.toml").with_extension("verity");
    std::fs::remove_file(&tree).unwrap();
    text += &world.run(&["--trust trust verify htop", "sign htop --key good.key"]);
    assert!(tree.exists());
    text += &world.run(&["--trust trust verify htop"]);
    assert_snapshot!(text);
}
