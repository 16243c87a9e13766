//! The store on disk: read it, lock it, bring images in, publish records.

#![expect(
    clippy::disallowed_methods,
    reason = "reading and writing the store is this module's purpose"
)]

pub mod bound;
mod copy;
pub mod cover;
pub mod derive;
pub mod discard;
pub mod efi;
pub mod facts;
pub mod inspect;
mod kept;
pub mod lock;
pub mod log;
pub mod partition;
pub mod publish;
pub mod read;
pub mod reserve;
pub mod stage;
pub mod tree;
pub mod upper;
pub mod verify;
pub mod xattr;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use read::{open, read_state};

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A system call failed.
    #[error("{doing} {}: {source}", .path.display())]
    Io {
        /// What was being done: `read`.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is no store.
    #[error("there is no layerctl store at {}", .0.display())]
    Missing(PathBuf),
    /// A store of a newer layout.
    #[error("the store at {} has schema {found}; this layerctl knows {}", .path.display(), crate::layout::SCHEMA)]
    Newer {
        /// The store's directory.
        path: PathBuf,
        /// Its number.
        found: u32,
    },
    /// The schema file holds no number.
    #[error("{} holds no schema number", .0.display())]
    Schema(PathBuf),
    /// Somebody else changes the store right now.
    #[error("another layerctl is changing the store{}", .holder.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The other process, as it wrote itself into the lock file.
        holder: Option<String>,
    },
    /// The state file system cannot be written.
    #[error("the state file system at {} is read-only", .0.display())]
    ReadOnly(PathBuf),
}

impl StoreError {
    /// An I/O error with what was being done and to what.
    pub fn io(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { doing, path: path.to_owned(), source: source.into() }
    }
}
