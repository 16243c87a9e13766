//! File operations whose errors name the path.
#![expect(clippy::disallowed_methods, reason = "this module is the harness's file effects")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Says what was tried on which path. `action` is a verb that fits after "cannot".
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|e| FileError::new("read", path, e))
}

/// Reads a whole file of UTF-8 text.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|e| FileError::new("read", path, e))
}

/// Writes a whole file, replacing what was there.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), FileError> {
    fs::write(path, bytes).map_err(|e| FileError::new("write", path, e))
}

/// Copies a file's bytes and mode.
pub fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::copy(from, to).map_err(|e| FileError::new("write", to, e))?;
    Ok(())
}

/// Makes a directory and those above it.
pub fn make_dir(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(|e| FileError::new("make directory", path, e))
}

/// Makes an empty directory, removing what was there.
pub fn make_empty_dir(path: &Path) -> Result<(), FileError> {
    remove_tree(path)?;
    make_dir(path)
}

/// Removes a directory with all that is in it; it may be absent.
pub fn remove_tree(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes a file; it may be absent.
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// Renames; both paths are on one file system.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(|e| FileError::new("rename", from, e))
}

/// Whether the path leads to something.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// The entries of a directory, sorted by name.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut entries = fs::read_dir(path)
        .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>())
        .map_err(|e| FileError::new("list", path, e))?;
    entries.sort();
    Ok(entries)
}

/// Every path below a directory, directories before what is in them, sorted by name; symbolic links are not followed.
pub fn walk(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut found = Vec::new();
    for entry in list(path)? {
        let kind = fs::symlink_metadata(&entry).map_err(|e| FileError::new("read", &entry, e))?;
        found.push(entry.clone());
        if kind.is_dir() {
            found.extend(walk(&entry)?);
        }
    }
    Ok(found)
}

/// Makes a sparse file of `bytes` zeros, replacing what was there.
pub fn make_sparse(path: &Path, bytes: u64) -> Result<(), FileError> {
    fs::File::create(path)
        .and_then(|file| file.set_len(bytes))
        .map_err(|e| FileError::new("write", path, e))
}

/// The size of a file in bytes.
pub fn size(path: &Path) -> Result<u64, FileError> {
    Ok(fs::metadata(path).map_err(|e| FileError::new("read", path, e))?.len())
}

/// Whether the path is a regular file, links not followed.
pub fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|kind| kind.is_file())
}

/// Opens a file to be read.
pub fn open(path: &Path) -> Result<fs::File, FileError> {
    fs::File::open(path).map_err(|e| FileError::new("open", path, e))
}

/// Whether the path is a directory, links not followed.
pub fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|kind| kind.is_dir())
}

/// Where a symbolic link points to; `None` for anything else.
pub fn link_target(path: &Path) -> Result<Option<PathBuf>, FileError> {
    let failed = |e| FileError::new("read", path, e);
    if !fs::symlink_metadata(path).map_err(failed)?.is_symlink() {
        return Ok(None);
    }
    fs::read_link(path).map(Some).map_err(failed)
}

/// Makes a file, or empties it, to be written.
pub fn create(path: &Path) -> Result<fs::File, FileError> {
    fs::File::create(path).map_err(|e| FileError::new("write", path, e))
}

/// Waits for the lock of a file that is made for it; the lock ends with the returned file.
pub fn lock(path: &Path) -> Result<fs::File, FileError> {
    let file = create(path)?;
    file.lock().map_err(|e| FileError::new("lock", path, e))?;
    Ok(file)
}

/// When the path was last changed.
pub fn modified(path: &Path) -> Result<SystemTime, FileError> {
    fs::symlink_metadata(path)
        .and_then(|meta| meta.modified())
        .map_err(|e| FileError::new("read", path, e))
}
