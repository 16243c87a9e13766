//! What is fuzzed: one function for each reader of text or bytes that somebody else wrote. It panics where something does not
//! hold.
//!
//! `fuzz_targets/` gives them to libFuzzer; `layerctl/tests/fuzz.rs` calls them on the corpus and on changes of it, with any
//! toolchain.

// The reader of partition tables, which the command has for itself.
#[path = "../../layerctl/src/disk/gpt.rs"]
mod gpt_table;

use std::collections::BTreeMap;

use layers::cmdline::BootRequest;
use layers::etc::accounts::{self, Database, Input, References, Upper, Versions};
use layers::generation::Generation;
use layers::grants::{Grants, shown};
use layers::manifest::Manifest;
use layers::signature;
use layers::superblock::{Format, SUPERBLOCK_BYTES, Superblock, squashfs_inodes};
use layers::trust::{Essence, Trust};

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const TARGETS: [(&str, Target); 10] = [
    ("accounts", accounts),
    ("command_line", command_line),
    ("erofs", erofs),
    ("generation", generation),
    ("gpt", gpt),
    ("grants", grants),
    ("manifest", manifest),
    ("signature", signature),
    ("squashfs", squashfs),
    ("trust", trust),
];

/// The kernel command line is read whatever it is, and what it asks for is the same with blanks around it.
pub fn command_line(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let request = BootRequest::parse(&text);
    assert_eq!(request, BootRequest::parse(&text));
    if !text.contains('"') {
        assert_eq!(request, BootRequest::parse(&format!(" {text} ")));
    }
}

/// A generation that is read comes back as it was, once it is written.
pub fn generation(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(generation) = Generation::parse(text) {
        let again = Generation::parse(&generation.to_string());
        assert_eq!(again.expect("what was written is read"), generation);
    }
}

/// As a generation, so a manifest; and what a boot reads of one is what it says.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(manifest) = Manifest::parse(text) {
        let again = Manifest::parse(&manifest.to_string());
        assert_eq!(again.expect("what was written is read"), manifest);
        if let (Ok(essence), Some(verity)) = (Essence::parse(text), &manifest.verity) {
            assert_eq!(essence.verity, *verity);
            assert_eq!((essence.kind, essence.size), (manifest.kind, manifest.size));
            assert_eq!((essence.name, essence.version), (manifest.name, manifest.version));
            assert_eq!((essence.digest, essence.dirs), (manifest.digest, manifest.dirs));
        }
    }
}

/// A file of signatures has no more of them than blocks of lines.
pub fn signature(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let blocks = signature::blocks(&text);
    assert!(blocks.len() <= signature::SIGNATURES_MAX);
    if let Ok(signatures) = signature::parse(&text) {
        assert_eq!(signatures.len(), blocks.len());
    }
}

/// A trust file that is read comes back as it was, once it is written; raised by itself it is what it was.
pub fn trust(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(trust) = Trust::parse(text) {
        let mut again = Trust::parse(&trust.to_string()).expect("what was written is read");
        assert_eq!(again, trust);
        again.raise(&trust);
        assert_eq!(again, trust);
    }
}

/// A squashfs superblock never speaks of more than the file has.
pub fn squashfs(bytes: &[u8]) {
    superblock(Format::Squashfs, bytes);
}

/// As squashfs; the bytes begin where EROFS has its superblock.
pub fn erofs(bytes: &[u8]) {
    let mut head = vec![0; 1024];
    head.extend_from_slice(bytes);
    superblock(Format::Erofs, &head);
}

fn superblock(format: Format, bytes: &[u8]) {
    let head = &bytes[..bytes.len().min(SUPERBLOCK_BYTES)];
    for length in [0, bytes.len() as u64, u64::from(u32::MAX), u64::MAX] {
        if let Ok(superblock) = Superblock::parse(head, length) {
            assert!(superblock.bytes <= length);
            assert_eq!(superblock.format, format);
        }
    }
    assert!(format == Format::Squashfs || squashfs_inodes(head).is_none());
}

/// The partitions of a file that has these bytes: where they begin and how long they are.
fn partitions(bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut read = |at: u64, length: usize| {
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(length).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    };
    let found = gpt_table::partitions(&mut read, bytes.len() as u64).ok()??.ok()?;
    Some(found.iter().map(|partition| (partition.start, partition.length)).collect())
}

/// Partitions lie in the file and do not overlap.
pub fn gpt(bytes: &[u8]) {
    let Some(mut partitions) = partitions(bytes) else { return };
    partitions.sort_unstable();
    for (start, length) in &partitions {
        assert!(*length > 0 && start.checked_add(*length).expect("an end") <= bytes.len() as u64);
    }
    assert!(partitions.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0));
}

/// The first line is a grant, the others are a path: what it is shown as grants it.
pub fn grants(bytes: &[u8]) {
    let (line, path) = bytes.split_at(bytes.iter().position(|&byte| byte == b'\n').unwrap_or(0));
    let line = String::from_utf8_lossy(line).into_owned();
    let _ = Grants::parse(std::slice::from_ref(&line));
    let need = layers::grants::Need { right: layers::grants::Right::Setuid, path: path.to_vec() };
    let text = need.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert_eq!(text, format!("setuid {}", shown(path)));
    let exact = Grants::parse(&[text]).expect("what is shown is a grant");
    assert!(exact.missing(std::slice::from_ref(&need)).is_empty());
    if let Ok(grants) = Grants::parse(&[format!("setuid /{line}")]) {
        let _ = grants.missing(std::slice::from_ref(&need));
    }
}

/// Account files: parted by NUL bytes, the first byte says whether all is known. A merge of what nobody changed gives the new
/// images' files, and each line of an upper without images stays.
pub fn accounts(bytes: &[u8]) {
    let Some((&flags, rest)) = bytes.split_first() else { return };
    let mut texts = rest.split(|&byte| byte == 0).map(<[u8]>::to_vec);
    let mut files = BTreeMap::new();
    for database in Database::ALL {
        let [old, new] = [texts.next(), texts.next()];
        let upper = match texts.next() {
            Some(text) if text == b"-" => Upper::Apart,
            Some(text) => Upper::Text(text),
            None => Upper::Follows,
        };
        files.insert(database, Versions { old, new, upper });
    }
    let input = Input { files, full: flags & 1 != 0 };
    let references = match flags & 2 != 0 {
        true => accounts::candidates(&input),
        false => References::default(),
    };
    let output = accounts::merge(&input, &references);
    assert_eq!(output, accounts::merge(&input, &references));
    for (database, text) in &output.files {
        let versions = &input.files[database];
        if let (Upper::Text(upper), None, None) = (&versions.upper, &versions.old, &versions.new) {
            for line in upper.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                assert!(
                    text.split(|&byte| byte == b'\n').any(|other| other == line),
                    "{database:?}"
                );
            }
        }
    }
}
