//! Layer repositories: directories of images on a server or in a file system, with an index.
//!
//! ```text
//! definitions (TOML) → refresh: index, polled by entity tag, cached → offers → crate::resolve chooses → download → store
//! ```

pub(crate) mod blocks;
pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod definition;
pub(crate) mod delta;
pub(crate) mod download;
pub(crate) mod error;
pub(crate) mod fetch;
pub(crate) mod index;
pub(crate) mod location;
pub(crate) mod make;
pub(crate) mod moment;
mod names;
mod part;
pub(crate) mod proxy;
pub(crate) mod refresh;
mod search;
pub(crate) mod sums;
mod weak;
