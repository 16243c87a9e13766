//! Every bit of what a boot reads about images, flipped: nothing panics, and nothing is mounted that is not covered.

use std::fs;
use std::path::Path;

use crate::store::Store;

/// Boots once for each bit of a file; gives how often the second generation still booted.
fn flip_all(store: &Store, file: &Path) -> usize {
    let whole = fs::read(file).unwrap();
    let mut still = 0;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(file, &bytes).unwrap();
        still += usize::from(store.booted("").0 == Some(2));
    }
    fs::write(file, whole).unwrap();
    assert_eq!(store.booted("").0, Some(2), "the file is as it was");
    still
}

#[test]
fn no_bit_of_a_generation_brings_in_what_is_not_signed() {
    let store = Store::new();
    let still = flip_all(&store, &store.layout.generation_file("2".parse().unwrap()));
    assert!(still > 0, "when it was made and why is nobody's business");
}

#[test]
fn no_bit_of_a_manifest_is_free() {
    let store = Store::new();
    assert_eq!(flip_all(&store, &store.layout.manifest(&store.layer)), 0);
}

#[test]
fn no_bit_of_a_signature_makes_another_one() {
    let store = Store::new();
    let file = store.layout.signatures(&store.layer);
    let text = fs::read_to_string(&file).unwrap();
    // The untrusted comment is nobody's word, and the bits beyond the last byte of base64 nobody's either.
    let first = text.lines().next().unwrap().len() + 1;
    assert!(flip_all(&store, &file) <= (first + 8) * 8);
}

#[test]
fn no_bit_of_the_records_of_a_boot_brings_in_what_is_not_signed() {
    let store = Store::new();
    let tries = store.layout.tries_of("2".parse().unwrap());
    fs::write(&tries, "003\n").unwrap();
    fs::write(store.layout.versions(), "base debian 13.1\nlayer htop 3\n").unwrap();
    fs::write(store.layout.trust(), "threshold 1\nminimum base debian 13\n").unwrap();
    for file in [tries, store.layout.versions(), store.layout.trust(), store.layout.default()] {
        flip_all(&store, &file);
    }
}
