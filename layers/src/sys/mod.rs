//! System calls that need care: the mount API's file descriptors, loop devices, device-mapper, fs-verity, watchdogs, a
//! restart. The only unsafe code of the project.

#![expect(clippy::disallowed_methods, reason = "system calls are this module's purpose")]

mod dm;
mod fs_context;
mod fsverity;
mod image;
mod loopdev;
mod overlay;
mod restart;
mod watchdog;

pub use dm::{DmDevice, keep_dm, remove_dm};
pub use fs_context::{FsContext, KernelError, attach};
pub use fsverity::{enable_fsverity, fsverity_digest};
pub use image::{Backing, block_image, image, open_image};
pub use loopdev::{LoopDevice, detach_loop};
pub use overlay::overlay;
pub use restart::restart_with;
pub use watchdog::set_watchdog_timeout;
