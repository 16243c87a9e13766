//! The report of one reconciliation: what was merged, and what the administrator should look at.
//!
//! It is published, as JSON, before the /etc that it speaks of; `layerctl etc conflicts` lists its notes.

use std::fmt;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::id::GenerationId;

/// The report format's number.
pub const SCHEMA: u32 = 1;

/// What one reconciliation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The format's number, [`SCHEMA`].
    pub schema: u32,
    /// The generation whose /etc was made.
    pub generation: GenerationId,
    /// The generation whose /etc it was made of; none where one upper serves all.
    pub source: Option<GenerationId>,
    /// How much was done.
    pub counts: Counts,
    /// What somebody should know, in the order of paths.
    pub notes: Vec<Note>,
}

/// How much a reconciliation did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Entries of the upper that were looked at.
    pub entries: usize,
    /// Entries that were dropped, so that they follow the image.
    pub dropped: usize,
    /// Entries that were kept aside under another name.
    pub aside: usize,
    /// Account files that were merged by key.
    pub merged: usize,
}

/// One thing that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The absolute path, as [`shown`] writes it.
    pub path: String,
    /// What kind of thing it is.
    pub kind: NoteKind,
    /// One sentence, without the path.
    pub what: String,
    /// Whether the administrator has dealt with it.
    #[serde(default)]
    pub resolved: bool,
}

/// The kinds of notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// The administrator and the image changed it, each in another way; the administrator's stays.
    ChangedOnBothSides,
    /// The administrator changed it and the image no longer has it; the administrator's stays.
    RemovedByImage,
    /// The administrator deleted it and the image changed it; it stays deleted.
    DeletedByAdministrator,
    /// The administrator's entry has another name now, since the image has another type of file there.
    KeptAside,
    /// An account that the image no longer has stays.
    AccountKept,
    /// An account that both sides changed; the administrator's values stay.
    AccountConflict,
    /// The image gave an account another number.
    IdChanged,
    /// Two names have one number, or ranges of numbers overlap.
    IdTwice,
    /// A name stands twice in an account file; its lines were left as they are.
    DuplicateKey,
    /// A device, a set-user-ID or set-group-ID file, or an OverlayFS attribute that no mount here honours.
    Foreign,
    /// The images that the /etc lay on before could not be seen.
    OldUnknown,
    /// Not every layer of the generation was mounted.
    Incomplete,
    /// An account file was not merged.
    NotMerged,
}

impl NoteKind {
    /// Whether a note of this kind asks for a decision; the others only inform.
    pub fn is_conflict(self) -> bool {
        !matches!(self, Self::AccountKept | Self::Foreign | Self::OldUnknown | Self::Incomplete)
    }

    /// The kind's name, as in the report's text.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChangedOnBothSides => "changed-on-both-sides",
            Self::RemovedByImage => "removed-by-image",
            Self::DeletedByAdministrator => "deleted-by-administrator",
            Self::KeptAside => "kept-aside",
            Self::AccountKept => "account-kept",
            Self::AccountConflict => "account-conflict",
            Self::IdChanged => "id-changed",
            Self::IdTwice => "id-twice",
            Self::DuplicateKey => "duplicate-key",
            Self::Foreign => "foreign",
            Self::OldUnknown => "old-unknown",
            Self::Incomplete => "incomplete",
            Self::NotMerged => "not-merged",
        }
    }
}

impl fmt::Display for NoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Note {
    /// A note on a path relative to /etc.
    pub fn new(path: &Path, kind: NoteKind, what: impl Into<String>) -> Self {
        Self { path: shown(path), kind, what: what.into(), resolved: false }
    }

    /// Sorts by path; notes on one path stay in their order.
    pub fn sort(notes: &mut [Self]) {
        notes.sort_by(|one, other| one.path.cmp(&other.path));
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        f.write_str(": ")?;
        f.write_str(&self.what)
    }
}

impl Report {
    /// Reads a report's text.
    ///
    /// # Errors
    /// Text that is no report of this format.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The report's text, with a newline at its end.
    ///
    /// # Errors
    /// None that a report's types can cause; serde_json's signature has them.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(text)
    }

    /// The notes that ask for a decision and have none yet.
    pub fn conflicts(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(|note| !note.resolved && note.kind.is_conflict())
    }
}

/// How a path relative to /etc is written in a report: absolute; control characters and bytes that are no UTF-8 as
/// escapes, so that it is safe on a terminal.
pub fn shown(path: &Path) -> String {
    let mut text = String::from("/etc");
    for part in path.components() {
        if let Component::Normal(name) = part {
            text.push('/');
            text.push_str(&escaped(name.as_encoded_bytes()));
        }
    }
    text
}

/// Bytes as text that is safe on a terminal and in a line: control characters and bytes that are no UTF-8 as escapes.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.extend(std::ascii::escape_default(*byte).map(char::from));
        }
    }
    text
}
