//! Hash trees and fs-verity digests beside those of the real tools: veritysetup (cryptsetup) and fsverity (fsverity-utils).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test runs programs on files and ends with the first surprise"
)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

use layers::manifest::Verity;
use layers::store::cover;
use layers::verity::{self, BLOCK, Measured, Superblock, SuperblockError};
use sha2::{Digest as _, Sha256};

/// Trees of none to three levels, and the numbers of blocks around which a level begins.
const BLOCKS: [usize; 9] = [1, 2, 3, 127, 128, 129, 1000, 128 * 128, 128 * 128 + 1];

fn program(name: &str, arguments: &[&str]) -> Output {
    let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .map(|directory| Path::new(directory).join(name))
        .into_iter()
        .find(|path| path.exists());
    let mut command = Command::new(found.unwrap_or_else(|| name.into()));
    command
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}: apt-get install cryptsetup-bin fsverity"))
}

fn run(name: &str, arguments: &[&str]) -> String {
    let output = program(name, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {text}{output:?}");
    text
}

/// The value of a line `KEY: VALUE`.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split_once(':')).expect(text).1.trim()
}

/// An image whose blocks are all different, and none of them of one byte alone.
fn image(path: &Path, blocks: usize) {
    let mut bytes = vec![0; blocks * BLOCK];
    for (number, block) in bytes.chunks_mut(BLOCK).enumerate() {
        let hash = Sha256::digest(number.to_le_bytes());
        block.iter_mut().zip(hash.iter().cycle()).for_each(|(to, from)| *to = *from);
    }
    fs::write(path, bytes).unwrap();
}

/// Writes an image's tree with its superblock.
fn build(image: &Path, tree: &Path, salt: &str) -> Measured {
    let file = File::open(image).unwrap();
    let size = file.metadata().unwrap().len();
    let to = File::create(tree).unwrap();
    let mut sink =
        |place: u64, block: &[u8; BLOCK]| to.write_all_at(block, (place + 1) * BLOCK as u64);
    let measured = verity::build(file, size, salt, &mut sink).unwrap();
    to.write_all_at(&Superblock::block(&measured.verity).unwrap(), 0).unwrap();
    measured
}

#[test]
fn trees_are_veritysetup_s_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, ours, theirs) = (at("image"), at("ours"), at("theirs"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    for blocks in BLOCKS {
        image(&data, blocks);
        for salt in ["", "00", "a7c3f1e2905544b1d2e3f405162738495a6b7c8d9eafb0c1d2e3f40516273849"] {
            if blocks > 1000 && !salt.is_empty() {
                // A salt is in each hash alike.
                continue;
            }
            let measured = build(&data, &ours, salt);
            let dump = run("veritysetup", &["dump", &text(&ours)]);
            let (uuid, given) = (value(&dump, "UUID"), if salt.is_empty() { "-" } else { salt });
            assert_eq!(value(&dump, "Salt"), given);
            assert_eq!(value(&dump, "Data blocks"), blocks.to_string());
            assert_eq!(value(&dump, "Hash algorithm"), "sha256");
            let _ = fs::remove_file(&theirs);
            let format = run(
                "veritysetup",
                &[
                    "format",
                    &text(&data),
                    &text(&theirs),
                    &format!("--uuid={uuid}"),
                    &format!("--salt={given}"),
                ],
            );
            let root = measured.verity.root.to_string();
            assert_eq!(value(&format, "Root hash"), root, "{blocks} {salt}");
            assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap(), "{blocks} {salt}");
            run("veritysetup", &["verify", &text(&data), &text(&ours), &root]);
        }
    }
}

#[test]
fn veritysetup_finds_a_flipped_bit_with_our_tree() {
    let dir = tempfile::tempdir().unwrap();
    let (data, tree) = (dir.path().join("image"), dir.path().join("tree"));
    image(&data, 300);
    let root = build(&data, &tree, "").verity.root.to_string();
    let mut bytes = fs::read(&data).unwrap();
    bytes[1_000_000] ^= 0x20;
    fs::write(&data, bytes).unwrap();
    let words = ["verify", data.to_str().unwrap(), tree.to_str().unwrap(), &root];
    assert!(!program("veritysetup", &words).status.success());
}

#[test]
fn fs_verity_digests_are_those_of_its_tool() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("image");
    for blocks in BLOCKS {
        image(&data, blocks);
        let path = data.to_str().unwrap();
        let theirs = run("fsverity", &["digest", "--compact", path]);
        for salt in ["", "0102"] {
            let file = File::open(&data).unwrap();
            let ours = verity::measure_stream(file, salt).unwrap();
            assert_eq!(ours.verity.fsverity.to_string(), theirs.trim(), "{blocks} {salt}");
        }
    }
}

#[test]
fn one_pass_tells_digest_length_and_root() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("image");
    image(&data, 1000);
    let measured = verity::measure(&data).unwrap();
    let bytes = fs::read(&data).unwrap();
    assert_eq!(measured.digest.bytes()[..], Sha256::digest(&bytes)[..]);
    assert_eq!(measured.size, bytes.len() as u64);
    assert_eq!(measured, build(&data, &dir.path().join("tree"), ""));
    fs::write(&data, &bytes[..bytes.len() - 1]).unwrap();
    let error = verity::measure(&data).unwrap_err().to_string();
    assert!(error.contains("/image cannot be covered by verity: its length is no mult"), "{error}");
    fs::write(&data, "").unwrap();
    let error = verity::measure(&data).unwrap_err().to_string();
    assert!(error.ends_with("/image cannot be covered by verity: it is empty"), "{error}");
    let error = verity::measure(&dir.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("/none: No such file"), "{error}");
}

#[test]
fn superblocks_of_veritysetup_are_read_and_other_parameters_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, tree) = (dir.path().join("image"), dir.path().join("tree"));
    image(&data, 200);
    let head = |options: &[&str]| {
        let _ = fs::remove_file(&tree);
        let words = ["format", data.to_str().unwrap(), tree.to_str().unwrap()];
        run("veritysetup", &[&words, options].concat());
        fs::read(&tree).unwrap()[..512].to_vec()
    };
    let read = Superblock::parse(&head(&["--salt=0bad"])).unwrap();
    assert_eq!((read.data_blocks, read.salt.as_str()), (200, "0bad"));
    assert_eq!(Superblock::parse(&head(&["--data-blocks=7"])).unwrap().data_blocks, 7);
    for (option, what) in [
        ("--hash=sha512", "hash algorithm"),
        ("--format=0", "version and hash type"),
        ("--data-block-size=1024", "block size"),
        ("--hash-block-size=1024", "block size"),
    ] {
        let error = Superblock::parse(&head(&[option])).unwrap_err();
        assert!(matches!(error, SuperblockError::Parameter { what: named, .. } if named == what));
    }
    let whole = head(&[]);
    for length in 0..344 {
        // Whatever is cut off, the end is in order.
        let _ = Superblock::parse(&whole[..length]);
    }
    let mut long = whole;
    long[81] = 0xff;
    assert!(Superblock::parse(&long).is_err());
    assert_eq!(Superblock::parse(&[0; 512]), Err(SuperblockError::Unknown));
}

/// The host's own part of bringing a tree into the store; fs-verity is for a guest to show.
#[test]
fn a_tree_enters_the_store_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (data, tree) = (dir.path().join("x.img"), dir.path().join("x.verity"));
    image(&data, 700);
    let verity = verity::measure(&data).unwrap().verity;
    cover::stage(&data, &tree, &verity).unwrap();
    let words =
        ["verify", data.to_str().unwrap(), tree.to_str().unwrap(), &verity.root.to_string()];
    run("veritysetup", &words);
    let whole = fs::read(&tree).unwrap();
    fs::remove_file(&tree).unwrap();
    let other = layers::id::Digest::new([7; 32]);
    for wrong in [
        Verity { root: other, ..verity.clone() },
        Verity { fsverity: other, ..verity.clone() },
        Verity { data_blocks: 699, ..verity.clone() },
        Verity { salt: "00".to_owned(), ..verity },
        Verity { salt: "not hex".to_owned(), ..verity },
    ] {
        let error = cover::stage(&data, &tree, &wrong).unwrap_err().to_string();
        assert!(error.contains("/x.img"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{error}");
    }
    cover::stage(&data, &tree, &verity).unwrap();
    assert!(fs::read(&tree).unwrap() == whole);
}
