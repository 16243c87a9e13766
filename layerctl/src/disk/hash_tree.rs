//! The hash tree that a disk image brings for its root partition (UAPI.2, Discoverable Partitions Specification): the root
//! hash is in the GUIDs of the two partitions, the parameters are in veritysetup's superblock.
//!
//! Only the parameters are taken over. The tree follows from them and from the image's bytes, so the store makes it, and what
//! would come of a wrong one is known before anything enters the store.

use std::fs::File;
use std::io;
use std::path::Path;

use layers::id::Digest;
use layers::manifest::Verity;
use layers::plan::change::Refusal;
use layers::verity;

use super::gpt::{Partition, Purpose};
use super::{BLOCK, read_at};
use crate::context::Context;
use crate::error::Error;

/// A superblock's length in bytes.
const SUPERBLOCK: usize = 512;

/// A hash tree, by what the disk image says of it.
pub(super) struct HashTree {
    root: Digest,
    salt: String,
    /// How many bytes of the file system's partition it is about.
    pub(super) length: u64,
}

/// The hash tree of a partition; `None` where there is none, or one with parameters that init does not use.
pub(super) fn hash_tree(
    path: &Path,
    file: &mut File,
    data: &Partition,
    partitions: &[Partition],
) -> Result<Option<HashTree>, Error> {
    let belongs = |other: &&Partition| {
        data.purpose == Purpose::Root
            && other.purpose == Purpose::RootVerity
            && other.architecture == data.architecture
    };
    let Some(tree) = partitions.iter().find(belongs) else { return Ok(None) };
    let head = read_at(
        file,
        tree.start,
        SUPERBLOCK.min(usize::try_from(tree.length).unwrap_or(SUPERBLOCK)),
    )
    .map_err(|error| Error::io("read", path, error))?;
    let superblock = match verity::Superblock::parse(&head) {
        Ok(superblock) => superblock,
        Err(why) => {
            log::debug!("{}: its hash tree is left out: {why}", path.display());
            return Ok(None);
        }
    };
    let length = superblock.data_blocks.checked_mul(BLOCK);
    let length = length.filter(|length| (1..=data.length).contains(length));
    let length = length.ok_or_else(|| {
        let why = format!("its hash tree is about {} blocks", superblock.data_blocks);
        refusal(path, &format!("{why}, and its partition has {}", data.length / BLOCK))
    })?;
    let [high, low] = [data.id, tree.id].map(u128::to_be_bytes);
    let mut root = [0; 32];
    root.iter_mut().zip(high.into_iter().chain(low)).for_each(|(to, from)| *to = from);
    Ok(Some(HashTree { root: Digest::new(root), salt: superblock.salt, length }))
}

impl HashTree {
    /// What verity goes by, measured of the image itself; refused where that has another root.
    pub(super) fn verity(
        &self,
        context: &Context,
        path: &Path,
        image: &Path,
    ) -> Result<Verity, Error> {
        let file = File::open(image).map_err(|error| Error::io("open", image, error))?;
        let bar = context.ui.bar("making the hash tree", self.length);
        let measured = verity::measure_stream(bar.wrap_read(file), &self.salt)
            .map_err(|error| Error::io("read", image, io::Error::other(error)))?
            .verity;
        bar.finish_and_clear();
        if measured.root == self.root {
            return Ok(measured);
        }
        let (is, want) = (measured.root, self.root);
        Err(refusal(
            path,
            &format!("its file system has the root hash {is}, its partitions say {want}"),
        )
        .into())
    }
}

fn refusal(path: &Path, why: &str) -> Refusal {
    Refusal::new(
        format!("{} is damaged or was changed: {why}", path.display()),
        "get or build the disk image again",
    )
}
