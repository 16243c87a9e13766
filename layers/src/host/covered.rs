//! Mounts of which every byte is checked against a signed hash as it is read, and that nobody can exchange in between.
//!
//! ```text
//! open the image, once ┬ EROFS whose fs-verity digest is the signed one → the file, by that descriptor
//!                      └ else: a loop device of that descriptor ┐
//!                              a loop device of the hash tree   ┴→ dm-verity, by the signed root → its node in devtmpfs
//! ```
//!
//! What dm-verity was given is checked by no other than the kernel, block by block; so neither the image nor the tree has to be
//! trusted, nor who can write them. The tree's superblock is not even read.
//!
//! Each device goes with its last user: the mount holds the dm-verity device, which holds the two loop devices. No entry for it
//! is left in /run/udev/data: so the rules of device-mapper and of systemd (10-dm.rules, 99-systemd.rules) take it for one that
//! somebody else is at work with, and neither probe nor announce it.

#![expect(clippy::disallowed_methods, reason = "opens what is mounted")]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::linux::kernel;
use crate::exec::HostError;
use crate::plan::Cover;
use crate::superblock::Format;
use crate::sys::{self, DmDevice, LoopDevice};
use crate::trust::OnCorruption;
use crate::verity;

/// How names of our devices begin; the number of the data's loop device follows, which no other can have meanwhile.
pub const DEVICE_PREFIX: &str = "layers-";

/// Whether the kernel checks the reads of this very file against the signed digest. Another digest is an error: somebody has
/// put other bytes in the image's place. Where a wrong block is to restart the machine this is no: fs-verity only fails reads.
pub(super) fn by_file(file: &File, image: &Path, cover: &Cover) -> Result<bool, HostError> {
    if cover.corruption != OnCorruption::Eio {
        return Ok(false);
    }
    let failed = |error: io::Error| HostError::io("measure", image, error);
    let want = cover.verity.fsverity;
    match sys::fsverity_digest(file).map_err(failed)? {
        None => Ok(false),
        Some(is) if is == want => Ok(true),
        Some(is) => Err(HostError::Digest { path: image.to_owned(), is, want }),
    }
}

/// A read-only mount of the open image `file` by way of dm-verity, attached nowhere yet.
pub(super) fn by_device(
    file: &File,
    image: &Path,
    format: Format,
    cover: &Cover,
) -> Result<OwnedFd, HostError> {
    let attach = |file: &File, path: &Path| {
        LoopDevice::attach(file, path)
            .map_err(|error| HostError::io("attach to a loop device", path, error))
    };
    let tree = &cover.tree;
    let hashes = open(tree).and_then(|file| attach(&file, tree))?;
    let data = attach(file, image)?;
    // dm-verity holds them from here on, and the mount holds dm-verity.
    let device = device(&data, &hashes, cover)
        .map_err(|error| HostError::io("start dm-verity with the tree", tree, error))?;
    sys::block_image(&device.path(), format).map_err(|error| {
        // The first reads are done by now: with a tree of another image they fail.
        kernel("mount by its verity tree", image, error)
    })
}

pub(super) fn open(path: &Path) -> Result<File, HostError> {
    File::open(path).map_err(|error| HostError::io("open", path, error))
}

fn device(data: &LoopDevice, hashes: &LoopDevice, cover: &Cover) -> io::Result<DmDevice> {
    let option = match cover.corruption {
        OnCorruption::Eio => "",
        OnCorruption::Restart => "restart_on_corruption",
        OnCorruption::Panic => "panic_on_corruption",
    };
    let table = verity::table(&cover.verity, &data.path(), &hashes.path(), option);
    let name = format!("{DEVICE_PREFIX}{}", data.number());
    DmDevice::new(&name, "verity", verity::sectors(&cover.verity), &table)
}
