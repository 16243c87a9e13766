//! The merge of one file in which each line belongs to one name: passwd, group, shadow, gshadow.

use std::borrow::Cow;

use super::Database;
use super::fields::merge_fields;
use super::lines::{Line, Merged, Text};
use super::notes::Notes;
use crate::etc::report::NoteKind;

/// The three versions of one file.
pub(super) struct Three<'a> {
    pub(super) old: Text<'a>,
    pub(super) new: Text<'a>,
    pub(super) upper: Text<'a>,
    /// Whether lines may change and go; else they are only added.
    pub(super) full: bool,
}

impl<'a> Three<'a> {
    /// Lines of the upper whose name the old images had and the new ones have not.
    pub(super) fn removed(&self) -> impl Iterator<Item = (&'a [u8], Line<'a>)> {
        let gone = |key: &[u8]| self.full && self.old.has(key) && !self.new.has(key);
        self.upper.keyed().filter(move |(key, _)| gone(key))
    }

    /// Whether a line of the upper is the old images', and the only one of its name.
    pub(super) fn is_unchanged(&self, key: &[u8], line: Line<'_>) -> bool {
        self.upper.count(key) == 1
            && line.is_sound()
            && self.old.get(key).is_some_and(|old| old.bytes == line.bytes)
    }

    /// Whether the administrator gave a name a line that the old images had not.
    pub(super) fn is_changed(&self, key: &[u8]) -> bool {
        self.upper.get(key).is_some_and(|line| !self.is_unchanged(key, line))
    }
}

/// Merges one file. `stays` tells why a name that the images no longer have stays all the same.
pub(super) fn merge(
    file: Database,
    three: &Three<'_>,
    stays: &dyn Fn(&[u8]) -> Option<&'static str>,
    notes: &mut Notes,
) -> Vec<u8> {
    let mut merged = Merged::default();
    let last = three.upper.lines.len();
    for (place, line) in three.upper.lines.iter().enumerate() {
        if let Some(bytes) = one(file, three, *line, stays, notes) {
            merged.keep(*line, bytes, place + 1 == last && !three.upper.ends);
        }
    }
    for (key, line) in three.new.keyed() {
        if !three.upper.has(key) && !three.old.has(key) {
            merged.add(line.bytes);
        }
    }
    if three.full {
        deleted(file, three, notes);
    }
    for (key, _) in three.upper.keyed().filter(|(key, _)| three.upper.count(key) > 1) {
        notes.add(
            file,
            NoteKind::DuplicateKey,
            key,
            &[" has several lines, which stay as they are"],
        );
    }
    merged.bytes()
}

/// What becomes of one line of the upper; none if it goes.
fn one<'a>(
    file: Database,
    three: &Three<'a>,
    line: Line<'a>,
    stays: &dyn Fn(&[u8]) -> Option<&'static str>,
    notes: &mut Notes,
) -> Option<Cow<'a, [u8]>> {
    let same = Some(Cow::Borrowed(line.bytes));
    let Some(key) = line.key else { return same };
    if !three.full || !line.is_sound() || three.upper.count(key) > 1 {
        return same;
    }
    match (three.old.get(key), three.new.get(key)) {
        (None, Some(new)) if new.bytes != line.bytes => {
            let what = " is the administrator's and now, with other values, the image's too; the administrator's stays";
            notes.add(file, NoteKind::AccountConflict, key, &[what]);
            same
        }
        (None, _) => same,
        (Some(old), None) => {
            let why =
                if old.bytes == line.bytes { stays(key)? } else { "the administrator changed it" };
            if matches!(file, Database::Passwd | Database::Group) {
                notes.add(
                    file,
                    NoteKind::AccountKept,
                    key,
                    &[" is no longer the image's and stays: ", why],
                );
            }
            same
        }
        (Some(old), Some(new)) => {
            let bytes = if old.bytes == line.bytes {
                Cow::Borrowed(new.bytes)
            } else {
                merge_fields(file, [old, new, line], notes)
            };
            numbers(file, key, line.bytes, &bytes, notes);
            Some(bytes)
        }
    }
}

/// Tells of user and group numbers that changed: files keep the old ones.
fn numbers(file: Database, key: &[u8], was: &[u8], is: &[u8], notes: &mut Notes) {
    let ids: &[(usize, &str)] = match file {
        Database::Passwd => &[(2, "user number"), (3, "group number")],
        Database::Group => &[(2, "group number")],
        _ => &[],
    };
    for (place, what) in ids {
        let field = |line| super::lines::fields(line).nth(*place).unwrap_or_default();
        let (was, is) = (field(was), field(is));
        if was != is {
            let [was, is] = [was, is].map(crate::etc::report::escaped);
            let what = [
                "'s ",
                what,
                " was ",
                &was,
                " and is now the image's ",
                &is,
                "; files keep the old one",
            ];
            notes.add(file, NoteKind::IdChanged, key, &what);
        }
    }
}

/// Tells of names that the administrator deleted and the image changed.
fn deleted(file: Database, three: &Three<'_>, notes: &mut Notes) {
    for (key, new) in three.new.keyed() {
        let changed = three.old.get(key).is_some_and(|old| old.bytes != new.bytes);
        if changed && !three.upper.has(key) {
            let what = " was deleted by the administrator; the image changed it; it stays deleted";
            notes.add(file, NoteKind::DeletedByAdministrator, key, &[what]);
        }
    }
}
