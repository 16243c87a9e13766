//! The merge of files that are sets of lines: subuid, subgid, shells.

use std::borrow::Cow;

use super::Database;
use super::keyed::Three;
use super::lines::{Line, Merged};

/// Comments, blank lines and lines of directory services are no elements; nor is a range without a name.
fn is_element(file: Database, line: Line<'_>) -> bool {
    match file {
        Database::Shells => !line.is_nis() && !matches!(line.bytes.first(), None | Some(b'#')),
        _ => line.key.is_some(),
    }
}

/// Adds what the image added and takes out what it took out, but for the lines that `stays` names.
pub(super) fn merge(
    file: Database,
    three: &Three<'_>,
    stays: &dyn Fn(Line<'_>) -> bool,
) -> Vec<u8> {
    let (old, new, upper) = (three.old.set(), three.new.set(), three.upper.set());
    let mut merged = Merged::default();
    let last = three.upper.lines.len();
    for (place, line) in three.upper.lines.iter().enumerate() {
        let removed = three.full
            && is_element(file, *line)
            && line.is_sound()
            && old.contains(line.bytes)
            && !new.contains(line.bytes);
        if !removed || stays(*line) {
            let open = place + 1 == last && !three.upper.ends;
            merged.keep(*line, Cow::Borrowed(line.bytes), open);
        }
    }
    let mut known = old;
    for line in three.new.lines.iter().filter(|line| is_element(file, **line)) {
        if !upper.contains(line.bytes) && known.insert(line.bytes) {
            merged.add(line.bytes);
        }
    }
    merged.bytes()
}
