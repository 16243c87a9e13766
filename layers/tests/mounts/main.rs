//! Boot plans carried out with the real OverlayFS. In a user and mount namespace, layers are directories, bound where
//! an image would be mounted; as root, in a mount namespace, they are real squashfs and EROFS images.
//!
//! An unprivileged OverlayFS mounts with the very options that a boot gives (Linux 6.18): trusted.* extended attributes
//! cannot be set there, so removing a directory of a lower fails with EIO; writing, copy-up and removing files work.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test mounts things and ends with the first surprise"
)]

mod images;
mod interrupted;
mod machine;
mod namespace;
mod offline;
mod stack;
mod writable;
