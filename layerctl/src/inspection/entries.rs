//! The entries of a mounted image, for [`layers::overlap`].

#![expect(clippy::disallowed_methods, reason = "reads the files of images")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use layers::overlap::{Entry, Node};
use layers::store::inspect;
use rustix::fs::lgetxattr;
use rustix::io::Errno;

use crate::error::Error;

/// How much of a file is compared at a time, in bytes.
const BLOCK: usize = 1 << 16;

/// All entries of an image, by path without a leading slash; the root is the empty one.
pub(crate) fn all(root: &Path) -> Result<BTreeMap<String, Entry>, Error> {
    let mut entries = BTreeMap::new();
    let mut todo = vec![String::new()];
    while let Some(path) = todo.pop() {
        let at = root.join(&path);
        let failed = |error| Error::io("read", &at, error);
        let Some(entry) = entry(root, &path)? else { continue };
        if matches!(entry.node, Node::Directory { .. }) {
            for below in fs::read_dir(&at).map_err(failed)? {
                let name = below.map_err(failed)?.file_name();
                let name = name.to_string_lossy();
                todo.push(if path.is_empty() {
                    name.into_owned()
                } else {
                    format!("{path}/{name}")
                });
            }
        }
        entries.insert(path, entry);
    }
    Ok(entries)
}

/// Those entries of an image that have one of `paths`. A path that leads through a link is none of the image's.
pub(crate) fn some<'a>(
    root: &Path,
    paths: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<String, Entry>, Error> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    // Directories come before what is in them.
    for path in paths.collect::<BTreeSet<_>>() {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let inside = path.is_empty() || is_directory(entries.get(parent));
        if inside && let Some(entry) = entry(root, path)? {
            entries.insert(path.clone(), entry);
        }
    }
    Ok(entries)
}

fn is_directory(entry: Option<&Entry>) -> bool {
    entry.is_some_and(|entry| matches!(entry.node, Node::Directory { .. }))
}

/// The entry of a path whose directories are no links.
pub(crate) fn entry(root: &Path, path: &str) -> Result<Option<Entry>, Error> {
    let at = root.join(path);
    let failed = |error: io::Error| Error::io("read", &at, error);
    // The root is named by a link of the kernel's.
    let metadata = if path.is_empty() { fs::metadata(&at) } else { fs::symlink_metadata(&at) };
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let node = node(&at, &metadata).map_err(failed)?;
    let capabilities = matches!(node, Node::File(_)) && has_capabilities(&at).map_err(failed)?;
    let owner = (metadata.uid(), metadata.gid());
    Ok(Some(Entry { node, mode: metadata.mode() & 0o7777, owner, capabilities }))
}

fn is_absence(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind())
}

fn node(at: &Path, metadata: &Metadata) -> io::Result<Node> {
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Node::Directory { opaque: inspect::is_opaque(at)? }
    } else if kind.is_file() {
        Node::File(metadata.len())
    } else if kind.is_symlink() {
        Node::Link(fs::read_link(at)?.to_string_lossy().into_owned())
    } else if kind.is_char_device() && metadata.rdev() == 0 {
        Node::Whiteout
    } else if kind.is_char_device() || kind.is_block_device() {
        Node::Device(metadata.rdev())
    } else {
        Node::Other
    })
}

fn has_capabilities(at: &Path) -> io::Result<bool> {
    match lgetxattr(at, "security.capability", &mut [0_u8; 0]) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether two files have the same bytes.
pub(crate) fn same(one: &Path, other: &Path) -> Result<bool, Error> {
    let open = |path: &Path| File::open(path).map_err(|error| Error::io("open", path, error));
    let (mut first, mut second) = (open(one)?, open(other)?);
    let (mut a, mut b) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let read = |file: &mut File, into: &mut [u8], path: &Path| {
            fill(file, into).map_err(|error| Error::io("read", path, error))
        };
        let (have, has) = (read(&mut first, &mut a, one)?, read(&mut second, &mut b, other)?);
        if have != has || a.get(..have) != b.get(..has) {
            return Ok(false);
        }
        if have == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the block is full or the file ends.
fn fill(file: &mut File, into: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while let Some(rest) = into.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            more => have += more,
        }
    }
    Ok(have)
}
