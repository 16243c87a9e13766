//! Mounts of image files: EROFS straight from the file where the kernel can, a loop device otherwise.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::mount::MountAttrFlags;

use super::fs_context::{FsContext, KernelError};
use super::loopdev::LoopDevice;
use crate::superblock::Format;

/// What carries an image's mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// The file itself (CONFIG_EROFS_FS_BACKED_BY_FILE, Linux 6.12).
    File,
    /// A loop device.
    Loop,
}

/// A read-only mount of `file`, attached nowhere yet. With [`Backing::File`] the kernel answers ENOTBLK where it needs
/// a block device: EROFS without support for plain files, or a file on tmpfs or overlay.
pub fn image(file: &Path, format: Format, backing: Backing) -> Result<OwnedFd, KernelError> {
    match backing {
        Backing::File => mount(file, format),
        Backing::Loop => {
            let device = LoopDevice::attach(file)
                .map_err(|source| KernelError { source, log: "loop device".to_owned() })?;
            mount(device.path(), format)
        }
    }
}

fn mount(source: &Path, format: Format) -> Result<OwnedFd, KernelError> {
    let context = FsContext::open(format.name())?;
    context.set_path("source", source)?;
    context.flag("ro")?;
    context.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)
}
