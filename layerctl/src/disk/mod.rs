//! Disk images as extensions (systemd's "DDI", UAPI.3): the partition that holds the files is taken out of its table.
//!
//! ```text
//! root partition  → its file system, byte for byte    → the store's image
//! /usr partition  → its files, in a directory usr     → packed anew
//! root verity     → its parameters; the store makes the same tree again
//! /usr verity     → left alone, since the files are packed anew
//! ```

#![expect(clippy::disallowed_methods, reason = "reads disk images and writes work files")]

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use layers::manifest::Verity;
use layers::plan::change::Refusal;
use layers::store::inspect::OpenImage;
use layers::store::tree;
use layers::superblock::{Format, SUPERBLOCK_BYTES, Superblock};

use crate::admission;
use crate::context::Context;
use crate::error::Error;
use crate::work::{Holds, WorkDirectory};

mod gpt;
mod hash_tree;
#[cfg(test)]
mod tests;

pub(crate) use gpt::TableError;
use gpt::{Partition, Purpose};
use hash_tree::hash_tree;

/// Where big files may lie for a while (file-hierarchy(7)).
const PLACE: &str = "/var/tmp";

/// Images have a whole number of these bytes: loop devices have blocks.
const BLOCK: u64 = 4096;

/// What was taken out of a disk image. It is there as long as the context is.
pub(crate) struct Taken {
    /// What it is.
    pub(crate) content: Content,
    /// The architecture that its partition's type names.
    pub(crate) architecture: &'static str,
    /// The directory that it is in, for what is made of it.
    pub(crate) work: PathBuf,
}

/// A partition's content.
pub(crate) enum Content {
    /// An image that is a system's root.
    Image {
        /// Where it is.
        path: PathBuf,
        /// Its superblock.
        superblock: Superblock,
        /// Of its hash tree, where the disk image has one that init can use.
        verity: Option<Verity>,
    },
    /// A directory with a directory `usr`.
    Tree {
        /// The directory.
        path: PathBuf,
        /// The file system that it was in.
        format: Format,
    },
}

/// Takes the files out of a disk image; `None` where the file has no partition table.
pub(crate) fn take(context: &Context, path: &Path) -> Result<Option<Taken>, Error> {
    let mut file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let length = file.metadata().map_err(|error| Error::io("open", path, error))?.len();
    let mut read = |at, want| read_at(&mut file, at, want);
    let found =
        gpt::partitions(&mut read, length).map_err(|error| Error::io("read", path, error))?;
    let Some(partitions) = found else { return Ok(None) };
    let partitions =
        partitions.map_err(|source| Error::PartitionTable { path: path.to_owned(), source })?;
    let partition = choose(path, &partitions)?;
    let tree = hash_tree(path, &mut file, partition, &partitions)?;
    let work = work_directory(context)?;
    let image = work.join("partition");
    let covered = tree.as_ref().map(|tree| tree.length);
    let superblock = extract(context, path, &mut file, partition, covered, &image)?;
    let content = match partition.purpose {
        Purpose::Usr => {
            let tree = work.join("tree");
            let opened = admission::open(&image, superblock.format)?;
            fs::create_dir(&tree).map_err(|error| Error::io("create", &tree, error))?;
            let spinner = context.ui.spinner("copying /usr");
            tree::copy_tree(opened.root(), &tree.join("usr"), &mut HashMap::new())?;
            spinner.finish_and_clear();
            Content::Tree { path: tree, format: superblock.format }
        }
        Purpose::Root | Purpose::RootVerity | Purpose::UsrVerity => {
            let verity = tree.map(|tree| tree.verity(context, path, &image)).transpose()?;
            Content::Image { path: image, superblock, verity }
        }
    };
    Ok(Some(Taken { content, architecture: partition.architecture, work }))
}

/// Copies the files of an image into a directory whose top lets everybody in.
pub(crate) fn unpack(context: &Context, image: &OpenImage, work: &Path) -> Result<PathBuf, Error> {
    let tree = work.join("tree");
    let spinner = context.ui.spinner("copying the files");
    tree::copy_tree(image.root(), &tree, &mut HashMap::new())?;
    spinner.finish_and_clear();
    fs::set_permissions(&tree, Permissions::from_mode(0o755))
        .map_err(|error| Error::io("change the mode of", &tree, error))?;
    Ok(tree)
}

/// The partition for this machine, else the only one. Where there is a root and a /usr, neither is the whole.
fn choose<'a>(path: &Path, partitions: &'a [Partition]) -> Result<&'a Partition, Refusal> {
    let native = admission::native_architecture();
    let has_files =
        |partition: &&Partition| matches!(partition.purpose, Purpose::Root | Purpose::Usr);
    let candidates: Vec<&Partition> = partitions.iter().filter(has_files).collect();
    let own: Vec<&Partition> =
        candidates.iter().copied().filter(|partition| partition.architecture == native).collect();
    let chosen = match (own.as_slice(), candidates.as_slice()) {
        ([one], _) | ([], [one]) => Ok(*one),
        ([], []) => Err(
            "it has neither a root nor a /usr partition by the types of the Discoverable Partitions Specification",
        ),
        _ => Err("it has several root or /usr partitions"),
    };
    chosen.map_err(|why| {
        Refusal::new(
            format!("{} is a disk image, and {why}", path.display()),
            "give the image of one file system, squashfs or EROFS",
        )
    })
}

/// Copies a partition's file system into the new file `to`, without what is behind it in the partition; where a hash tree
/// is about more than that, as much as it is about.
fn extract(
    context: &Context,
    path: &Path,
    file: &mut File,
    partition: &Partition,
    covered: Option<u64>,
    to: &Path,
) -> Result<Superblock, Error> {
    let failed = |error| Error::io("read", path, error);
    let head = read_at(file, partition.start, SUPERBLOCK_BYTES).map_err(failed)?;
    let superblock = Superblock::parse(&head, partition.length)
        .map_err(|source| Error::Partition { path: path.to_owned(), source })?;
    let whole = superblock.bytes.checked_next_multiple_of(BLOCK).unwrap_or(superblock.bytes);
    let length = covered.unwrap_or(whole).min(partition.length);
    let bar = context.ui.bar("taking the partition out", length);
    file.seek(SeekFrom::Start(partition.start)).map_err(failed)?;
    let mut image = File::create_new(to).map_err(|error| Error::io("create", to, error))?;
    let mut from = bar.wrap_read(file.take(length));
    let copied =
        io::copy(&mut from, &mut image).map_err(|error| Error::io("copy to", to, error))?;
    bar.finish_and_clear();
    if copied != length {
        // The file has become shorter since its length was asked for.
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(superblock)
}

/// A directory on disk that lives as long as the context.
fn work_directory(context: &Context) -> Result<PathBuf, Error> {
    let place = Path::new(PLACE);
    let parent = if place.is_dir() { place.to_owned() } else { std::env::temp_dir() };
    let work = WorkDirectory::new(".layerctl-disk-", &parent, Holds::Files)?;
    Ok(context.keep(work))
}

/// Bytes of a file from a place on, fewer where it ends.
fn read_at(file: &mut File, at: u64, want: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(want as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
