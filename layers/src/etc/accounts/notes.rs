//! Notes about lines of account files, not more than a few of a kind: a hostile file may have a million reasons.

use std::collections::BTreeMap;

use super::Database;
use crate::etc::report::{Note, NoteKind, escaped};

/// How many notes of one kind about one file are written out.
const MOST: usize = 100;

#[derive(Default)]
pub(super) struct Notes {
    list: Vec<Note>,
    counts: BTreeMap<(Database, NoteKind), usize>,
}

impl Notes {
    /// Adds a note about a name: the name, then what there is to say.
    pub(super) fn add(&mut self, file: Database, kind: NoteKind, name: &[u8], what: &[&str]) {
        let count = self.counts.entry((file, kind)).or_default();
        *count += 1;
        if *count <= MOST {
            let mut text = escaped(name);
            text.extend(what.iter().copied());
            self.list.push(Note::new(file.path(), kind, text));
        }
    }

    pub(super) fn finish(mut self) -> Vec<Note> {
        for ((file, kind), count) in self.counts {
            if count > MOST {
                let what = format!("{} more notes of this kind are left out", count - MOST);
                self.list.push(Note::new(file.path(), kind, what));
            }
        }
        self.list
    }
}
