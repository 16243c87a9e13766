//! What carries plans out: the real machine, and a recorder for tests.

mod covered;
pub mod linux;
pub mod recorder;

pub use covered::DEVICE_PREFIX;
pub use linux::LinuxHost;
pub use recorder::Recorder;
