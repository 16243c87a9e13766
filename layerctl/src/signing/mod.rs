//! Signing: minisign's key files, their passwords, and the file of signatures beside what is signed.

pub(crate) mod image;
pub(crate) mod key;
pub(crate) mod password;
mod sheet;
