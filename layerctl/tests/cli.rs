//! The command as people see it: standard output, standard error and exit code of each call, on real images and stores.
//!
//! They run as root: images are mounted to look inside, and some state file systems are mounted in a mount namespace of
//! their own.

#![expect(clippy::disallowed_methods, reason = "tests make files, stores and processes")]
#![expect(clippy::indexing_slicing, reason = "a test ends with the first surprise")]
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

mod attempts;
mod bad_image;
mod bad_store;
mod base;
mod boot;
mod build;
mod describe;
mod disk;
mod documents;
mod etc;
mod etc_running;
mod evil;
mod full_disk;
mod fuzz;
mod generations;
mod http;
mod initrd;
mod inspection;
mod install;
mod plan;
mod policy;
mod repo;
mod reset;
mod rights;
mod running_system;
mod server;
mod sets;
mod sign;
mod signed;
mod trust;
mod tuf;
mod uki;
mod verify;
mod wire;
mod world;
