//! The store on a real file system: publishing, the lock, staging, reading.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test works on files and ends with the first surprise"
)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use layers::exec::HostError;
use layers::generation::Generation;
use layers::id::{Digest, GenerationId};
use layers::layout::Layout;
use layers::plan::boot::UpperFacts;
use layers::policy::Dir;
use layers::store::lock::Lock;
use layers::store::read::{init, read_state};
use layers::store::{StoreError, facts, open, publish, stage};
use sha2::{Digest as _, Sha256};

fn names(directory: &Path) -> BTreeSet<OsString> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn store() -> (tempfile::TempDir, Layout) {
    let state = tempfile::tempdir().unwrap();
    assert!(init(state.path()).unwrap());
    let layout = open(state.path()).unwrap();
    (state, layout)
}

#[test]
fn a_published_file_replaces_the_old_one_and_leaves_nothing_beside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("default");
    for text in ["0000000001\n", "0000000002\n"] {
        publish::file(&path, text).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names(dir.path()), ["default".into()].into());
}

#[test]
fn a_file_that_an_earlier_attempt_left_beside_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("default");
    fs::write(publish::beside(&path), "half of something longer").unwrap();
    publish::file(&path, "1\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    assert_eq!(names(dir.path()).len(), 1);
}

#[test]
fn a_published_directory_never_replaces_one_not_even_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("7");
    publish::directory(&path, "generation.toml", "first").unwrap();
    assert_eq!((mode(&path), mode(&path.join("generation.toml"))), (0o700, 0o600));
    let empty = dir.path().join("8");
    fs::create_dir(&empty).unwrap();
    for taken in [&path, &empty] {
        let error = publish::directory(taken, "generation.toml", "second").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    }
    assert_eq!(fs::read_to_string(path.join("generation.toml")).unwrap(), "first");
    assert_eq!(names(dir.path()), ["7".into(), "8".into()].into());
}

#[test]
fn removing_takes_files_directories_and_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let (file, tree) = (dir.path().join("file"), dir.path().join("tree"));
    fs::write(&file, "x").unwrap();
    fs::create_dir_all(tree.join("a/b")).unwrap();
    // An earlier removal was interrupted after its rename.
    fs::create_dir_all(publish::beside(&tree).join("old")).unwrap();
    for path in [&file, &tree, &dir.path().join("missing")] {
        publish::remove(path).unwrap();
    }
    assert!(names(dir.path()).is_empty());
}

#[test]
fn the_lock_says_who_holds_it_and_is_free_again_afterwards() {
    let (_state, layout) = store();
    let held = Lock::acquire(&layout).unwrap();
    let refused = Lock::acquire(&layout).unwrap_err();
    let us = std::process::id();
    assert_eq!(
        refused.to_string(),
        format!("another layerctl is changing the store (process {us})")
    );
    drop(held);
    // A number that an earlier holder left does not hold the lock.
    fs::write(layout.lock(), "1\n").unwrap();
    drop(Lock::acquire(&layout).unwrap());
}

#[test]
fn a_copy_with_the_right_digest_is_published_and_told_of_in_full() {
    let (state, layout) = store();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let from = state.path().join("a.img");
    fs::write(&from, &bytes).unwrap();
    let digest = Digest::new(Sha256::digest(&bytes).into());
    let mut told = 0;
    stage::copy(&from, &layout.image(&digest), &digest, &mut |bytes| told += bytes).unwrap();
    assert_eq!(told, 3_000_000);
    assert_eq!(fs::read(layout.image(&digest)).unwrap(), bytes);
    assert_eq!(names(&layout.store()).len(), 1);
}

#[test]
fn a_copy_with_the_wrong_digest_leaves_nothing() {
    let (state, layout) = store();
    let from = state.path().join("a.img");
    fs::write(&from, "other bytes").unwrap();
    let want = Digest::new([1; 32]);
    let error = stage::copy(&from, &layout.image(&want), &want, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, HostError::Digest { .. }), "{error}");
    let missing = state.path().join("missing.img");
    let error = stage::copy(&missing, &layout.image(&want), &want, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("missing.img"), "{error}");
    assert!(names(&layout.store()).is_empty());
}

#[test]
fn a_store_is_made_once_closed_to_others_and_after_an_interruption_too() {
    let state = tempfile::tempdir().unwrap();
    let layout = Layout::new(state.path());
    let directories = layout.directories();
    for done in 0..=directories.len() {
        assert!(matches!(open(state.path()), Err(StoreError::Missing(_))), "{done}");
        let _ = fs::remove_dir_all(layout.top());
        // What an interrupted `init` leaves: some directories, perhaps the schema under its temporary name.
        directories.iter().take(done).for_each(|directory| fs::create_dir(directory).unwrap());
        if done > 0 {
            fs::write(publish::beside(&layout.schema()), "").unwrap();
        }
        assert!(init(state.path()).unwrap(), "{done}");
        assert!(!init(state.path()).unwrap(), "{done}");
        let read = read_state(&layout, None).unwrap();
        assert!(read.ids().is_empty() && read.leftovers.is_empty(), "{done}");
        assert!(directories.iter().all(|directory| directory.is_dir()), "{done}");
        fs::remove_file(layout.schema()).unwrap();
    }
    fs::remove_dir_all(layout.top()).unwrap();
    init(state.path()).unwrap();
    assert!(directories.iter().all(|directory| mode(directory) == 0o700));
}

#[test]
fn a_newer_or_unreadable_schema_is_refused_and_untouched() {
    let (state, layout) = store();
    fs::write(layout.schema(), "2\n").unwrap();
    let error = open(state.path()).unwrap_err();
    assert!(error.to_string().ends_with("has schema 2; this layerctl knows 1"), "{error}");
    assert!(init(state.path()).is_err());
    fs::write(layout.schema(), "two\n").unwrap();
    assert!(matches!(open(state.path()), Err(StoreError::Schema(_))));
    assert_eq!(fs::read_to_string(layout.schema()).unwrap(), "two\n");
}

#[test]
fn damaged_records_are_named_with_their_reason() {
    let (_state, layout) = store();
    let text = include_str!("cases/boot/base-alone-is-bound-not-overlaid/generation.toml");
    let records = [("7", text), ("8", text), ("9", "id = \n"), ("10", "schema = 9\n")];
    for (id, text) in records {
        publish::directory(&layout.generations().join(id), "generation.toml", text).unwrap();
    }
    fs::create_dir(layout.generations().join("11")).unwrap();
    fs::create_dir(layout.generations().join("notes")).unwrap();
    fs::write(layout.default(), "seven\n").unwrap();
    fs::write(layout.good(), [0xff, 0xfe]).unwrap();
    fs::write(layout.next(), "").unwrap();
    let state = read_state(&layout, None).unwrap();
    let id = |number: &str| number.parse::<GenerationId>().unwrap();
    assert_eq!(state.generations.keys().copied().collect::<Vec<_>>(), [id("7")]);
    for (number, why) in [
        ("8", "says that it is generation 7"),
        ("9", "does not parse: string values must be quoted"),
        ("10", "has generation schema 9; this program knows 1"),
        ("11", "cannot be read: No such file"),
    ] {
        assert!(state.damaged[&id(number)].contains(why), "{:?}", state.damaged);
    }
    assert_eq!(state.damaged.len(), 4);
    let damaged: Vec<_> = state.damaged_pointers.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(damaged, [layout.default(), layout.next(), layout.good()]);
}

#[test]
fn whatever_was_left_half_made_is_found_wherever_it_lies() {
    let (_state, layout) = store();
    let seven = "7".parse().unwrap();
    let mut want = BTreeSet::new();
    for directory in [
        layout.top().to_owned(),
        layout.store(),
        layout.generations(),
        layout.boot(),
        layout.pins(),
        layout.etc_uppers(),
        layout.shared_upper(Dir::Var),
        layout.shared_upper(Dir::Home),
        layout.etc_upper(None),
        layout.etc_upper(Some(seven)),
    ] {
        fs::create_dir_all(directory.join("upper")).unwrap();
        let left = directory.join(".tmp-something");
        fs::write(&left, "x").unwrap();
        want.insert(left);
    }
    // An /etc upper whose making was interrupted before its upper directory was there.
    let half = layout.etc_upper(Some("8".parse().unwrap()));
    fs::create_dir_all(half.join(".tmp-upper")).unwrap();
    want.insert(half);
    let state = read_state(&layout, None).unwrap();
    assert_eq!(state.leftovers.iter().cloned().collect::<BTreeSet<_>>(), want);
    assert_eq!(state.etc_uppers, [seven].into());
}

#[test]
fn a_manifest_that_speaks_of_another_image_is_none() {
    let (_state, layout) = store();
    let digest = Digest::new([1; 32]);
    let text = format!(
        "schema = 1\nname = \"a\"\nversion = \"1\"\nkind = \"layer\"\narchitecture = \"any\"\n\
         format = \"erofs\"\nsize = 1\ndigest = \"{digest}\"\ndirs = []\n"
    );
    fs::write(layout.manifest(&digest), &text).unwrap();
    fs::write(layout.manifest(&Digest::new([2; 32])), &text).unwrap();
    let state = read_state(&layout, None).unwrap();
    assert_eq!(state.manifests.into_keys().collect::<Vec<_>>(), [digest]);
}

/// Generation 7, in a store that never saw its images.
fn seventh() -> Generation {
    let digest = Digest::new([7; 32]);
    Generation::parse(&format!(
        "schema = 1\nid = 7\ncreated = \"t\"\nreason = \"r\"\nsets.default = []\n\
         base = {{ name = \"debian\", version = \"13\", digest = \"{digest}\", dirs = [\"etc\"] }}\n"
    ))
    .unwrap()
}

#[test]
fn facts_tell_which_uppers_are_there_and_over_what() {
    let (_state, layout) = store();
    let known = |layout: &Layout| {
        let mut known = facts::store(layout);
        facts::generation(layout, &seventh(), &mut known).unwrap();
        known
    };
    let facts = known(&layout);
    assert_eq!((facts.etc, facts.etc_source, facts.var, facts.home), (None, None, None, None));
    let home = layout.shared_upper(Dir::Home);
    let sixth = layout.etc_upper(Some("6".parse().unwrap()));
    for dir in [&home, &sixth] {
        fs::create_dir_all(dir.join("upper")).unwrap();
    }
    let lowers = format!("{} etc home\n", Digest::new([6; 32]));
    fs::write(Layout::lowers(&home), &lowers).unwrap();
    fs::write(Layout::presets(&sixth), "damaged").unwrap();
    let facts = known(&layout);
    assert_eq!(facts.home.unwrap().lowers, Some(lowers.parse().unwrap()));
    let source = facts.etc_source.unwrap();
    assert_eq!((source.owner, source.upper), ("6".parse().ok(), UpperFacts::default()));
    assert!(facts.etc_problem.unwrap().contains("nothing tells which generation ran last"));
    // The images of before are looked for too.
    assert_eq!(facts.images.len(), 2);
    fs::create_dir_all(layout.etc_upper(Some("7".parse().unwrap())).join("upper")).unwrap();
    let facts = known(&layout);
    assert_eq!((facts.etc, facts.etc_source), (Some(UpperFacts::default()), None));
}

#[test]
fn a_reset_is_read_or_why_it_is_not() {
    let (_state, layout) = store();
    assert_eq!(facts::store(&layout).reset, None);
    fs::write(layout.reset(), "dirs = [\"var\"]").unwrap();
    assert_eq!(facts::store(&layout).reset.unwrap().unwrap().dirs, [Dir::Var]);
    fs::write(layout.reset(), "dirs = 1").unwrap();
    assert!(facts::store(&layout).reset.unwrap().is_err());
}

#[test]
fn a_store_that_cannot_be_read_is_no_empty_store() {
    let (_state, layout) = store();
    fs::remove_dir(layout.pins()).unwrap();
    fs::write(layout.pins(), "").unwrap();
    assert!(read_state(&layout, None).is_err());
}
