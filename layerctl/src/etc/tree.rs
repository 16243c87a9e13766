//! A view of /etc as data: every entry with what it is, its owner, mode and extended attributes.

#![expect(clippy::disallowed_methods, reason = "reads directory trees")]

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use layers::store::xattr::{Buffer, each};
use rustix::fs::{lgetxattr, llistxattr};

use crate::error::Error;

/// The attributes that OverlayFS keeps for itself; a mounted overlay shows none of them.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// A regular file of that length in bytes.
    File(u64),
    /// A symbolic link and where it leads.
    Link(PathBuf),
    /// A device, a pipe or a socket: its type bits and its number.
    Node(u32, u64),
}

/// An entry without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it is.
    pub(crate) kind: Kind,
    /// Permission bits, with set-user-ID, set-group-ID and the sticky bit.
    pub(crate) mode: u32,
    /// The owner's number.
    pub(crate) uid: u32,
    /// The group's number.
    pub(crate) gid: u32,
    /// Extended attributes by name.
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entry {
    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether it is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File(_))
    }

    /// Reads the entry at `path`.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            kind: kind(path, &metadata)?,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            xattrs: xattrs(path)?,
        })
    }
}

fn kind(path: &Path, metadata: &Metadata) -> io::Result<Kind> {
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Kind::Directory
    } else if kind.is_file() {
        Kind::File(metadata.size())
    } else if kind.is_symlink() {
        Kind::Link(fs::read_link(path)?)
    } else {
        let device = kind.is_block_device() || kind.is_char_device();
        Kind::Node(metadata.mode() & !0o7777, if device { metadata.rdev() } else { 0 })
    })
}

fn xattrs(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let (mut names, mut value) = (Buffer::default(), Buffer::default());
    let names = match names.fill(&mut |names| llistxattr(path, names)) {
        // A file system without extended attributes has none.
        Err(rustix::io::Errno::NOTSUP) => &[],
        listed => listed?,
    };
    let mut found = BTreeMap::new();
    for name in each(names).filter(|name| !name.starts_with(OVERLAY)) {
        let value = value.fill(&mut |value| lgetxattr(path, name, value))?;
        found.insert(name.to_vec(), value.to_vec());
    }
    Ok(found)
}

/// All entries of a view, by their path relative to it; the top itself has the empty one. Directories come before what
/// is in them.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    top: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
}

impl Tree {
    /// Reads the view at `top`. What goes away while it is read is not in it.
    pub(crate) fn read(top: &Path) -> Result<Self, Error> {
        let mut tree = Self { top: top.to_owned(), entries: BTreeMap::new() };
        let mut todo = vec![PathBuf::new()];
        while let Some(path) = todo.pop() {
            let at = tree.at(&path);
            let failed = |error| Error::io("read", &Path::new("/etc").join(&path), error);
            let entry = match Entry::read(&at) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entry => entry.map_err(failed)?,
            };
            if entry.is_directory() {
                for name in fs::read_dir(&at).map_err(failed)? {
                    todo.push(path.join(name.map_err(failed)?.file_name()));
                }
            }
            tree.entries.insert(path, entry);
        }
        Ok(tree)
    }

    /// Where an entry of the view is.
    pub(crate) fn at(&self, path: &Path) -> PathBuf {
        // Joined with an empty path it would end in a slash, which follows a link.
        if path.as_os_str().is_empty() { self.top.clone() } else { self.top.join(path) }
    }

    /// The entries, in the order of their paths.
    pub(crate) fn entries(&self) -> &BTreeMap<PathBuf, Entry> {
        &self.entries
    }

    /// The entry at `path`.
    pub(crate) fn get(&self, path: &Path) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Whether the regular files at `path` in this view and another, of the same length, have the same content.
    /// A file that has gone away since the view was read is like no other.
    pub(crate) fn same_content(&self, other: &Self, path: &Path) -> Result<bool, Error> {
        match same_content(&self.at(path), &other.at(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            same => same.map_err(|error| Error::io("read", &Path::new("/etc").join(path), error)),
        }
    }
}

fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let mut one = BufReader::with_capacity(64 << 10, File::open(one)?);
    let mut other = BufReader::with_capacity(64 << 10, File::open(other)?);
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if left.get(..length) != right.get(..length) {
            return Ok(false);
        }
        if length == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        one.consume(length);
        other.consume(length);
    }
}

#[cfg(test)]
impl Tree {
    /// A tree out of thin air.
    pub(crate) fn made_of(entries: impl IntoIterator<Item = (&'static str, Kind)>) -> Self {
        let entry = |kind| Entry { kind, mode: 0o644, uid: 0, gid: 0, xattrs: BTreeMap::new() };
        let entries = entries.into_iter().map(|(path, kind)| (path.into(), entry(kind)));
        let top = [("".into(), entry(Kind::Directory))];
        Self { top: "/nowhere".into(), entries: top.into_iter().chain(entries).collect() }
    }
}
