//! The merge of one line, field by field.

use std::borrow::Cow;

use super::Database;
use super::lines::{Line, fields, members, set};
use super::notes::Notes;
use crate::etc::report::NoteKind;

/// The fields' names, for notes.
fn names(file: Database) -> &'static [&'static str] {
    match file {
        Database::Passwd => {
            &["name", "password", "user number", "group number", "comment", "home", "shell"]
        }
        Database::Shadow => &[
            "name",
            "password",
            "last change",
            "minimum age",
            "maximum age",
            "warning",
            "inactivity",
            "expiry",
            "last field",
        ],
        Database::Group => &["name", "password", "group number", "members"],
        Database::Gshadow => &["name", "password", "administrators", "members"],
        Database::Subuid | Database::Subgid | Database::Shells => &[],
    }
}

/// Fields that list members.
fn is_list(file: Database, place: usize) -> bool {
    matches!((file, place), (Database::Group, 3) | (Database::Gshadow, 2 | 3))
}

/// Fields about the age of a password, which say nothing without the password: nobody needs to hear of them.
fn is_age(file: Database, place: usize) -> bool {
    file == Database::Shadow && (2..=6).contains(&place)
}

/// Merges a line that the administrator changed with the image's, given as old, new and upper.
pub(super) fn merge_fields<'a>(
    file: Database,
    lines: [Line<'a>; 3],
    notes: &mut Notes,
) -> Cow<'a, [u8]> {
    let [old, new, upper] = lines;
    let same = Cow::Borrowed(upper.bytes);
    if old.bytes == new.bytes || new.bytes == upper.bytes {
        return same;
    }
    let key = upper.key.unwrap_or_default();
    let names = names(file);
    if lines.iter().any(|line| !line.is_sound() || fields(line.bytes).count() != names.len()) {
        let what = " was changed by the administrator and by the image, and is not in its usual form; the administrator's line stays";
        notes.add(file, NoteKind::AccountConflict, key, &[what]);
        return same;
    }
    let mut merged = Vec::with_capacity(upper.bytes.len());
    let three = fields(old.bytes).zip(fields(new.bytes)).zip(fields(upper.bytes));
    for ((place, name), ((old, new), upper)) in names.iter().enumerate().zip(three) {
        if place > 0 {
            merged.push(b':');
        }
        if is_list(file, place) {
            merge_members(old, new, upper, &mut merged);
        } else if upper == old {
            merged.extend_from_slice(new);
        } else {
            merged.extend_from_slice(upper);
            if new != old && new != upper && !is_age(file, place) {
                let what = [
                    "'s ",
                    name,
                    " was changed by the administrator and by the image; the administrator's stays",
                ];
                notes.add(file, NoteKind::AccountConflict, key, &what);
            }
        }
    }
    Cow::Owned(merged)
}

/// The administrator's members without those that the image took out, and with those that it added.
fn merge_members(old: &[u8], new: &[u8], upper: &[u8], merged: &mut Vec<u8>) {
    let [had, has, mine] = [old, new, upper].map(|field| set(&mut members(field)));
    let kept = members(upper).filter(|member| !had.contains(member) || has.contains(member));
    let mut added = had.clone();
    let added = members(new).filter(|member| !mine.contains(member) && added.insert(member));
    for (place, member) in kept.chain(added).enumerate() {
        if place > 0 {
            merged.push(b',');
        }
        merged.extend_from_slice(member);
    }
}
