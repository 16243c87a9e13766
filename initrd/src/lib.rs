//! The parts of PID 1 of the initramfs: what finds the state device, loads modules, hands over, and says what failed.
//!
//! ```text
//! early     proc, sysfs, devtmpfs, /run            kmsg, steps   the log and its times
//! uevent    listener, opened first          ┐
//! modules   drivers by modalias and type    ├→ devices::wait → the state device
//! probe     superblocks and partitions      ┘
//! handover  mounts moved, init started             failure       the screen when there is nothing to start
//! watchdog  armed for the system's init            shutdown      the program again, when the system ends
//! ```
//!
//! The program in `main.rs` runs them in order. Nothing here waits for a while, only for events, and nothing ends the
//! process.

pub mod boot;
pub mod child;
pub mod devices;
pub mod discard;
pub mod early;
pub mod failure;
pub mod handover;
pub mod kmsg;
pub mod modules;
pub mod presets;
pub mod probe;
pub mod shutdown;
pub mod state;
pub mod steps;
pub mod uevent;
pub mod watchdog;
