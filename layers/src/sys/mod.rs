//! System calls that need care: the mount API's file descriptors, loop devices, watchdogs, a restart. The only unsafe code of the project.

#![expect(clippy::disallowed_methods, reason = "system calls are this module's purpose")]

mod fs_context;
mod image;
mod loopdev;
mod overlay;
mod restart;
mod watchdog;

pub use fs_context::{FsContext, KernelError, attach};
pub use image::{Backing, image};
pub use loopdev::{LoopDevice, detach_loop};
pub use overlay::overlay;
pub use restart::restart_with;
pub use watchdog::set_watchdog_timeout;
