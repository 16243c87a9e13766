//! Where everything is in an image, and the bytes of inodes, directories and the superblock. Pure.
//!
//! Source: Linux 6.12 `fs/erofs/erofs_fs.h`; all numbers are little-endian.

use super::attributes;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;

/// Where the superblock is.
pub(super) const SUPERBLOCK_AT: u64 = 1024;

const SUPERBLOCK: u64 = 128;
/// `struct erofs_inode_extended`.
const INODE: u64 = 64;
/// Inodes are counted in these.
const SLOT: u64 = 32;
/// `struct erofs_dirent`.
const ENTRY: usize = 12;

const MAGIC: u32 = 0xe0f5_e1e2;
/// `EROFS_FEATURE_COMPAT_MTIME`: the inodes' times are those of modification.
const TIMES_ARE_MTIMES: u32 = 2;
/// `EROFS_FEATURE_INCOMPAT_CHUNKED_FILE` (Linux 5.15): there may be files whose blocks are listed.
const CHUNKED_FILES: u32 = 4;
/// `i_format` of an extended inode whose data is in blocks, or has its tail behind the inode, or is listed there.
const PLAIN: u16 = 1;
const INLINE: u16 = 1 | 2 << 1;
const LISTED: u16 = 1 | 4 << 1;
/// Chunks of 2^31 blocks, the largest: one entry is the list of any file.
const ONE_CHUNK: u32 = 31;
/// `EROFS_NULL_ADDR`: the entry of a chunk that is all zeros.
const NOWHERE: u32 = u32::MAX;
/// Bytes of that entry.
const CHUNK_ENTRY: u64 = 4;

/// A file of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Type and permissions, as stat(2) has them.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Modification time, in seconds since 1970.
    pub(crate) time: u64,
    /// What comes to it, in nanoseconds.
    pub(crate) nanos: u32,
    /// How many names it is said to have; none: as many as it has here.
    pub(crate) links: Option<u32>,
    /// Its extended attributes, as [`super::attributes::encode`] has them.
    pub(crate) attributes: Vec<u8>,
    pub(crate) content: Content,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Names, and the places of their nodes in the list.
    Directory(Vec<(Vec<u8>, usize)>),
    /// So many bytes.
    File(u64),
    /// So many bytes, none of which is in the image.
    Hole(u64),
    /// Where a symbolic link leads.
    Link(Vec<u8>),
    /// A device's number, as the kernel encodes it (`new_encode_dev`); of a pipe or socket 0.
    Device(u32),
}

/// Where a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The byte at which its inode begins, which its attributes follow.
    pub(super) inode: u64,
    /// Bytes of its data.
    pub(super) size: u64,
    /// The byte at which its data begins that is in whole blocks.
    pub(super) body: u64,
    /// How many of its bytes are there; the others are behind the inode.
    pub(super) in_body: u64,
}

/// Where everything is; the first node is the root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) places: Vec<Place>,
    /// Blocks of the whole image.
    pub(super) blocks: u32,
    /// Whether there are files without their bytes.
    holes: bool,
}

impl Layout {
    /// Puts each inode behind the one before, with the tail of its data where both fit into a block; then all other data.
    /// None where the image would have too many blocks.
    pub(super) fn new(nodes: &[Node]) -> Option<Self> {
        let mut at = SUPERBLOCK_AT + SUPERBLOCK;
        let mut places = Vec::with_capacity(nodes.len());
        for node in nodes {
            let size = match &node.content {
                Content::Directory(entries) => directory_size(entries),
                Content::File(size) | Content::Hole(size) => *size,
                Content::Link(target) => target.len() as u64,
                Content::Device(_) => 0,
            };
            let head = INODE + node.attributes.len() as u64;
            let hole = matches!(node.content, Content::Hole(_));
            let tail = match hole {
                true => size,
                false => Some(size % BLOCK).filter(|tail| head + tail <= BLOCK).unwrap_or_default(),
            };
            let need = head + if hole { CHUNK_ENTRY } else { tail };
            at = if at % BLOCK + need > BLOCK { at.next_multiple_of(BLOCK) } else { at };
            places.push(Place { inode: at, size, body: 0, in_body: size - tail });
            at = (at + need).next_multiple_of(SLOT);
        }
        let mut at = at.next_multiple_of(BLOCK);
        for place in places.iter_mut().filter(|place| place.in_body > 0) {
            place.body = at;
            at = at.checked_add(place.in_body)?.checked_next_multiple_of(BLOCK)?;
        }
        let blocks = u32::try_from(at / BLOCK).ok()?;
        let holes = nodes.iter().any(|node| matches!(node.content, Content::Hole(_)));
        Some(Self { places, blocks, holes })
    }

    /// The superblock's bytes.
    pub(super) fn superblock(&self, time: u64, uuid: [u8; 16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_le_bytes());
        // No checksum.
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(TIMES_ARE_MTIMES.to_le_bytes());
        let block_bits = BLOCK.trailing_zeros().to_le_bytes();
        bytes.extend([block_bits.first().copied().unwrap_or_default(), 0]);
        let root = self.places.first().map_or(0, |place| place.inode / SLOT);
        bytes.extend(u16::try_from(root).unwrap_or_default().to_le_bytes());
        bytes.extend((self.places.len() as u64).to_le_bytes());
        bytes.extend(time.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(self.blocks.to_le_bytes());
        // Inodes are counted from the first block; no attributes are shared.
        bytes.extend([0; 8]);
        bytes.extend(uuid);
        // No name.
        bytes.extend([0; 16]);
        let holes = self.holes.then_some(CHUNKED_FILES);
        bytes.extend(holes.unwrap_or_default().to_le_bytes());
        bytes.resize(usize::try_from(SUPERBLOCK).unwrap_or_default(), 0);
        bytes
    }

    /// The bytes of an inode, its attributes, and the list of a file's blocks; none where there is no such node.
    pub(super) fn inode(&self, nodes: &[Node], number: usize) -> Option<Vec<u8>> {
        let (node, place) = (nodes.get(number)?, self.places.get(number)?);
        let format = match node.content {
            Content::Hole(_) => LISTED,
            _ if place.in_body < place.size => INLINE,
            _ => PLAIN,
        };
        let mut bytes = Vec::new();
        bytes.extend(format.to_le_bytes());
        bytes.extend(attributes::count(&node.attributes)?.to_le_bytes());
        bytes.extend(node.mode.to_le_bytes());
        bytes.extend(0_u16.to_le_bytes());
        bytes.extend(place.size.to_le_bytes());
        let data = match node.content {
            Content::Device(device) => device,
            Content::Hole(_) => ONE_CHUNK,
            _ => u32::try_from(place.body / BLOCK).ok()?,
        };
        bytes.extend(data.to_le_bytes());
        bytes.extend(u32::try_from(number + 1).ok()?.to_le_bytes());
        bytes.extend(node.uid.to_le_bytes());
        bytes.extend(node.gid.to_le_bytes());
        bytes.extend(node.time.to_le_bytes());
        bytes.extend(node.nanos.to_le_bytes());
        bytes.extend(node.links.unwrap_or_else(|| links(nodes, node)).to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(&node.attributes);
        if format == LISTED {
            bytes.extend(NOWHERE.to_le_bytes());
        }
        Some(bytes)
    }

    /// The bytes of a directory's data; `parent` is the node of the directory that it is in. None where a node is missing.
    pub(super) fn directory(
        &self,
        nodes: &[Node],
        number: usize,
        parent: usize,
    ) -> Option<Vec<u8>> {
        let Content::Directory(entries) = &nodes.get(number)?.content else { return None };
        let mut all: Vec<(&[u8], usize)> = vec![(b".", number), (b"..", parent)];
        all.extend(entries.iter().map(|(name, node)| (name.as_slice(), *node)));
        all.sort_unstable();
        let mut bytes = Vec::new();
        for block in blocks(&all) {
            bytes.resize(bytes.len().next_multiple_of(usize::try_from(BLOCK).ok()?), 0);
            let mut name_at = block.len() * ENTRY;
            for (name, node) in block {
                let place = self.places.get(*node)?;
                bytes.extend((place.inode / SLOT).to_le_bytes());
                bytes.extend(u16::try_from(name_at).ok()?.to_le_bytes());
                bytes.extend([file_type(nodes.get(*node)?), 0]);
                name_at += name.len();
            }
            block.iter().for_each(|(name, _)| bytes.extend_from_slice(name));
        }
        Some(bytes)
    }
}

/// The entries of a directory by the blocks that they are in: names are in the order of their bytes.
fn blocks<'a, 'b>(entries: &'b [(&'a [u8], usize)]) -> Vec<&'b [(&'a [u8], usize)]> {
    let mut blocks = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (place, (name, _)) in entries.iter().enumerate() {
        let need = (ENTRY + name.len()) as u64;
        if size + need > BLOCK {
            blocks.push(entries.get(start..place).unwrap_or_default());
            (start, size) = (place, 0);
        }
        size += need;
    }
    blocks.push(entries.get(start..).unwrap_or_default());
    blocks
}

fn directory_size(entries: &[(Vec<u8>, usize)]) -> u64 {
    let mut all: Vec<(&[u8], usize)> = vec![(b".", 0), (b"..", 0)];
    all.extend(entries.iter().map(|(name, node)| (name.as_slice(), *node)));
    all.sort_unstable();
    let blocks = blocks(&all);
    let last = blocks.last().copied().unwrap_or_default();
    let used: usize = last.iter().map(|(name, _)| ENTRY + name.len()).sum();
    (blocks.len() as u64 - 1) * BLOCK + used as u64
}

/// How many names a node has: a directory's are its own, `.` and each `..` in it.
fn links(nodes: &[Node], node: &Node) -> u32 {
    let Content::Directory(entries) = &node.content else { return 1 };
    let is_directory = |(_, node): &&(Vec<u8>, usize)| {
        matches!(nodes.get(*node), Some(Node { content: Content::Directory(_), .. }))
    };
    2 + u32::try_from(entries.iter().filter(is_directory).count()).unwrap_or(u32::MAX - 2)
}

/// `enum` of `EROFS_FT_*`, which is that of all file systems.
fn file_type(node: &Node) -> u8 {
    match node.mode & 0o170_000 {
        0o100_000 => 1,
        0o040_000 => 2,
        0o020_000 => 3,
        0o060_000 => 4,
        0o010_000 => 5,
        0o140_000 => 6,
        0o120_000 => 7,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(content: Content) -> Node {
        let mode = if matches!(content, Content::Directory(_)) { 0o040_755 } else { 0o100_644 };
        let attributes = Vec::new();
        Node { mode, uid: 0, gid: 0, time: 0, nanos: 0, links: None, attributes, content }
    }

    proptest! {
        #[test]
        fn nothing_lies_over_anything_else(sizes in prop::collection::vec(0_u64..13_000, 0..40)) {
            let mut nodes = vec![node(Content::Directory(Vec::new()))];
            nodes.extend(sizes.iter().map(|&size| node(Content::File(size))));
            let layout = Layout::new(&nodes).unwrap();
            let mut taken = vec![(SUPERBLOCK_AT, SUPERBLOCK_AT + SUPERBLOCK)];
            for place in &layout.places {
                let tail = place.size - place.in_body;
                taken.push((place.inode, place.inode + INODE + tail));
                // The kernel reads an inode and its tail from one block.
                prop_assert_eq!(place.inode / BLOCK, (place.inode + INODE + tail - 1) / BLOCK);
                prop_assert!(place.inode % SLOT == 0 && place.body % BLOCK == 0);
                if place.in_body > 0 {
                    taken.push((place.body, place.body + place.in_body));
                }
            }
            taken.sort_unstable();
            prop_assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            prop_assert!(taken.last().unwrap().1 <= u64::from(layout.blocks) * BLOCK);
        }

        #[test]
        fn a_directory_is_as_long_as_it_says(names in prop::collection::btree_set("[!-~]{1,200}", 0..90)) {
            let mut nodes = vec![node(Content::Directory(Vec::new()))];
            let entries = names.iter().enumerate().map(|(n, name)| (name.clone().into_bytes(), n + 1));
            nodes[0].content = Content::Directory(entries.collect());
            nodes.extend(names.iter().map(|_| node(Content::File(1))));
            let layout = Layout::new(&nodes).unwrap();
            let data = layout.directory(&nodes, 0, 0).unwrap();
            prop_assert_eq!(data.len() as u64, layout.places[0].size);
        }
    }
}
