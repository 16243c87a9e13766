//! The log of changes, and what a power cut leaves of its last line.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test works on files and ends with the first surprise"
)]

use std::fs;

use layers::layout::Layout;
use layers::store::{log, read};

const LINES: [&str; 2] = ["t\t1\tinstall a", "t\t-\tcleanup 3"];

fn store() -> (tempfile::TempDir, Layout) {
    let state = tempfile::tempdir().unwrap();
    read::init(state.path()).unwrap();
    let layout = Layout::new(state.path());
    (state, layout)
}

fn lines(layout: &Layout) -> Vec<String> {
    log::changes(layout).unwrap().iter().map(|parts| parts.join("\t")).collect()
}

#[test]
fn it_grows_by_lines() {
    let (_state, layout) = store();
    assert!(lines(&layout).is_empty());
    LINES.iter().for_each(|line| log::append(&layout.log(), line).unwrap());
    assert_eq!(lines(&layout), LINES);
}

#[test]
fn what_never_came_to_its_end_is_no_line_and_harms_none() {
    for torn in ["\0\0\0\0", "t\t1\tinst", "t", "\0\0\0\0ll a\n", "t\t1\tinst\0\0\0"] {
        for before in [&LINES[..0], &LINES[..1]] {
            let (_state, layout) = store();
            before.iter().for_each(|line| log::append(&layout.log(), line).unwrap());
            let text = [fs::read(layout.log()).unwrap_or_default(), torn.into()].concat();
            fs::write(layout.log(), text).unwrap();
            assert_eq!(lines(&layout), before, "{torn:?}");
            log::append(&layout.log(), LINES[1]).unwrap();
            assert_eq!(lines(&layout), [before, &LINES[1..]].concat(), "{torn:?}");
        }
    }
}
