//! The boot partition on disk: what is on it, and writes that are read back.
//!
//! FAT knows no rename that is whole or nothing, so nothing is written beside and renamed: a new name is written, flushed,
//! read back past the cache and compared, before anything that it replaces goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::Advice;

use super::stage::{self, Progress};
use super::{StoreError, publish};
use crate::boot_partition::{BootPartition, FileFacts};
use crate::entry::{EntryName, Said};
use crate::exec::HostError;
use crate::id::Digest;
use crate::kernel::KernelFile;
use crate::layout::BootDir;

/// The longest entry that is read, in bytes: kernels take no command line that comes near it.
const ENTRY_MAX: u64 = 64 << 10;

/// Whether our files' bytes are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Names and lengths only.
    Quick,
    /// All bytes.
    Thorough,
}

/// Reads what is on the boot partition that is mounted at `dir`. Whose it is, the caller adds.
pub fn read(dir: &BootDir, look: Look) -> Result<BootPartition, StoreError> {
    let failed = |error| StoreError::io("read", dir.top(), error);
    let metadata = fs::metadata(dir.top()).map_err(failed)?;
    if !metadata.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    let space = rustix::fs::statvfs(dir.top()).map_err(|error| failed(error.into()))?;
    let (entries, foreign) = entries(dir)?;
    let missing = dir.directories().iter().filter(|directory| !directory.is_dir()).count();
    Ok(BootPartition {
        dir: dir.clone(),
        files: files(dir, look)?,
        entries,
        foreign,
        missing_directories: missing as u64,
        free: space.f_bavail.saturating_mul(space.f_frsize),
        cluster: space.f_frsize,
        machine_id: None,
        state: None,
        one_shot: None,
    })
}

fn files(dir: &BootDir, look: Look) -> Result<BTreeMap<KernelFile, FileFacts>, StoreError> {
    let mut found = BTreeMap::new();
    for name in names(&dir.files())? {
        let Some(file) = BootDir::parse_file_name(&name) else { continue };
        let path = dir.file(&file);
        let metadata = fs::metadata(&path).map_err(|error| StoreError::io("read", &path, error))?;
        let sound = match look {
            Look::Quick => None,
            // A file that cannot be read is as good as one with other bytes.
            Look::Thorough => {
                Some(stage::hash(&path, &mut |_| {}).is_ok_and(|digest| digest == file.digest))
            }
        };
        found.insert(file, FileFacts { size: metadata.len(), sound });
    }
    Ok(found)
}

/// Our entries with their texts, and our files that entries of others name.
fn entries(
    dir: &BootDir,
) -> Result<(BTreeMap<EntryName, String>, BTreeSet<KernelFile>), StoreError> {
    let (mut ours, mut foreign) = (BTreeMap::new(), BTreeSet::new());
    let directory = dir.entries();
    for name in names(&directory)?.into_iter().filter(|name| name.ends_with(".conf")) {
        let text = text(&directory.join(&name));
        match name.parse::<EntryName>() {
            // What cannot be read is no whole entry, and its name tells that.
            Ok(name) => drop(ours.insert(name, text.unwrap_or_default())),
            Err(_) => {
                let said = Said::parse(&text.unwrap_or_default());
                foreign.extend(said.files.iter().filter_map(|path| BootDir::named(path)));
            }
        }
    }
    Ok((ours, foreign))
}

fn text(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > ENTRY_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// Names in a directory; a missing one has none.
fn names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |error| StoreError::io("read", directory, error);
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in listing {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// Copies `from` to `to`, which it makes anew unless it has the right bytes already, and reads it back.
pub fn copy(
    from: &Path,
    to: &Path,
    want: &Digest,
    progress: &mut Progress<'_>,
) -> Result<(), HostError> {
    if stage::hash(to, &mut |_| {}).is_ok_and(|is| is == *want) {
        // A change that was cut short may have left it in the page cache alone.
        let flushed = File::open(to).and_then(|file| file.sync_all());
        return flushed
            .and_then(|()| sync_parent(to))
            .map_err(|error| HostError::io("flush", to, error));
    }
    make_parents(to)?;
    remove(to)?;
    let copied = stage::copy_hashed(from, to, progress).and_then(|is| match is == *want {
        true => read_back(to, want),
        false => Err(HostError::Digest { path: from.to_owned(), is, want: *want }),
    });
    keep_or_remove(to, copied)
}

/// Writes an entry under a name that is not there yet, and reads it back.
pub fn write(path: &Path, text: &str) -> Result<(), HostError> {
    make_parents(path)?;
    let written = write_new(path, text).map_err(|error| HostError::io("write", path, error));
    if let Err(HostError::Io { source, .. }) = &written
        && source.kind() == io::ErrorKind::AlreadyExists
    {
        return written;
    }
    keep_or_remove(path, written.and_then(|()| read_back(path, &stage::digest(text.as_bytes()))))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Removes a file at once: a rename aside is two changes of a directory on FAT. What is missing is fine.
pub fn remove(path: &Path) -> Result<(), HostError> {
    let removed = match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(|error| HostError::io("remove", path, error))
}

/// What a failed write left is taken away: the partition may be full, and no half file shall be mistaken for a whole one.
fn keep_or_remove(path: &Path, result: Result<(), HostError>) -> Result<(), HostError> {
    match result {
        Ok(()) => sync_parent(path).map_err(|error| HostError::io("flush", path, error)),
        Err(error) => {
            // The first error is the one to tell.
            let _ = remove(path);
            Err(error)
        }
    }
}

/// Compares what the disk holds, not what the page cache does.
fn read_back(path: &Path, want: &Digest) -> Result<(), HostError> {
    let file = File::open(path).map_err(|error| HostError::io("open", path, error))?;
    // Clean pages go; a file system that keeps them all the same is read from memory.
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
        .map_err(|error| HostError::io("read back", path, error))?;
    let is = stage::hash(path, &mut |_| {})?;
    match is == *want {
        true => Ok(()),
        false => Err(HostError::ReadBack { path: path.to_owned(), is, want: *want }),
    }
}

fn make_parents(path: &Path) -> Result<(), HostError> {
    let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) else { return Ok(()) };
    make_parents(parent)?;
    let made = DirBuilder::new().create(parent).and_then(|()| sync_parent(parent));
    made.map_err(|error| HostError::io("create", parent, error))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    publish::sync(path.parent().unwrap_or(Path::new("/")))
}
