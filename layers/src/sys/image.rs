//! Mounts of image files: EROFS straight from the file where the kernel can, a loop device otherwise.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
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
        Backing::File => block_image(file, format),
        Backing::Loop => File::open(file)
            .map_err(|source| KernelError { source, log: String::new() })
            .and_then(|opened| open_image(&opened, file, format, backing)),
    }
}

/// As [`image`], of an open file: of what was looked at, whatever is at its path `name` by now. Wants /proc.
pub fn open_image(
    file: &File,
    name: &Path,
    format: Format,
    backing: Backing,
) -> Result<OwnedFd, KernelError> {
    match backing {
        // The kernel opens a path; this one leads to the very file and to nothing that could be exchanged.
        Backing::File => {
            block_image(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())), format)
        }
        Backing::Loop => {
            let device = LoopDevice::attach(file, name).map_err(|source: io::Error| {
                KernelError { source, log: "loop device".to_owned() }
            })?;
            block_image(&device.path(), format)
        }
    }
}

/// A read-only mount of the image on a block device, attached nowhere yet.
pub fn block_image(device: &Path, format: Format) -> Result<OwnedFd, KernelError> {
    let context = FsContext::open(format.name())?;
    context.set_path("source", device)?;
    context.flag("ro")?;
    context.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)
}
