use std::fs;
use std::path::PathBuf;

use layers::id::{Digest, SetName};
use layers::plan::boot::Pointers;
use tempfile::TempDir;

use super::*;

fn manifest(name: &str, kind: Kind) -> Manifest {
    let text = format!(
        "schema = 1\nname = \"{name}\"\nversion = \"1\"\nkind = \"{kind}\"\narchitecture = \"any\"\nformat = \"erofs\"\n\
         size = 4096\ndigest = \"{}\"\ndirs = [\"usr\"]\n",
        digest(name)
    );
    Manifest::parse(&text).unwrap()
}

fn digest(name: &str) -> Digest {
    Digest::new([name.bytes().fold(0, u8::wrapping_add); 32])
}

/// Directories with these files: `IMAGE/PATH TEXT`; the image `base` is the base.
fn inspected(files: &[(&str, &str)]) -> Inspected {
    let top = TempDir::new().unwrap();
    let mut names = vec!["base"];
    fs::create_dir(top.path().join("base")).unwrap();
    for (path, text) in files {
        let (image, _) = path.split_once('/').unwrap();
        if !names.contains(&image) {
            names.push(image);
        }
        let path = top.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let kind = |name: &str| if name == "base" { Kind::Base } else { Kind::Layer };
    let images: Vec<(PathBuf, Manifest)> =
        names.iter().map(|name| (top.path().join(name), manifest(name, kind(name)))).collect();
    let roots: Vec<(&Path, &Manifest)> =
        images.iter().map(|(root, manifest)| (root.as_path(), manifest)).collect();
    inspect_roots(&Table::built_in().unwrap(), &roots).unwrap()
}

#[test]
fn files_of_one_path_and_length_are_compared() {
    let one = [("a/usr/x", "12345"), ("b/usr/x", "12345"), ("b/usr/y", "1")];
    assert_eq!(judge(&inspected(&one), &InstallPolicy::default()), Ok(Vec::new()));
    let other = [("a/usr/x", "12345"), ("b/usr/x", "12346")];
    let refusal = judge(&inspected(&other), &InstallPolicy::default()).unwrap_err();
    assert_eq!(refusal.what, "layer b 1 and layer a 1 bring different files of one path: /usr/x");
    assert!(refusal.hint.ends_with("to take it all the same: --allow conflicts"), "{refusal:?}");
    let allowed = InstallPolicy::default().allowing(&[Check::Conflicts]);
    let lines = judge(&inspected(&other), &allowed).unwrap();
    assert_eq!(lines, [format!("{WARNING}{}", refusal.what)]);
}

#[test]
fn what_triggers_make_anew_is_no_conflict() {
    let files =
        [("base/etc/ld.so.cache", "0"), ("a/etc/ld.so.cache", "1"), ("b/etc/ld.so.cache", "2")];
    assert_eq!(judge(&inspected(&files), &InstallPolicy::default()), Ok(Vec::new()));
}

#[test]
fn what_is_hidden_of_the_base_is_counted() {
    let files = [("base/usr/x", "1"), ("base/usr/y", "1"), ("a/usr/x", "2"), ("a/usr/y", "22")];
    let lines = judge(&inspected(&files), &InstallPolicy::default()).unwrap();
    assert_eq!(lines, ["layer a 1 hides 2 files of base base 1"]);
}

/// A store whose default generation has these layers in these sets, and a stack of base and layers.
fn known(sets: &[(&str, &[&str])], stack: &[&str]) -> Vec<Vec<bool>> {
    let base = manifest("base", Kind::Base);
    let mut text = format!(
        "schema = 1\nid = 1\ncreated = \"t\"\nreason = \"r\"\n[base]\nname = \"base\"\nversion = \"1\"\ndigest = \"{}\"\n\
         dirs = []\n",
        base.digest
    );
    let layers: BTreeSet<&str> =
        sets.iter().flat_map(|(_, members)| members.iter().copied()).collect();
    for name in layers {
        text += &format!(
            "[[layers]]\nname = \"{name}\"\nversion = \"1\"\ndigest = \"{}\"\ndirs = []\nrequested = true\n",
            digest(name)
        );
    }
    text += "[sets]\n";
    for (set, members) in sets {
        text += &format!("{set} = {members:?}\n");
    }
    let generation = Generation::parse(&text).unwrap();
    assert!(generation.sets.contains_key(&SetName::default_set()));
    let mut state = State {
        pointers: Pointers { default: Some(generation.id), ..Pointers::default() },
        ..State::default()
    };
    state.generations.insert(generation.id, generation);
    let image = |name: &str, kind| StackImage::new(manifest(name, kind), PathBuf::new());
    let layers = stack.iter().map(|name| image(name, Kind::Layer)).collect();
    let stack = Stack { base: image("base", Kind::Base), layers };
    let known = Known::new(&state, &stack);
    let places = 0..=stack.layers.len();
    places.clone().map(|one| places.clone().map(|other| known.are(one, other)).collect()).collect()
}

#[test]
fn what_lies_over_each_other_already_is_not_judged_again() {
    let all = known(&[("default", &["a", "b"])], &["a", "b"]);
    assert!(all.iter().flatten().all(|known| *known), "{all:?}");
    let new = known(&[("default", &["a"])], &["a", "b"]);
    assert!(new[0][1] && new[1][1], "{new:?}");
    assert!(!new[0][2] && !new[1][2] && !new[2][2], "{new:?}");
    let apart = known(&[("default", &["a"]), ("spare", &["b"])], &["a", "b"]);
    assert!(apart[1][1] && apart[2][2] && apart[0][2], "{apart:?}");
    assert!(!apart[1][2], "two layers that were in different sets are new to each other");
}
