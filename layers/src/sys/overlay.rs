//! OverlayFS mounts, one `lowerdir+` for each lower (Linux 6.7): mount(2) cuts its options at a page and then succeeds
//! with layers missing.

use std::os::fd::OwnedFd;

use rustix::mount::MountAttrFlags;

use super::fs_context::{FsContext, KernelError};
use crate::plan::Overlay;

/// An overlay, attached nowhere yet.
///
/// With an upper, whatever lets an upper outlive a change of its lowers is given explicitly
/// (Documentation/filesystems/overlayfs.rst, "Changes to underlying filesystems"). Without, inode numbers are made
/// unique across lowers that all have the null UUID (`xino=on`).
pub fn overlay(overlay: &Overlay) -> Result<OwnedFd, KernelError> {
    let context = FsContext::open("overlay")?;
    context.set("source", &overlay.source)?;
    for lower in &overlay.lowers {
        context.set_path("lowerdir+", lower)?;
    }
    let Some(upper) = &overlay.upper else {
        if !overlay.data.is_empty() {
            // Data-only lowers come last, and are looked for by the absolute path that `overlay.redirect` has.
            context.set("metacopy", "on")?;
            context.set("redirect_dir", "follow")?;
        }
        for data in &overlay.data {
            context.set_path("datadir+", data)?;
        }
        context.set("xino", "on")?;
        context.flag("ro")?;
        return context.mount(MountAttrFlags::MOUNT_ATTR_RDONLY);
    };
    context.set_path("upperdir", &upper.upper)?;
    context.set_path("workdir", &upper.work)?;
    for (key, value) in
        [("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow"), ("xino", "off")]
    {
        context.set(key, value)?;
    }
    context.mount(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
}
