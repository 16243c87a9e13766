//! Which entries of an upper stay, follow the image, or are kept aside. Pure.

use std::path::{Path, PathBuf};

use super::entry::{Entry, Lower, What};
use super::report::{Note, NoteKind};

/// The stamp of systemd-update-done(8): older than /usr, or missing, it makes ConditionNeedsUpdate=/etc true
/// (systemd.unit(5)).
pub const STAMP: &str = ".updated";

/// Files that services make anew out of others whenever the images change.
const REGENERATED: [&str; 3] = [STAMP, "ld.so.cache", "udev/hwdb.bin"];

/// Backup and lock files of the account tools (passwd(5), lckpwdf(3)): of no interest to anybody.
const QUIET: [&str; 7] =
    ["passwd-", "group-", "shadow-", "gshadow-", "subuid-", "subgid-", ".pwd.lock"];

/// What is to be done to the copy of an upper. In the order of a decision's list each is possible when its turn comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Remove an entry; a directory is empty by then.
    Remove(PathBuf),
    /// Give a directory owner, mode and extended attributes of the new images'.
    TakeAttributes(PathBuf),
    /// Let the images' entries show through a directory.
    ClearOpaque(PathBuf),
    /// Move an entry to a free name.
    SetAside {
        /// Where it is.
        from: PathBuf,
        /// The free name, in the same directory.
        to: PathBuf,
    },
    /// Hide what the images have at a path where the upper has nothing.
    Whiteout(PathBuf),
}

/// What is to be done, and what is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What to do, in order.
    pub actions: Vec<Action>,
    /// What to tell.
    pub notes: Vec<Note>,
}

/// What a decision knows beside the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Whether every layer of the generation is mounted.
    pub whole: bool,
    /// Whether the new images have a [`STAMP`].
    pub stamp: bool,
    /// Names of account files at the top that are merged by key, and not decided here.
    pub merged: &'a [&'a Path],
}

/// How an entry's directory stands to what the images have in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// The images' entries are seen beside the upper's.
    Merged,
    /// The images' entries are not seen: nothing here can follow them.
    Hidden,
    /// All of it goes.
    Dropped,
    /// All of it is kept under another name.
    Aside,
}

/// What becomes of one entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    /// A directory that goes if nothing stays in it.
    GoesIfEmpty,
    Aside,
}

/// Decides over all entries of an upper, which are listed directories first.
pub fn decide(entries: &[Entry], facts: Facts<'_>) -> Decision {
    let images_own = images_own(entries);
    let mut state = State {
        facts,
        within: Vec::with_capacity(entries.len()),
        fates: Vec::with_capacity(entries.len()),
        directories: Vec::new(),
        notes: Vec::new(),
    };
    for (entry, images_own) in entries.iter().zip(images_own) {
        let (fate, within) = state.look_at(entry, images_own);
        state.fates.push(fate);
        state.within.push(within);
    }
    finish(entries, state)
}

/// For each entry, whether all of it, with what is in it, is what the old images had.
fn images_own(entries: &[Entry]) -> Vec<bool> {
    let mut own: Vec<bool> = entries
        .iter()
        .map(|entry| match entry.upper {
            What::Whiteout => true,
            What::Directory { opaque: true } => false,
            _ if is_redirected(entry) => false,
            _ => entry.old.is_some_and(|old| old.equal) || is_one_of(&entry.path, &REGENERATED),
        })
        .collect();
    for (place, entry) in entries.iter().enumerate().rev() {
        if own.get(place) == Some(&false)
            && let Some(above) = entry.parent.and_then(|parent| own.get_mut(parent))
        {
            *above = false;
        }
    }
    own
}

/// Whether the entry's content is elsewhere, so that comparing it means nothing.
fn is_redirected(entry: &Entry) -> bool {
    use super::entry::Foreign::{Metacopy, Redirect};
    matches!(entry.foreign, Some(Redirect | Metacopy))
}

fn is_one_of(path: &Path, names: &[&str]) -> bool {
    names.iter().any(|name| path == Path::new(name))
}

struct State<'a> {
    facts: Facts<'a>,
    within: Vec<Within>,
    fates: Vec<Fate>,
    /// What to do to directories that stay, by their places.
    directories: Vec<(usize, Action)>,
    notes: Vec<Note>,
}

impl State<'_> {
    /// What becomes of an entry, and how what is in it stands to the images.
    fn look_at(&mut self, entry: &Entry, images_own: bool) -> (Fate, Within) {
        let above = entry.parent.and_then(|parent| self.within.get(parent));
        let above = above.copied().unwrap_or(Within::Merged);
        let (fate, within) = self.decide(entry, above, images_own);
        if let (Fate::Stays | Fate::Aside, Some(foreign)) = (fate, entry.foreign) {
            self.note(entry, NoteKind::Foreign, foreign.what());
        }
        (fate, within)
    }

    fn decide(&mut self, entry: &Entry, above: Within, images_own: bool) -> (Fate, Within) {
        if above == Within::Dropped {
            return (Fate::Goes, Within::Dropped);
        }
        if is_one_of(&entry.path, &REGENERATED) && !matches!(entry.upper, What::Directory { .. }) {
            return (Fate::Goes, above);
        }
        match above {
            _ if !self.facts.whole => (Fate::Stays, Within::Hidden),
            // In a directory that the images do not have, whiteouts would show as devices.
            Within::Aside if entry.upper == What::Whiteout => (Fate::Goes, above),
            Within::Aside | Within::Hidden => (Fate::Stays, above),
            _ if self.facts.merged.contains(&entry.path.as_path()) => (Fate::Stays, above),
            _ => match entry.upper {
                What::Whiteout => (self.whiteout(entry), above),
                What::Leaf => (self.leaf(entry), above),
                What::Directory { opaque } => self.directory(entry, opaque, images_own),
            },
        }
    }

    fn whiteout(&mut self, entry: &Entry) -> Fate {
        if entry.new.is == Lower::Absent {
            return Fate::Goes;
        }
        if entry.old.is_some() && !entry.same {
            let what = "deleted by the administrator; the image changed it; it stays deleted";
            self.note(entry, NoteKind::DeletedByAdministrator, what);
        }
        Fate::Stays
    }

    fn leaf(&mut self, entry: &Entry) -> Fate {
        if is_redirected(entry) {
            return Fate::Stays;
        }
        if entry.new.equal {
            return Fate::Goes;
        }
        let Some(old) = entry.old else {
            return Fate::Stays;
        };
        if old.equal {
            return Fate::Goes;
        }
        if entry.new.is == Lower::Directory && old.is != Lower::Directory {
            return self.aside(entry, "the image has a directory there now");
        }
        self.stays(entry, old.is)
    }

    /// What the administrator changed stays, with a note where the image changed too.
    fn stays(&mut self, entry: &Entry, old: Lower) -> Fate {
        if entry.same {
            return Fate::Stays;
        }
        let (kind, what) = match (old, entry.new.is) {
            (Lower::Absent, Lower::Absent) => return Fate::Stays,
            (_, Lower::Absent) => (
                NoteKind::RemovedByImage,
                "changed by the administrator; the image no longer has it; it stays",
            ),
            (Lower::Absent, _) => (
                NoteKind::ChangedOnBothSides,
                "added by the administrator and, in another form, by the image; the administrator's stays",
            ),
            _ => (
                NoteKind::ChangedOnBothSides,
                "changed by the administrator and by the image; the administrator's stays",
            ),
        };
        self.note(entry, kind, what);
        Fate::Stays
    }

    fn aside(&mut self, entry: &Entry, why: &str) -> Fate {
        // The gatherer found a free name wherever the types differ; without one the entry stays as it is.
        let Some(name) = entry.aside.as_ref().and_then(|to| to.file_name()) else {
            return Fate::Stays;
        };
        let name = super::report::escaped(name.as_encoded_bytes());
        self.note(
            entry,
            NoteKind::KeptAside,
            &format!("{why}; the administrator's is kept as {name}"),
        );
        Fate::Aside
    }

    fn directory(&mut self, entry: &Entry, opaque: bool, images_own: bool) -> (Fate, Within) {
        if is_redirected(entry) {
            return (Fate::Stays, Within::Hidden);
        }
        let old = entry.old.map(|old| old.is);
        if entry.new.is == Lower::Leaf {
            return match old {
                None => (Fate::Stays, Within::Hidden),
                Some(Lower::Leaf) => (self.stays(entry, Lower::Leaf), Within::Hidden),
                Some(_) if images_own => (Fate::Goes, Within::Dropped),
                Some(_) => {
                    let why = "the image has something other than a directory there now";
                    let fate = self.aside(entry, why);
                    if opaque && fate == Fate::Aside {
                        self.on_directory(Action::ClearOpaque(entry.path.clone()));
                    }
                    (fate, Within::Aside)
                }
            };
        }
        if opaque {
            match old {
                None => return (Fate::Stays, Within::Hidden),
                Some(Lower::Directory) => {
                    if entry.new.is == Lower::Directory && !entry.same {
                        let what = "deleted and made anew by the administrator, which hides what the image changed in it";
                        self.note(entry, NoteKind::ChangedOnBothSides, what);
                    }
                    return (Fate::Stays, Within::Hidden);
                }
                // OverlayFS marks each new directory, so the mark says nothing of the administrator's will.
                Some(_) => self.on_directory(Action::ClearOpaque(entry.path.clone())),
            }
        }
        (self.attributes(entry), Within::Merged)
    }

    /// A directory's own owner, mode and extended attributes, which follow the image or stay.
    fn attributes(&mut self, entry: &Entry) -> Fate {
        let old_equal = entry.old.is_some_and(|old| old.equal);
        match entry.new.is {
            Lower::Directory if entry.new.equal => Fate::GoesIfEmpty,
            Lower::Directory if old_equal => {
                self.on_directory(Action::TakeAttributes(entry.path.clone()));
                Fate::GoesIfEmpty
            }
            Lower::Absent if old_equal => Fate::GoesIfEmpty,
            Lower::Directory if entry.old.is_some() && !entry.same => {
                let what = "owner, mode or attributes of the directory were changed by the administrator and by the image; the administrator's stay";
                self.note(entry, NoteKind::ChangedOnBothSides, what);
                Fate::Stays
            }
            Lower::Absent if entry.old.is_some_and(|old| old.is == Lower::Directory) => {
                let what = "owner, mode or attributes of the directory were changed by the administrator; the image no longer has it; it stays";
                self.note(entry, NoteKind::RemovedByImage, what);
                Fate::Stays
            }
            _ => Fate::Stays,
        }
    }

    /// The fate of the entry that is looked at is not in the list yet: its place is the list's length.
    fn on_directory(&mut self, action: Action) {
        self.directories.push((self.fates.len(), action));
    }

    fn note(&mut self, entry: &Entry, kind: NoteKind, what: &str) {
        if kind == NoteKind::Foreign || !is_one_of(&entry.path, &QUIET) {
            self.notes.push(Note::new(&entry.path, kind, what));
        }
    }
}

/// Directories that nothing stays in go, deepest first; then the actions are put in order.
fn finish(entries: &[Entry], state: State<'_>) -> Decision {
    let State { facts, mut fates, directories, notes, .. } = state;
    let mut left = vec![0_usize; entries.len()];
    let (mut removals, mut asides) = (Vec::new(), Vec::new());
    for (place, entry) in entries.iter().enumerate().rev() {
        let Some(fate) = fates.get_mut(place) else { continue };
        let empty = left.get(place) == Some(&0);
        // /etc itself always stays.
        if *fate == Fate::GoesIfEmpty {
            *fate = if empty && entry.parent.is_some() { Fate::Goes } else { Fate::Stays };
        }
        if *fate == Fate::Goes {
            removals.push(Action::Remove(entry.path.clone()));
            continue;
        }
        if let (Fate::Aside, Some(to)) = (*fate, &entry.aside) {
            asides.push(Action::SetAside { from: entry.path.clone(), to: to.clone() });
        }
        if let Some(count) = entry.parent.and_then(|parent| left.get_mut(parent)) {
            *count += 1;
        }
    }
    let stays = |place: usize| fates.get(place) != Some(&Fate::Goes);
    let directories = directories.into_iter().filter(|(place, _)| stays(*place));
    let directories = directories.map(|(_, action)| action);
    let stamp = facts.stamp.then(|| Action::Whiteout(STAMP.into()));
    let actions = removals.into_iter().chain(directories).chain(asides).chain(stamp).collect();
    Decision { actions, notes }
}
