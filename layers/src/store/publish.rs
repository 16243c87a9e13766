//! Publishing: write beside, fsync, rename, fsync the directory. After a crash a reader sees the old or the new,
//! never a part.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::layout::UNPUBLISHED;

/// The error inside an [`io::Error`] that came after what was asked for could be seen already.
#[derive(Debug, Error)]
#[error("{0}")]
struct Unsettled(io::Error);

/// Marks an error: what was asked for can be seen, but a power cut may take it back, or a rest of it is left.
pub fn unsettled(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Unsettled(error))
}

/// Whether what was asked for can be seen in spite of the error; see [`unsettled`].
pub fn is_unsettled(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Unsettled>())
}

/// Whether there was no room for it, of blocks, inodes or quota.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The name beside `path` under which it is made: the same each time, so that a later try replaces what an earlier
/// one left.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(UNPUBLISHED);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Whether a file name is one of those that [`beside`] makes.
pub fn is_unpublished(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(UNPUBLISHED.as_bytes())
}

/// Publishes a file that holds `text`, mode 0600.
pub fn file(path: &Path, text: &str) -> io::Result<()> {
    let temporary = beside(path);
    whole_or_nothing(
        &temporary,
        write_synced(&temporary, text).and_then(|()| rename(&temporary, path)),
    )
}

/// Takes away what a failed attempt left: a full disk gets its blocks back, and the store looks as before.
fn whole_or_nothing(temporary: &Path, result: io::Result<()>) -> io::Result<()> {
    if result.is_err() {
        // The first error is the one to tell; what stays all the same, cleanup removes.
        let _ = remove_any(temporary);
    }
    result
}

/// Publishes a directory, mode 0700, that holds one file `name` with `text`. Refused if it is there already.
pub fn directory(path: &Path, name: &str, text: &str) -> io::Result<()> {
    let temporary = beside(path);
    remove_any(&temporary)?;
    let made = DirBuilder::new()
        .mode(0o700)
        .create(&temporary)
        .and_then(|()| write_synced(&temporary.join(name), text))
        .and_then(|()| sync(&temporary))
        .and_then(|()| rename_new(&temporary, path));
    whole_or_nothing(&temporary, made)?;
    sync_parent(path)
}

/// A generation's number is never used twice: an existing one must not be replaced, not even if it is empty.
fn rename_new(temporary: &Path, path: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(
        rustix::fs::CWD,
        temporary,
        rustix::fs::CWD,
        path,
        rustix::fs::RenameFlags::NOREPLACE,
    )?)
}

/// Moves `temporary`, whose content is on disk, to `path`, durably. Past the rename itself, errors are [`unsettled`].
pub fn rename(temporary: &Path, path: &Path) -> io::Result<()> {
    // Opened before, so that only the flush itself can fail when the new name is seen.
    let parent = File::open(parent(path))?;
    fs::rename(temporary, path)?;
    parent.sync_all().map_err(unsettled)
}

/// The smallest unit that a disk writes whole, in bytes.
const SECTOR: usize = 512;

/// Puts `text` in the place of a text of the same length, durably; refused for any other length. A record is shorter than
/// a sector, so a reader sees the old or the new.
pub fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if text.len() > SECTOR || file.metadata()?.len() != text.len() as u64 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it has not the length of a record",
        ));
    }
    file.write_all_at(text.as_bytes(), 0)?;
    file.sync_data().map_err(unsettled)
}

/// Removes a file or a whole directory: renamed away first, so that nobody sees half of it. What is missing is fine. Once
/// it is away, errors are [`unsettled`]; what is left of it, cleanup removes.
pub fn remove(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    if is_unpublished(name) {
        return remove_any(path);
    }
    let aside = beside(path);
    remove_any(&aside)?;
    match rename(path, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    remove_any(&aside).map_err(unsettled)
}

/// Flushes a directory's entries to disk.
pub fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    sync(parent(path))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Removes whatever is at `path`, if anything is.
pub fn remove_any(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
