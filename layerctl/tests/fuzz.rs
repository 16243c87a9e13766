//! The readers that libFuzzer is let loose on (docs/fuzzing.md), on its corpus and on changes of it that are the same each time.

#[path = "../../fuzz/src/lib.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the source of another crate, with a part of a third one"
)]
mod targets;

use std::fs;
use std::path::Path;

/// How many changed inputs each function gets.
const CHANGES: u32 = 4_000;

/// Texts that readers may have a meaning for.
const WORDS: [&[u8]; 12] = [
    b"\0",
    b"\n",
    b"=",
    b"\"",
    b"[",
    b"]",
    b":",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0\0\0\0\0",
    b"\\u202e",
    b"layers.",
    b"-1",
];

/// Numbers without an end that look random (xorshift64, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % below.max(1)
    }
}

/// One of the ways in which libFuzzer changes an input too.
fn change(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    let at = numbers.next(bytes.len() + 1);
    match numbers.next(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << numbers.next(8),
        1 if at < bytes.len() => bytes[at] = u8::try_from(numbers.next(256)).unwrap(),
        2 => bytes.truncate(at),
        3 => {
            let word = WORDS[numbers.next(WORDS.len())];
            bytes.splice(at..at, word.iter().copied());
        }
        4 => {
            let to = (at + numbers.next(64)).min(bytes.len());
            bytes.drain(at..to);
        }
        5 => {
            let from = numbers.next(other.len() + 1);
            let to = (from + numbers.next(256)).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        _ => {
            let to = (at + numbers.next(64)).min(bytes.len());
            let again = bytes[at..to].to_vec();
            bytes.splice(at..at, again);
        }
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut paths: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "{}", directory.display());
    seeds
}

fn run(name: &str) {
    let (_, target) = targets::TARGETS.iter().find(|(other, _)| *other == name).unwrap();
    let seeds = corpus(name);
    seeds.iter().for_each(|seed| target(seed));
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..CHANGES {
        let mut bytes = seeds[numbers.next(seeds.len())].clone();
        let other = &seeds[numbers.next(seeds.len())];
        for _ in 0..=numbers.next(4) {
            change(&mut bytes, other, &mut numbers);
        }
        target(&bytes);
    }
}

/// A test for each function, so that they run side by side.
macro_rules! tests {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn each_has_a_test_and_a_program() {
            let names = [$(stringify!($name)),*];
            assert_eq!(targets::TARGETS.map(|(name, _)| name), names);
            let manifest = include_str!("../../fuzz/Cargo.toml");
            for name in names {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

tests!(
    accounts,
    command_line,
    erofs,
    generation,
    gpt,
    grants,
    manifest,
    signature,
    squashfs,
    trust
);
