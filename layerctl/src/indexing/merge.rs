//! The tree that OverlayFS would show of some images, as one list of names and attributes.
//!
//! Source: Linux 6.12 `fs/overlayfs/namei.c` (`ovl_lookup`), `readdir.c` and `inode.c`; Documentation/filesystems/overlayfs.rst.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use layers::store::xattr::{Buffer, each};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, lgetxattr, llistxattr, openat, readlinkat, statat,
};
use rustix::io::Errno;
use rustix::process::fchdir;

use super::order::Order;
use crate::erofs::{Content, Node, attributes};

/// A name of the merged tree that could not be read, and why.
#[derive(Debug)]
pub(super) struct Failed {
    /// The image's place in the stack.
    pub(super) image: usize,
    /// The path in it.
    pub(super) path: PathBuf,
    /// The kernel's answer; none for attributes that EROFS cannot have.
    pub(super) error: Option<Errno>,
}

/// What a directory that hides everything below it has; `x` where files may be marked as deleted (Linux 6.7).
const OPAQUE: &str = "trusted.overlay.opaque";
/// The mark of a file that deletes, in a directory whose mark is `x`.
const WHITEOUT: &str = "trusted.overlay.whiteout";
/// OverlayFS takes these attributes for itself and shows none of them, but for those that are escaped.
const OWN: &[u8] = b"trusted.overlay.";
const ESCAPED: &[u8] = b"trusted.overlay.overlay.";

/// The merged tree.
pub(super) struct Merged {
    /// The root first, then every directory's entries behind each other.
    pub(super) nodes: Vec<Node>,
    /// The directories that the nodes are in.
    pub(super) parents: Vec<usize>,
    /// What the order of images depends on.
    pub(super) order: Order,
}

/// A directory of the merged tree that is still to be read.
struct Pending {
    node: usize,
    /// Its path, relative to the root.
    path: Vec<u8>,
    /// The images whose directories are seen in it, topmost first.
    images: Vec<usize>,
}

/// A name in a directory of one image.
struct Name {
    image: usize,
    kind: FileType,
}

/// An image that is read.
struct Source {
    root: OwnedFd,
    /// Whether its files can have attributes at all.
    attributes: bool,
}

/// The images, bottom first, and what is known of their merged tree.
struct Merge {
    sources: Vec<Source>,
    merged: Merged,
    /// Nodes of files with several names, by image and inode number.
    linked: HashMap<(usize, u64), usize>,
    /// The open directory that is the working directory, while it is open.
    inside: Option<RawFd>,
    room: Buffer,
}

/// Reads what OverlayFS would show of the directories `roots`, bottom first: in a thread of its own, whose working directory is
/// always the one that is read. There are no calls that name an entry's attributes by an open directory before Linux 6.13, and
/// whole paths would take half of the time.
pub(super) fn merge(roots: &[&Path]) -> Result<Merged, Failed> {
    let work = || {
        let own = unshare(CloneFlags::CLONE_FS);
        own.map_err(|error| failed(0, b"", Errno::from_raw_os_error(error as i32)))?;
        read(roots)
    };
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(merged) => merged,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn read(roots: &[&Path]) -> Result<Merged, Failed> {
    let mut sources = Vec::new();
    for (image, root) in roots.iter().enumerate() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(*root, flags, Mode::empty());
        let failed = |error| Failed { image, path: PathBuf::new(), error: Some(error) };
        sources.push(Source { root: open.map_err(failed)?, attributes: true });
    }
    let order = Order::new(sources.len());
    let merged = Merged { nodes: Vec::new(), parents: Vec::new(), order };
    let (linked, inside, room) = (HashMap::new(), None, Buffer::default());
    let mut merge = Merge { sources, merged, linked, inside, room };
    merge.all()?;
    Ok(merge.merged)
}

impl Merge {
    fn all(&mut self) -> Result<(), Failed> {
        let images: Vec<usize> = (0..self.sources.len()).rev().collect();
        let Some(&top) = images.first() else { return Ok(()) };
        let root = self.open(top, b"")?;
        let stat = rustix::fs::fstat(&root).map_err(|error| failed(top, b"", error))?;
        let shown = if images.len() > 1 { Some(1) } else { None };
        let node = self.directory(top, b"", &root, b".", &stat, shown)?;
        self.add(node, 0);
        let mut todo = vec![Pending { node: 0, path: Vec::new(), images }];
        let mut next = 0;
        // Breadth first: the inodes of a directory's entries lie behind each other.
        while let Some(directory) = todo.get_mut(next) {
            let directory = Pending {
                node: directory.node,
                path: std::mem::take(&mut directory.path),
                images: std::mem::take(&mut directory.images),
            };
            todo.extend(self.read(&directory)?);
            next += 1;
        }
        Ok(())
    }

    fn add(&mut self, node: Node, parent: usize) -> usize {
        self.merged.nodes.push(node);
        self.merged.parents.push(parent);
        self.merged.nodes.len() - 1
    }

    /// Reads a directory of all images that it is seen from; gives the directories in it.
    fn read(&mut self, directory: &Pending) -> Result<Vec<Pending>, Failed> {
        let mut open: BTreeMap<usize, OwnedFd> = BTreeMap::new();
        self.inside = None;
        // By name, the images that have it, topmost first.
        let mut names: BTreeMap<Vec<u8>, Vec<Name>> = BTreeMap::new();
        for &image in &directory.images {
            let handle = self.open(image, &directory.path)?;
            let entries = list(&handle).map_err(|error| failed(image, &directory.path, error))?;
            for (name, kind) in entries {
                names.entry(name).or_default().push(Name { image, kind });
            }
            open.insert(image, handle);
        }
        let (mut entries, mut below) = (Vec::with_capacity(names.len()), Vec::new());
        for (name, found) in names {
            let path = match directory.path.as_slice() {
                b"" => name.clone(),
                above => [above, b"/", &name].concat(),
            };
            let Some((node, images)) = self.entry(&open, &name, &path, &found, directory.node)?
            else {
                continue;
            };
            if !images.is_empty() {
                below.push(Pending { node, path, images });
            }
            entries.push((name, node));
        }
        if let Some(node) = self.merged.nodes.get_mut(directory.node) {
            node.content = Content::Directory(entries);
        }
        Ok(below)
    }

    /// What is seen at a name: its node and, of a directory, the images that it is seen from, topmost first. None where it
    /// is deleted.
    fn entry(
        &mut self,
        open: &BTreeMap<usize, OwnedFd>,
        name: &[u8],
        path: &[u8],
        found: &[Name],
        parent: usize,
    ) -> Result<Option<(usize, Vec<usize>)>, Failed> {
        let Some((top, handle)) = found.first().and_then(|top| Some((top, open.get(&top.image)?)))
        else {
            return Ok(None);
        };
        let stat = statat(handle, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed(top.image, path, error))?;
        if self.is_whiteout(top.image, handle, name, &stat) {
            return Ok(None);
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let images = self.seen_from(open, name, found);
            let shown = (images.len() > 1).then_some(1);
            let node = self.directory(top.image, path, handle, name, &stat, shown)?;
            return Ok(Some((self.add(node, parent), images)));
        }
        // Whatever has this path in an image below must not be taken for it.
        found.iter().skip(1).for_each(|other| self.merged.order.hides(top.image, other.image));
        let key = (top.image, stat.st_ino);
        if let Some(&node) = self.linked.get(&key).filter(|_| stat.st_nlink > 1) {
            return Ok(Some((node, Vec::new())));
        }
        let node = self.file(top.image, path, handle, name, &stat)?;
        if matches!(node.content, Content::Hole(_)) {
            self.merged.order.file(top.image);
        }
        let number = self.add(node, parent);
        if stat.st_nlink > 1 {
            self.linked.insert(key, number);
        }
        Ok(Some((number, Vec::new())))
    }

    /// The images whose directories `name` are seen as one: down to the first that is opaque or has something else there.
    /// The files of those further down are hidden, but are there to be found by the kernel.
    fn seen_from(
        &mut self,
        open: &BTreeMap<usize, OwnedFd>,
        name: &[u8],
        found: &[Name],
    ) -> Vec<usize> {
        let mut seen: Vec<usize> = Vec::new();
        let mut ended = false;
        for Name { image, kind } in found {
            if ended || *kind != FileType::Directory {
                ended = true;
                seen.iter().for_each(|&upper| self.merged.order.hides(upper, *image));
                continue;
            }
            seen.push(*image);
            let mark = open.get(image).map(|handle| self.mark(*image, handle, name, OPAQUE));
            ended = matches!(mark, Some(Some(value)) if value == b"y");
        }
        seen
    }

    /// Whether OverlayFS takes an entry for a deletion: a character device of the number 0:0, or an empty file that is marked.
    fn is_whiteout(&mut self, image: usize, handle: &OwnedFd, name: &[u8], stat: &Stat) -> bool {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => stat.st_rdev == 0,
            FileType::RegularFile if stat.st_size == 0 => {
                self.mark(image, handle, name, WHITEOUT).is_some()
                    && self.mark(image, handle, b".", OPAQUE).is_some_and(|value| value == b"x")
            }
            _ => false,
        }
    }

    fn open(&self, image: usize, path: &[u8]) -> Result<OwnedFd, Failed> {
        let source = self.sources.get(image).ok_or_else(|| failed(image, path, Errno::BADF))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let path = if path.is_empty() { b"." } else { path };
        openat(&source.root, path, flags, Mode::empty()).map_err(|error| failed(image, path, error))
    }

    fn directory(
        &mut self,
        image: usize,
        path: &[u8],
        handle: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        links: Option<u32>,
    ) -> Result<Node, Failed> {
        let attributes = self.attributes(image, path, handle, name, &[])?;
        let node = node(stat, attributes, Content::Directory(Vec::new()));
        Ok(Node { links: links.or(node.links), ..node })
    }

    fn file(
        &mut self,
        image: usize,
        path: &[u8],
        handle: &OwnedFd,
        name: &[u8],
        stat: &Stat,
    ) -> Result<Node, Failed> {
        let content = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => match u64::try_from(stat.st_size).unwrap_or_default() {
                0 => Content::File(0),
                size => Content::Hole(size),
            },
            FileType::Symlink => {
                let target = readlinkat(handle, name, Vec::new());
                Content::Link(target.map_err(|error| failed(image, path, error))?.into_bytes())
            }
            _ => Content::Device(crate::erofs::device(stat.st_rdev)),
        };
        let redirect = [b"/", path].concat();
        // The bytes are in an image, at this path (Linux 6.5, "Data-only lower layers").
        let data: [(&[u8], &[u8]); 2] =
            [(b"trusted.overlay.metacopy", b""), (b"trusted.overlay.redirect", &redirect)];
        let own = if matches!(content, Content::Hole(_)) { data.as_slice() } else { &[] };
        let attributes = self.attributes(image, path, handle, name, own)?;
        Ok(node(stat, attributes, content))
    }

    /// An entry's attributes as OverlayFS shows them, and some of its own.
    fn attributes(
        &mut self,
        image: usize,
        path: &[u8],
        handle: &OwnedFd,
        name: &[u8],
        own: &[(&[u8], &[u8])],
    ) -> Result<Vec<u8>, Failed> {
        let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let listed = match self.list_attributes(image, handle, name) {
            Ok(listed) => listed,
            Err(Errno::OPNOTSUPP) => {
                let source = self.sources.get_mut(image);
                source.into_iter().for_each(|source| source.attributes = false);
                Vec::new()
            }
            Err(error) => return Err(failed(image, path, error)),
        };
        for attribute in each(&listed) {
            if attribute.starts_with(OWN) && !attribute.starts_with(ESCAPED) {
                continue;
            }
            let value = self.room.fill(&mut |room| lgetxattr(name, attribute, room));
            let value = value.map_err(|error| failed(image, path, error))?;
            all.push((attribute.to_vec(), value.to_vec()));
        }
        all.extend(own.iter().map(|(name, value)| (name.to_vec(), value.to_vec())));
        all.sort_unstable();
        let all: Vec<(&[u8], &[u8])> =
            all.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        attributes::encode(&all)
            .ok_or_else(|| Failed { error: None, ..failed(image, path, Errno::INVAL) })
    }

    /// Lists an entry's attributes.
    fn list_attributes(
        &mut self,
        image: usize,
        handle: &OwnedFd,
        name: &[u8],
    ) -> Result<Vec<u8>, Errno> {
        if !self.sources.get(image).is_some_and(|source| source.attributes) {
            return Ok(Vec::new());
        }
        self.enter(handle)?;
        Ok(self.room.fill(&mut |room| llistxattr(name, room))?.to_vec())
    }

    /// The value of one of OverlayFS's own attributes, where an entry has it.
    fn mark(&mut self, image: usize, handle: &OwnedFd, name: &[u8], mark: &str) -> Option<Vec<u8>> {
        if !self.sources.get(image)?.attributes {
            return None;
        }
        self.enter(handle).ok()?;
        let mut value = [0; 8];
        let length = lgetxattr(name, mark, &mut value).ok()?;
        value.get(..length).map(<[u8]>::to_vec)
    }

    /// Makes an open directory the working directory of this thread.
    fn enter(&mut self, handle: &OwnedFd) -> Result<(), Errno> {
        if self.inside != Some(handle.as_raw_fd()) {
            fchdir(handle)?;
            self.inside = Some(handle.as_raw_fd());
        }
        Ok(())
    }
}

fn failed(image: usize, path: &[u8], error: Errno) -> Failed {
    Failed { image, path: Path::new("/").join(OsStr::from_bytes(path)), error: Some(error) }
}

/// The names in a directory and what they are.
fn list(handle: &OwnedFd) -> Result<Vec<(Vec<u8>, FileType)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(handle)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = statat(handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            names.push((name.to_vec(), kind));
        }
    }
    Ok(names)
}

fn node(stat: &Stat, attributes: Vec<u8>, content: Content) -> Node {
    Node {
        // Type and permissions have 16 bits.
        mode: u16::try_from(stat.st_mode & 0xffff).unwrap_or_default(),
        uid: stat.st_uid,
        gid: stat.st_gid,
        // Before 1970 too, as the kernel reads it.
        time: stat.st_mtime.cast_unsigned(),
        nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        // What a plain stack shows: the image's own count, whatever names of a file are seen.
        links: u32::try_from(stat.st_nlink).ok(),
        attributes,
        content,
    }
}
