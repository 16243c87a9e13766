//! Numbers that two names have: reported, never changed, since files belong to numbers.

use std::collections::BTreeMap;

use super::Database;
use super::lines::Text;
use super::notes::Notes;
use crate::etc::report::{NoteKind, escaped};

/// Tells of user or group numbers that two names have.
pub(super) fn twice(file: Database, text: &Text<'_>, notes: &mut Notes) {
    let mut first: BTreeMap<u32, &[u8]> = BTreeMap::new();
    for (key, line) in text.keyed() {
        let Some(id) = line.number(2) else { continue };
        match first.get(&id) {
            Some(other) => {
                let what = [" has the number ", &id.to_string(), ", as ", &escaped(other), " has"];
                notes.add(file, NoteKind::IdTwice, key, &what);
            }
            None => {
                first.insert(id, key);
            }
        }
    }
}

/// Tells of ranges of subordinate numbers of different names that overlap.
pub(super) fn overlaps(file: Database, bytes: &[u8], notes: &mut Notes) {
    let text = Text::new(bytes);
    let range = |line: &super::lines::Line<'_>| {
        let (start, length) = (line.number(1)?, line.number(2)?);
        let end = u64::from(start) + u64::from(length);
        (length > 0).then_some((u64::from(start), end))
    };
    let mut ranges: Vec<_> = text
        .lines
        .iter()
        .filter_map(|line| range(line).zip(line.key))
        .map(|((start, end), key)| (start, end, key))
        .collect();
    ranges.sort_unstable();
    // The furthest end so far, and the furthest of any other name.
    let mut furthest: Option<(u64, &[u8])> = None;
    let mut other = None;
    for (start, end, key) in ranges {
        let of_another =
            if furthest.is_some_and(|(_, name)| name == key) { other } else { furthest };
        if let Some((reach, name)) = of_another
            && reach > start
        {
            let what = ["'s range from ", &start.to_string(), " overlaps one of ", &escaped(name)];
            notes.add(file, NoteKind::IdTwice, key, &what);
        }
        if furthest.is_none_or(|(reach, _)| end > reach) {
            if furthest.is_some_and(|(_, name)| name != key) {
                other = furthest;
            }
            furthest = Some((end, key));
        } else if furthest.is_some_and(|(_, name)| name != key)
            && other.is_none_or(|(reach, _): (u64, _)| end > reach)
        {
            other = Some((end, key));
        }
    }
}
