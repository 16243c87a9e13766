//! What must not boot, one fault at a time.

use std::fs::{self, OpenOptions};

use minisign::KeyPair;

use crate::store::{Store, sign};

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

/// What is done to a store, and a part of the reason why its second generation does not boot.
type Fault = (&'static str, fn(&mut Store), &'static str);

fn resize(store: &Store, length: u64) {
    let file = OpenOptions::new().write(true).open(store.layout.image(&store.layer)).unwrap();
    file.set_len(length).unwrap();
}

/// Says in a signed manifest that the layer has another length than it has.
fn resize_signed(store: &Store, length: u64) {
    resize(store, length);
    let manifest = store.layer_manifest("3");
    store.describe(&store.layer, &manifest);
}

fn add(store: &mut Store, line: &str) {
    store.trust = format!("{}{line}\n", store.trust);
}

fn limit(store: &mut Store, limit: &str) {
    let key = store.key.pk.to_base64();
    // The base is another key's business here.
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    let base = store.base_manifest("13.1");
    fs::write(store.layout.signatures(&store.base), sign(&other, &base)).unwrap();
    store.trust = format!("verify require\nkey {key} {limit}\nkey {}\n", other.pk.to_base64());
}

fn revoke_the_layer_s_key(store: &mut Store) {
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    let manifest = store.layer_manifest("3");
    fs::write(store.layout.signatures(&store.layer), sign(&other, &manifest)).unwrap();
    add(store, &format!("key {}", other.pk.to_base64()));
    let id = store.key_id(&other);
    add(store, &format!("revoked {id}"));
}

const FAULTS: &[Fault] = &[
    (
        "unsigned",
        |s| fs::remove_file(s.layout.signatures(&s.layer)).unwrap(),
        "layer htop is not signed",
    ),
    (
        "wrong key",
        |s| {
            let other = KeyPair::generate_unencrypted_keypair().unwrap();
            let signature = sign(&other, &s.layer_manifest("3"));
            fs::write(s.layout.signatures(&s.layer), signature).unwrap();
        },
        "which is not trusted",
    ),
    ("expired", |s| limit(s, "until=2026-11-20"), "which is expired"),
    ("revoked", revoke_the_layer_s_key, "which is revoked"),
    ("a key for bases", |s| limit(s, "kinds=base"), "which may not sign it"),
    ("a key for others", |s| limit(s, "names=nginx,h*p2"), "which may not sign it"),
    ("too few keys", |s| add(s, "threshold 2"), "by 1 of 2 keys"),
    (
        "one key twice",
        |s| {
            add(s, "threshold 2");
            let signature = sign(&s.key, &s.layer_manifest("3"));
            fs::write(s.layout.signatures(&s.layer), signature.repeat(2)).unwrap();
        },
        "by 1 of 2 keys",
    ),
    ("no manifest", |s| fs::remove_file(s.layout.manifest(&s.layer)).unwrap(), "has no manifest"),
    (
        "truncated manifest",
        |s| {
            let text = s.layer_manifest("3");
            fs::write(s.layout.manifest(&s.layer), &text[..text.len() / 2]).unwrap();
        },
        "that is not for it",
    ),
    (
        "truncated signature",
        |s| {
            let text = fs::read_to_string(s.layout.signatures(&s.layer)).unwrap();
            fs::write(s.layout.signatures(&s.layer), &text[..text.len() / 2]).unwrap();
        },
        "has a damaged signature",
    ),
    ("truncated image", |s| resize(s, 2 * KIB), "signed manifest of another image"),
    ("a byte less than 2 GiB", |s| resize(s, 2 * GIB - 1), "signed manifest of another image"),
    ("a byte more than 2 GiB", |s| resize(s, 2 * GIB + 1), "signed manifest of another image"),
    ("a byte less than 4 GiB", |s| resize(s, 4 * GIB - 1), "signed manifest of another image"),
    ("a byte more than 4 GiB", |s| resize(s, 4 * GIB + 1), "signed manifest of another image"),
    ("signed, 2 GiB - 1", |s| resize_signed(s, 2 * GIB - 1), "verity data are not for the image"),
    ("signed, 2 GiB + 1", |s| resize_signed(s, 2 * GIB + 1), "verity data are not for the image"),
    ("signed, 4 GiB - 1", |s| resize_signed(s, 4 * GIB - 1), "verity data are not for the image"),
    ("signed, 4 GiB + 1", |s| resize_signed(s, 4 * GIB + 1), "verity data are not for the image"),
    (
        "another image's manifest",
        |s| {
            let manifest = s.base_manifest("13.1");
            s.describe(&s.layer, &manifest);
        },
        "signed manifest of another image",
    ),
    (
        "the generation hides a directory",
        |s| edit(s, "dirs = [\"usr\"]", "dirs = []"),
        "described otherwise in the generation",
    ),
    (
        "the generation names another version",
        |s| edit(s, "version = \"3\"", "version = \"9\""),
        "described otherwise in the generation",
    ),
    (
        "the generation names another layer",
        |s| edit(s, "htop", "sudo"),
        "described otherwise in the generation",
    ),
    ("below the initrd's minimum", |s| add(s, "minimum layer htop 3.1"), "which is below 3.1"),
    (
        "below what was marked good",
        |s| fs::write(s.layout.versions(), "base debian 13.1\nlayer htop 3.2\n").unwrap(),
        "has version 3, which is below 3.2",
    ),
    (
        "below what was marked good, signed off by nobody",
        |s| {
            fs::write(s.layout.versions(), "layer htop 3.2\n").unwrap();
            fs::write(s.layout.downgrade(), "layer htop 3\n").unwrap();
        },
        "has version 3, which is below 3.2",
    ),
    (
        "a salt that is none",
        |s| {
            let manifest = s.layer_manifest("3").replace("salt = \"00\"", "salt = \"0 1\"");
            s.describe(&s.layer, &manifest);
        },
        "verity data are not for the image",
    ),
    (
        "no verity data",
        |s| {
            let manifest = s.layer_manifest("3");
            let manifest = manifest.split("[verity]").next().unwrap().to_owned();
            s.describe(&s.layer, &manifest);
        },
        "verity: is missing",
    ),
];

fn edit(store: &Store, from: &str, to: &str) {
    let file = store.layout.generation_file("2".parse().unwrap());
    let text = fs::read_to_string(&file).unwrap();
    let (base, layers) = text.split_once("[sets]").unwrap();
    fs::write(&file, format!("{base}[sets]{}", layers.replace(from, to))).unwrap();
}

#[test]
fn signed_images_boot() {
    let store = Store::new();
    assert_eq!(store.booted(""), (Some(2), vec![]));
    assert_eq!(store.booted("layers.generation=1"), (Some(1), vec![]));
}

#[test]
fn each_fault_costs_the_candidate_and_the_next_is_tried() {
    for (name, fault, why) in FAULTS {
        let mut store = Store::new();
        fault(&mut store);
        let (booted, failed) = store.booted("");
        assert!(failed.first().is_some_and(|first| first.contains(why)), "{name}: {failed:?}");
        // A second signature is asked of the base too.
        let expected = if why.contains("of 2 keys") { None } else { Some(1) };
        assert_eq!(booted, expected, "{name}: {failed:?}");
        assert!(!failed.first().unwrap().contains('\n'), "{name}: one line says why");
    }
}

#[test]
fn a_base_that_is_not_trusted_boots_nothing() {
    let store = Store::new();
    fs::remove_file(store.layout.signatures(&store.base)).unwrap();
    let (booted, failed) = store.booted("");
    assert_eq!((booted, failed), (None, vec!["base debian is not signed".to_owned(); 2]));
}

#[test]
fn nothing_lowers_what_the_initrd_asks() {
    let store = Store::new();
    fs::remove_file(store.layout.signatures(&store.layer)).unwrap();
    let key = KeyPair::generate_unencrypted_keypair().unwrap();
    let lower = format!("verify off\nthreshold 1\nkey {}\n", key.pk.to_base64());
    fs::write(store.layout.trust(), lower).unwrap();
    for cmdline in ["", "layers.verify=off", "layers.verify=if-signed", "layers.verify"] {
        assert_eq!(store.booted(cmdline).0, Some(1), "{cmdline}");
    }
}

#[test]
fn store_and_command_line_raise_what_is_asked() {
    let mut store = Store::new();
    store.trust = store.trust.replace("verify require", "verify off");
    fs::remove_file(store.layout.signatures(&store.layer)).unwrap();
    let generation =
        |store: &Store, cmdline| store.boot(cmdline).0.unwrap().report.generation.get();
    assert_eq!(generation(&store, ""), 2);
    assert_eq!(generation(&store, "layers.verify=if-signed"), 2);
    assert_eq!(generation(&store, "layers.verify=require"), 1);
    fs::write(store.layout.trust(), "verify require\n").unwrap();
    assert_eq!(generation(&store, ""), 1);
}

#[test]
fn a_signature_that_is_rejected_is_not_taken_for_none() {
    let mut store = Store::new();
    store.trust = store.trust.replace("verify require", "verify if-signed");
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    let signature = sign(&other, &store.layer_manifest("3"));
    fs::write(store.layout.signatures(&store.layer), signature).unwrap();
    let (booted, failed) = store.booted("");
    assert_eq!(booted, Some(1));
    assert!(failed[0].contains("which is not trusted"), "{failed:?}");
    fs::remove_file(store.layout.signatures(&store.layer)).unwrap();
    let (booted, _) = store.boot("");
    let report = booted.unwrap().report;
    assert_eq!(report.generation.get(), 2);
    assert_eq!(report.unsigned, ["htop".parse().unwrap()], "and the report says so");
}

#[test]
fn a_trust_file_that_cannot_be_read_allows_nothing() {
    let store = Store::new();
    fs::write(store.layout.trust(), "verfy require\n").unwrap();
    let (booted, failed) = store.booted("");
    assert_eq!(booted, None);
    assert!(failed[0].contains("line 1 of the trust file"), "{failed:?}");
}

#[test]
fn an_older_version_boots_once_somebody_signed_it_off() {
    let store = Store::new();
    fs::write(store.layout.versions(), "base debian 13.1\nlayer htop 3.2\n").unwrap();
    let lower = "layer htop 3\n";
    fs::write(store.layout.downgrade(), lower).unwrap();
    fs::write(store.layout.downgrade_signatures(), sign(&store.key, lower)).unwrap();
    assert_eq!(store.booted(""), (Some(2), vec![]));
    fs::write(store.layout.downgrade(), "layer htop 2\n").unwrap();
    assert_eq!(store.booted("").0, Some(1), "the signature is for another text");
}

#[test]
fn only_a_key_that_may_signs_an_older_version_off() {
    for (limit, booted) in [
        ("kinds=downgrade names=htop", Some(2)),
        ("kinds=downgrade names=nginx", Some(1)),
        ("kinds=layer", Some(1)),
    ] {
        let mut store = Store::new();
        let other = KeyPair::generate_unencrypted_keypair().unwrap();
        add(&mut store, &format!("key {} {limit}", other.pk.to_base64()));
        fs::write(store.layout.versions(), "layer htop 3.2\n").unwrap();
        let lower = "layer htop 3\n";
        fs::write(store.layout.downgrade(), lower).unwrap();
        fs::write(store.layout.downgrade_signatures(), sign(&other, lower)).unwrap();
        assert_eq!(store.booted("").0, booted, "{limit}");
    }
}

#[test]
fn a_second_key_makes_up_for_one_that_does_not_count() {
    let mut store = Store::new();
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    let stranger = KeyPair::generate_unencrypted_keypair().unwrap();
    add(&mut store, "threshold 2");
    add(&mut store, &format!("key {}", other.pk.to_base64()));
    for (digest, manifest) in
        [(store.base, store.base_manifest("13.1")), (store.layer, store.layer_manifest("3"))]
    {
        let keys = [&stranger, &store.key, &other];
        let signatures: String = keys.map(|key| sign(key, &manifest)).concat();
        fs::write(store.layout.signatures(&digest), signatures).unwrap();
    }
    assert_eq!(store.booted(""), (Some(2), vec![]));
}
