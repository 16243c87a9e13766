//! EROFS images without any other program, not compressed. Trigger layers, which get no extended attributes, and indexes are
//! made on machines that have no mkfs.erofs, and must be the same wherever they are made.

#![expect(clippy::disallowed_methods, reason = "reads a tree and writes an image")]

pub(crate) mod attributes;
mod layout;

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

pub(crate) use layout::{Content, Node};

use layout::{BLOCK, Layout, Place, SUPERBLOCK_AT};

use crate::error::Error;

/// A tree as it is met: the nodes, where they are, and the places of the directories that they are in.
struct Found {
    nodes: Vec<Node>,
    paths: Vec<PathBuf>,
    parents: Vec<usize>,
}

/// Writes the tree at `root` to the new file `image`. `time` is the image's own, in seconds since 1970; files have theirs.
/// A file with several names becomes several files.
pub(crate) fn write(root: &Path, image: &Path, time: u64, uuid: [u8; 16]) -> Result<(), Error> {
    let found = find(root)?;
    let failed = |error| Error::io("write", image, error);
    let large = || failed(io::Error::other("the tree is too large for an EROFS image"));
    let layout = Layout::new(&found.nodes).ok_or_else(large)?;
    let file = File::create(image).map_err(failed)?;
    file.set_len(u64::from(layout.blocks) * BLOCK).map_err(failed)?;
    file.write_all_at(&layout.superblock(time, uuid), SUPERBLOCK_AT).map_err(failed)?;
    for (number, place) in layout.places.iter().enumerate() {
        let mut bytes = layout.inode(&found.nodes, number).ok_or_else(large)?;
        let data = found.data(number, place, &layout)?;
        let in_body = usize::try_from(place.in_body).map_err(|_| large())?;
        let (body, tail) = data.split_at_checked(in_body).ok_or_else(large)?;
        bytes.extend_from_slice(tail);
        file.write_all_at(&bytes, place.inode).map_err(failed)?;
        file.write_all_at(body, place.body).map_err(failed)?;
    }
    Ok(())
}

/// The bytes of an image whose files have none in it: the whole tree, whose first node is the root directory, with the places
/// of the directories that nodes are in. None where it is too large for EROFS.
pub(crate) fn image(
    nodes: &[Node],
    parents: &[usize],
    time: u64,
    uuid: [u8; 16],
) -> Option<Vec<u8>> {
    let layout = Layout::new(nodes)?;
    let mut image = vec![0; usize::try_from(u64::from(layout.blocks) * BLOCK).ok()?];
    let mut put = |bytes: &[u8], at: u64| {
        let at = usize::try_from(at).ok()?;
        image.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(bytes);
        Some(())
    };
    put(&layout.superblock(time, uuid), SUPERBLOCK_AT)?;
    for (number, (node, place)) in nodes.iter().zip(&layout.places).enumerate() {
        let mut bytes = layout.inode(nodes, number)?;
        let data = match &node.content {
            Content::Directory(_) => layout.directory(nodes, number, *parents.get(number)?)?,
            Content::Link(target) => target.clone(),
            Content::File(0) | Content::Hole(_) | Content::Device(_) => Vec::new(),
            Content::File(_) => return None,
        };
        let in_body = usize::try_from(place.in_body).ok()?.min(data.len());
        let (body, tail) = data.split_at_checked(in_body)?;
        bytes.extend_from_slice(tail);
        put(&bytes, place.inode)?;
        put(body, place.body)?;
    }
    Some(image)
}

impl Found {
    /// All bytes of a node's data.
    fn data(&self, number: usize, place: &Place, layout: &Layout) -> Result<Vec<u8>, Error> {
        let path = self.paths.get(number).map(PathBuf::as_path).unwrap_or(Path::new("/"));
        let failed = |error| Error::io("read", path, error);
        let parent = self.parents.get(number).copied().unwrap_or_default();
        let bytes = match self.nodes.get(number).map(|node| &node.content) {
            Some(Content::Directory(_)) => {
                layout.directory(&self.nodes, number, parent).unwrap_or_default()
            }
            Some(Content::File(_)) => fs::read(path).map_err(failed)?,
            Some(Content::Link(target)) => target.clone(),
            Some(Content::Device(_) | Content::Hole(_)) | None => Vec::new(),
        };
        if bytes.len() as u64 == place.size {
            return Ok(bytes);
        }
        Err(failed(io::Error::other("it changed while it was read")))
    }
}

/// Goes through a tree, directories in the order of their names.
fn find(root: &Path) -> Result<Found, Error> {
    let mut found = Found { nodes: Vec::new(), paths: Vec::new(), parents: Vec::new() };
    found.add(root.to_owned(), 0)?;
    let mut next = 0;
    while let Some(path) = found.paths.get(next).cloned() {
        let failed = |error| Error::io("read", &path, error);
        if matches!(found.nodes.get(next), Some(Node { content: Content::Directory(_), .. })) {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path).map_err(failed)? {
                names.push(entry.map_err(failed)?.file_name());
            }
            names.sort_unstable();
            let mut entries = Vec::new();
            for name in names {
                entries.push((name.as_bytes().to_vec(), found.add(path.join(&name), next)?));
            }
            if let Some(node) = found.nodes.get_mut(next) {
                node.content = Content::Directory(entries);
            }
        }
        next += 1;
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, path: PathBuf, parent: usize) -> Result<usize, Error> {
        let failed = |error| Error::io("read", &path, error);
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        let content = if metadata.is_dir() {
            Content::Directory(Vec::new())
        } else if metadata.is_file() {
            Content::File(metadata.len())
        } else if metadata.is_symlink() {
            Content::Link(fs::read_link(&path).map_err(failed)?.into_os_string().into_vec())
        } else {
            Content::Device(device(metadata.rdev()))
        };
        self.nodes.push(Node {
            // Type and permissions have 16 bits.
            mode: u16::try_from(metadata.mode() & 0xffff).unwrap_or_default(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            time: u64::try_from(metadata.mtime()).unwrap_or_default(),
            nanos: 0,
            links: None,
            attributes: Vec::new(),
            content,
        });
        self.paths.push(path);
        self.parents.push(parent);
        Ok(self.nodes.len() - 1)
    }
}

/// As the kernel's `new_encode_dev`: 8 bits, the major number, 12 more bits.
pub(crate) fn device(number: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::store::inspect::OpenImage;
    use layers::superblock::Format;
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    use std::collections::BTreeMap;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::process::Command;

    /// What stat and read say of all entries but the size of directories, which each file system counts in its own way.
    fn listing(root: &Path) -> BTreeMap<String, String> {
        let found = find(root).unwrap();
        let all = found.paths.iter().zip(&found.nodes).map(|(path, node)| {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let metadata = fs::symlink_metadata(path).unwrap();
            let content = match &node.content {
                Content::Directory(entries) => format!("{} entries", entries.len()),
                Content::File(_) => format!("{:x?}", fs::read(path).unwrap()),
                other => format!("{other:?}"),
            };
            let Node { mode, uid, gid, time, .. } = node;
            (name, format!("{mode:o} {uid} {gid} {time} {} {content}", metadata.nlink()))
        });
        all.collect()
    }

    #[test]
    fn the_kernel_and_fsck_find_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("etc/many")).unwrap();
        fs::create_dir_all(tree.join("empty")).unwrap();
        let sizes = [0, 1, 31, 4031, 4032, 4033, 4095, 4096, 4097, 8192, 12_000, 100_000];
        for size in sizes {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            fs::write(tree.join(format!("etc/size-{size}")), bytes).unwrap();
        }
        // Several blocks of names, some before the two dots.
        for number in 0..700 {
            let name =
                format!("{}{number}-{}", ["+", "-", "n", "z"][number % 4], "x".repeat(number % 90));
            fs::write(tree.join("etc/many").join(name), number.to_string()).unwrap();
        }
        symlink("etc/size-1", tree.join("link")).unwrap();
        symlink("x".repeat(4050), tree.join("long")).unwrap();
        fs::set_permissions(tree.join("etc/size-1"), fs::Permissions::from_mode(0o4750)).unwrap();
        chown(tree.join("etc/size-31"), Some(65_534), Some(1_000_000)).unwrap();
        let node = |name: &str, device| {
            mknodat(CWD, tree.join(name), FileType::CharacterDevice, Mode::RUSR, device).unwrap();
        };
        node("whiteout", 0);
        node("device", makedev(300, 70_000));
        let image = directory.path().join("image");
        write(&tree, &image, 1_700_000_000, [7; 16]).unwrap();

        let open = OpenImage::open(&image, Format::Erofs).unwrap();
        assert_eq!(listing(open.root()), listing(&tree));
        let names = |root: &Path| fs::read_dir(root.join("etc/many")).unwrap().count();
        assert_eq!(names(open.root()), 700);
        drop(open);
        let checked = Command::new("fsck.erofs").arg(&image).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
        let again = directory.path().join("again");
        write(&tree, &again, 1_700_000_000, [7; 16]).unwrap();
        assert!(fs::read(&again).unwrap() == fs::read(&image).unwrap());
        let superblock = layers::store::stage::superblock(&image).unwrap().unwrap();
        assert_eq!(superblock.bytes, fs::metadata(&image).unwrap().len());
    }
}
