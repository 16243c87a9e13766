//! Reads the account files of an upper and of the images, and writes what their merge gives.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FileType, Stat};

use super::compare::{Comparer, kind, look};
use super::gather::Views;
use super::references::references;
use crate::etc::accounts::{Database, Input, Upper, Versions, candidates, merge};
use crate::etc::report::{Note, NoteKind};
use crate::exec::HostError;
use crate::store::copy::set_owner_and_mode;
use crate::store::publish;
use crate::store::xattr::{At, Xattrs};

/// Larger files are left as they are: no account file is that large, and a boot has to hold three of each in memory.
const LARGEST: i64 = 64 << 20;

/// The account files as they are before the merge.
pub(super) struct Accounts {
    input: Input,
    whole: bool,
    notes: Vec<Note>,
}

/// What a merge did.
pub(super) struct Outcome {
    pub(super) notes: Vec<Note>,
    pub(super) merged: usize,
    pub(super) dropped: usize,
}

impl Accounts {
    /// Reads what is to be merged; nothing, where the upper has none of the files.
    pub(super) fn read(views: &Views<'_>, whole: bool) -> Result<Self, HostError> {
        let mut accounts = Self {
            input: Input { files: BTreeMap::new(), full: whole && views.old.is_some() },
            whole,
            notes: Vec::new(),
        };
        let mut stats = BTreeMap::new();
        for database in Database::ALL {
            stats.insert(database, look(&views.upper.join(database.name()))?);
        }
        let is_file =
            |stat: &Option<Stat>| stat.is_some_and(|stat| kind(&stat) == FileType::RegularFile);
        if stats.values().any(is_file) {
            for (database, stat) in &stats {
                let versions = accounts.versions(views, *database, stat.as_ref())?;
                accounts.input.files.insert(*database, versions);
            }
        }
        Ok(accounts)
    }

    fn versions(
        &mut self,
        views: &Views<'_>,
        database: Database,
        stat: Option<&Stat>,
    ) -> Result<Versions, HostError> {
        let name = database.name();
        let [old, new, mine] =
            [views.old.unwrap_or(views.new), views.new, views.upper].map(|view| view.join(name));
        let (old_stat, new_stat) = (look(&old)?, look(&new)?);
        let all = [old_stat.as_ref(), new_stat.as_ref(), stat];
        let too_large = |stat: &&Stat| stat.st_size > LARGEST;
        let no_file = |stat: &&Stat| kind(stat) != FileType::RegularFile;
        let mut upper = Upper::Follows;
        if all.iter().flatten().any(no_file) {
            upper = Upper::Apart;
        } else if all.iter().flatten().any(too_large) {
            let what = "too large to be merged; it stays as it is";
            self.notes.push(Note::new(database.path(), NoteKind::NotMerged, what));
            upper = Upper::Apart;
        } else if stat.is_some() && is_elsewhere(&mine)? {
            upper = Upper::Apart;
        }
        if upper == Upper::Apart {
            return Ok(Versions { upper, ..Versions::default() });
        }
        let read = |path: &Path, stat: Option<&Stat>| match stat {
            Some(_) => fs::read(path).map(Some).map_err(|error| HostError::io("read", path, error)),
            None => Ok(None),
        };
        if let Some(text) = read(&mine, stat)? {
            upper = Upper::Text(text);
        }
        let old = if views.old.is_some() { read(&old, old_stat.as_ref())? } else { None };
        Ok(Versions { old, new: read(&new, new_stat.as_ref())?, upper })
    }

    /// The files that the merge decides over.
    pub(super) fn decided(&self) -> Vec<&'static Path> {
        let decided = |versions: &Versions| {
            matches!(versions, Versions { new: Some(_), upper: Upper::Text(_), .. })
        };
        let files = self.input.files.iter().filter(|(_, versions)| decided(versions));
        files.map(|(database, _)| database.path()).collect()
    }

    /// Merges, and writes what changed; `staging` is a directory on the upper's file system.
    pub(super) fn merge(
        self,
        views: &Views<'_>,
        staging: &Path,
        users: &[std::path::PathBuf],
    ) -> Result<Outcome, HostError> {
        let candidates = candidates(&self.input);
        let found = references(&candidates, views.upper, users)?;
        let output = merge(&self.input, &found);
        let mut outcome = Outcome { notes: self.notes, merged: 0, dropped: 0 };
        outcome.notes.extend(output.notes);
        for (database, bytes) in output.files {
            let Some(versions) = self.input.files.get(&database) else { continue };
            let (mine, new) = (views.upper.join(database.name()), views.new.join(database.name()));
            let like = match &versions.upper {
                Upper::Text(text) if *text == bytes => None,
                Upper::Text(_) => Some(&mine),
                Upper::Follows | Upper::Apart => Some(&new),
            };
            if let Some(like) = like {
                replace(&mine, like, &staging.join(database.name()), &bytes)
                    .map_err(|error| HostError::io("write", &mine, error))?;
                outcome.merged += 1;
            }
            if self.whole && versions.new.as_ref() == Some(&bytes) && is_same(&mine, &new)? {
                fs::remove_file(&mine).map_err(|error| HostError::io("remove", &mine, error))?;
                outcome.dropped += 1;
            }
        }
        Ok(outcome)
    }
}

/// Whether a file's content is in a lower (OverlayFS metacopy).
fn is_elsewhere(path: &Path) -> Result<bool, HostError> {
    let marks = Xattrs::default().marks(path);
    marks.map(|marks| marks.metacopy).map_err(|error| HostError::io("read", path, error))
}

fn is_same(one: &Path, other: &Path) -> Result<bool, HostError> {
    match (look(one)?, look(other)?) {
        (Some(stat), Some(other_stat)) => Comparer::new().equal((one, &stat), (other, &other_stat)),
        _ => Ok(false),
    }
}

/// Puts a file with these bytes at `path`, with owner, mode and extended attributes of `like`. A new file: another
/// hard link of the old one keeps its content.
fn replace(path: &Path, like: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    publish::remove_any(temporary)?;
    let mut file: File =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    let stat = rustix::fs::lstat(like)?;
    set_owner_and_mode(temporary, &stat)?;
    Xattrs::default().copy(At::Path(like), At::Path(temporary), &[])?;
    fs::rename(temporary, path)
}
