//! What carries plans out: the real machine, and a recorder for tests.

pub mod linux;
pub mod recorder;

pub use linux::LinuxHost;
pub use recorder::Recorder;
