//! The VM harness, and what `cargo xtask` does: finds missing tools, makes a Debian base and layers from Debian's
//! packages, and boots them in QEMU.
//!
//! ```text
//! target/
//!   static/                      the two static programs
//!   cache/packages/              downloaded Debian packages
//!   cache/base/KEY/              a base tree: base.tar, and root/ with what is needed of it outside a VM
//!   cache/image/KEY/base.squashfs
//!   cache/layer/NAME/KEY/tree    the files of one layer
//!   cache/installed/NAME/KEY/    the image of a layer whose packages were installed, made for the tests that ask for it
//!   artefacts.json              where the built things are
//!   vm/NAME/console.log          what a test's machine said
//!   crash/                       the last recordings of `cargo xtask crash`
//!   try/                         the machine of `cargo xtask try`
//! ```

pub mod artefacts;
pub mod base;
pub mod bench;
pub mod cache;
pub mod container_image;
pub mod crash;
pub mod debian_tree;
pub mod failure;
pub mod files;
pub mod gate;
pub mod inject;
pub mod kills;
pub mod mkosi;
pub mod packages;
pub mod process;
pub mod programs;
pub mod seed;
pub mod sources;
pub mod tools;
pub mod vm;
pub mod workspace;
pub mod write_log;
pub mod written;
pub mod xtask;
