//! Cases as directories: what goes in, and beside it the text that must come out.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Set to 1, what comes out replaces what was expected; read the difference before you commit it.
const UPDATE: &str = "LAYERS_UPDATE_CASES";

/// Runs every directory of `tests/cases/<kind>`: a plan is compared with `expected.plan`, a refusal with
/// `expected.error`; a case has exactly one of them. `least` guards against cases that got lost.
pub(crate) fn run_all(kind: &str, least: usize, outcome: impl Fn(&Path) -> Result<String, String>) {
    run(kind, least, ["expected.plan", "expected.error"], outcome);
}

/// Runs every directory of `tests/cases/<kind>`, with names of its own for the two files.
pub(crate) fn run(
    kind: &str,
    least: usize,
    [good, bad]: [&str; 2],
    outcome: impl Fn(&Path) -> Result<String, String>,
) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(kind);
    let mut cases: Vec<PathBuf> =
        fs::read_dir(&top).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(
        cases.len() >= least,
        "{} cases in {}, at least {least} were there",
        cases.len(),
        top.display()
    );
    let update = std::env::var(UPDATE).is_ok_and(|value| value == "1");
    let mut failed = String::new();
    for case in &cases {
        let (name, other, is) = match outcome(case) {
            Ok(plan) => (good, bad, plan),
            Err(error) => (bad, good, error),
        };
        let is = format!("{}\n", is.trim_end());
        if update {
            fs::write(case.join(name), &is).unwrap();
            let _ = fs::remove_file(case.join(other));
            continue;
        }
        let want = fs::read_to_string(case.join(name)).unwrap_or_default();
        let surplus = fs::read_to_string(case.join(other)).unwrap_or_default();
        if want != is || !surplus.is_empty() {
            let title = case.file_name().unwrap_or_default().display();
            writeln!(failed, "\n{kind}/{title}/{name}").unwrap();
            failed.push_str(&difference(&(surplus + &want), &is));
        }
    }
    assert!(
        failed.is_empty(),
        "cases differ (- expected, + is); if the new behaviour is right: {UPDATE}=1 cargo test -p layers\n{failed}"
    );
}

/// The lines of two texts, those of one alone marked `-` or `+`, by their longest common subsequence.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            common[i][j] = if a == b {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        let (mark, line) = if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
            (' ', old[i - 1])
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', old[i - 1])
        } else {
            j += 1;
            ('+', new[j - 1])
        };
        writeln!(text, "  {mark} {line}").unwrap();
    }
    text
}

/// A case's file.
pub(crate) fn text(case: &Path, name: &str) -> String {
    let path = case.join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
