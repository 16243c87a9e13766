//! System calls that need care: the mount API's file descriptors, loop devices. The only unsafe code of the project.

#![expect(clippy::disallowed_methods, reason = "system calls are this module's purpose")]

mod fs_context;
mod image;
mod loopdev;
mod overlay;

pub use fs_context::{FsContext, KernelError, attach};
pub use image::{Backing, image};
pub use loopdev::LoopDevice;
pub use overlay::overlay;
