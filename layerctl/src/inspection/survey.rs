//! The entries of an image as their bytes are, for [`layers::grants`]: nothing is left out for its name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use layers::grants::{Below, Entry, Ground, LONGEST_PATH, MOST_ENTRIES, Node, UNITS};
use layers::store::inspect;
use layers::store::xattr::{Buffer, each};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, llistxattr, openat2, readlinkat,
    stat, statat,
};
use rustix::io::Errno;

use crate::error::Error;

/// All entries of an image, the root among them. It ends early where nobody would take the image anyway: at too many entries,
/// and below what is too deep or was seen before.
pub(crate) fn entries(root: &Path) -> Result<Vec<Entry>, Error> {
    let failed = |path: &Path, error: Errno| Error::io("read", path, error);
    let mut buffer = Buffer::default();
    let mut seen = BTreeSet::new();
    let top = stat(root).map_err(|error| failed(root, error))?;
    let mut entries = vec![entry(root, Vec::new(), &top, &mut buffer)?];
    let mut todo = vec![0];
    while let Some(number) = todo.pop() {
        let Some((path, inode)) = entries.get(number).map(|it| (it.path.clone(), it.inode)) else {
            break;
        };
        if !seen.insert(inode) {
            continue;
        }
        let listed = list(root, &path).map_err(|error| failed(&at(root, &path), error))?;
        let count = listed.len();
        for (name, stat) in listed {
            let below = match path.as_slice() {
                b"" => name,
                above => [above, b"/", &name].concat(),
            };
            let entry = entry(root, below, &stat, &mut buffer)?;
            if matches!(entry.node, Node::Directory { .. }) {
                todo.push(entries.len());
            }
            entries.push(entry);
        }
        if let Some(Entry { node: Node::Directory { names, .. }, .. }) = entries.get_mut(number) {
            *names = count;
        }
        if entries.len() > MOST_ENTRIES {
            break;
        }
    }
    Ok(entries)
}

/// What the images below a layer, bottom first, have in the layer's directories and in those of units. What a layer between
/// deletes counts as there: a grant too many is asked for, never one too few.
pub(crate) fn ground(roots: &[&Path], layer: &[Entry]) -> Result<Ground, Error> {
    let of_layer = layer
        .iter()
        .filter(|entry| matches!(entry.node, Node::Directory { .. }))
        .map(|entry| entry.path.as_slice());
    let directories: BTreeSet<&[u8]> =
        of_layer.chain(UNITS.iter().map(|units| units.as_bytes())).collect();
    let mut ground = Ground::new();
    for root in roots {
        let top = stat(*root).map_err(|error| Error::io("read", root, error))?;
        ground.insert(Vec::new(), below(&top));
        for directory in &directories {
            let listed = match list(root, directory) {
                Ok(listed) => listed,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => continue,
                Err(error) => return Err(Error::io("read", &at(root, directory), error)),
            };
            for (name, stat) in listed {
                let path = match *directory {
                    b"" => name,
                    above => [above, b"/", &name].concat(),
                };
                ground.insert(path, below(&stat));
            }
        }
    }
    Ok(ground)
}

fn below(stat: &Stat) -> Below {
    Below {
        directory: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
    }
}

/// A path of an image; the root keeps the slash at its end, without which it would be a link of the kernel's.
fn at(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}

/// The names in a directory with what they are; ELOOP where a link is on the way. A second `.` or `..` is a name like others.
fn list(root: &Path, directory: &[u8]) -> Result<Vec<(Vec<u8>, Stat)>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty())?;
    let directory = if directory.is_empty() { b"." } else { directory };
    let open = openat2(root, directory, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let mut names = Vec::new();
    let mut dots = [b".".as_slice(), b".."].map(|name| (name, false));
    for entry in Dir::read_from(&open)? {
        let name = entry?.file_name().to_bytes().to_vec();
        let first = dots.iter_mut().find(|(dot, seen)| *dot == name && !seen);
        if let Some((_, seen)) = first {
            *seen = true;
            continue;
        }
        let stat = statat(&open, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
        names.push((name, stat));
    }
    Ok(names)
}

fn entry(root: &Path, path: Vec<u8>, stat: &Stat, buffer: &mut Buffer) -> Result<Entry, Error> {
    let here = at(root, &path);
    let failed = |error: io::Error| Error::io("read", &here, error);
    let (mode, owner, inode) = (stat.st_mode & 0o7777, (stat.st_uid, stat.st_gid), stat.st_ino);
    if path.len() > LONGEST_PATH {
        // It is refused for that.
        return Ok(Entry { path, node: Node::File, mode, owner, inode, attributes: Vec::new() });
    }
    let attributes = attributes(&here, buffer).map_err(|error| failed(error.into()))?;
    let node = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            Node::Directory { names: 0, opaque: inspect::is_opaque(&here).map_err(failed)? }
        }
        FileType::Symlink => {
            let link = readlinkat(CWD, &here, Vec::new());
            Node::Link(link.map_err(|error| failed(error.into()))?.into_bytes())
        }
        FileType::RegularFile => Node::File,
        FileType::Fifo => Node::Fifo,
        FileType::Socket => Node::Socket,
        FileType::CharacterDevice if stat.st_rdev == 0 => Node::Whiteout,
        _ => Node::Device,
    };
    Ok(Entry { path, node, mode, owner, inode, attributes })
}

/// The names of an entry's attributes; none on a file system without any.
fn attributes(path: &Path, buffer: &mut Buffer) -> Result<Vec<Vec<u8>>, Errno> {
    match buffer.fill(&mut |buffer| llistxattr(path, buffer)) {
        Ok(names) => Ok(each(names).map(<[u8]>::to_vec).collect()),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
