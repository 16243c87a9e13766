//! Deriving one /etc from another in a process that is killed at any moment.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test starts processes and ends with the first surprise"
)]

mod sketch;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use layers::etc::Derive;
use layers::store::derive::derive;

/// Where the child finds what it derives.
const DIRECTORY: &str = "LAYERS_TEST_DERIVE_IN";
const TEST: &str = "a_derivation_that_is_killed_at_any_moment_is_begun_again";
const KILLS: u32 = 16;

/// Below `dir`: what images had and have, and an upper with enough files for a kill to hit its copying.
fn prepare(dir: &Path) -> Derive {
    sketch::make(&dir.join("old"), "file motd\n    | old\n");
    sketch::make(&dir.join("new"), "file motd\n    | new\nfile .updated\n");
    let own: String = (0..150).map(|n| format!("file own.d/{n}\n    | {n}\n")).collect();
    sketch::make(&dir.join("etc/1/upper"), &format!("file motd\n    | old\n{own}"));
    fs::create_dir(dir.join("2")).unwrap();
    description(dir)
}

fn description(dir: &Path) -> Derive {
    Derive {
        from: dir.join("etc/1"),
        to: dir.join("etc/2"),
        old: Some(dir.join("old")),
        new: dir.join("new"),
        whole: true,
        users: Vec::new(),
        report: dir.join("2/etc.json"),
        generation: "2".parse().unwrap(),
        source: Some("1".parse().unwrap()),
        images: "sha256 of images\n".to_owned(),
    }
}

/// Derives in a child, killed after a time; gives how long it took and whether the kill came before its end.
fn run(dir: &Path, kill_after: Option<Duration>) -> (Duration, bool) {
    let start = Instant::now();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([TEST, "--exact"]).env(DIRECTORY, dir).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    if let Some(time) = kill_after {
        // Waits for nothing: this is the moment to strike.
        std::thread::sleep(time);
        child.kill().unwrap();
    }
    let killed = !child.wait().unwrap().success();
    (start.elapsed(), killed)
}

#[test]
fn a_derivation_that_is_killed_at_any_moment_is_begun_again() {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        derive(&description(Path::new(&dir))).unwrap();
        return;
    }
    let whole = tempfile::tempdir().unwrap();
    let d = prepare(whole.path());
    let (time, killed) = run(whole.path(), None);
    assert!(!killed);
    let (from, want) = (sketch::show(&d.from), sketch::show(&d.to));
    let mut hits = 0;
    for kill in 0..KILLS {
        let dir = tempfile::tempdir().unwrap();
        let d = prepare(dir.path());
        hits += u32::from(run(dir.path(), Some(time * kill / KILLS)).1);
        assert_eq!(sketch::show(&d.from), from, "the old one is whole");
        if !d.to.exists() {
            derive(&d).unwrap();
        }
        assert_eq!(sketch::show(&d.to), want, "all of it is published");
        let names = fs::read_dir(dir.path().join("etc")).unwrap();
        assert_eq!(names.count(), 2, "nothing else is left");
    }
    assert!(hits > 0, "none was killed");
}
