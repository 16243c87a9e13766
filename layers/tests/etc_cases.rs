//! What becomes of an /etc when the images under it change: each directory of `cases/etc` holds the old images, the
//! new ones and an upper as text (see `sketch`), and the upper and the notes that must come out. The trees are made on
//! a real file system and reconciled by what a boot calls.
//!
//! A case without `old` is one whose old images cannot be seen; with a file `partial`, one whose layers are not all
//! mounted. `var` and `home` are the uppers of those directories.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test works on files and ends with the first surprise"
)]

#[allow(dead_code, reason = "plans are what other tests' cases give")]
mod case;
mod sketch;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use layers::etc::Derive;
use layers::etc::report::Report;
use layers::store::derive::derive;

fn outcome(case: &Path) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let tree = |name: &str, to: &str| {
        let file = case.join(name);
        file.exists().then(|| {
            sketch::make(&at(to), &fs::read_to_string(&file).unwrap());
            at(to)
        })
    };
    let old = tree("old", "old");
    let new = tree("new", "new").unwrap();
    tree("upper", "1/upper").unwrap();
    let before = sketch::show(&at("1/upper"));
    let users = ["var", "home"].into_iter().filter_map(|name| tree(name, name)).collect();
    let derived = derive(&Derive {
        from: at("1"),
        to: at("2"),
        old,
        new,
        whole: !case.join("partial").exists(),
        users,
        report: at("report.json"),
        generation: "2".parse().unwrap(),
        source: Some("1".parse().unwrap()),
        images: "images\n".to_owned(),
    });
    derived.map_err(|error| error.to_string())?;
    assert_eq!(sketch::show(&at("1/upper")), before, "the source is as it was");
    let report = Report::parse(&fs::read_to_string(at("report.json")).unwrap()).unwrap();
    let mut text = sketch::show(&at("2/upper"));
    let counts = report.counts;
    writeln!(
        text,
        "\n{} dropped, {} aside, {} merged",
        counts.dropped, counts.aside, counts.merged
    )
    .unwrap();
    for note in &report.notes {
        writeln!(text, "{}: {note}", note.kind).unwrap();
    }
    Ok(text)
}

#[test]
fn every_case_comes_out_as_expected() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("left out: foreign owners, devices and trusted extended attributes want root");
        return;
    }
    case::run("etc", 40, ["expected", "expected.error"], outcome);
}
