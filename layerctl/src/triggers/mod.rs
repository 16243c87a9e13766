//! The trigger layer: what package triggers make of the union of a base and layers, as a small image on top of them.
//!
//! ```text
//! table.toml, drop-ins → Table ┐
//! base, layers → Survey        ┴→ runs, merges (pure) → sandbox over the union → what changed → image
//! ```

mod accounts;
mod deb822;
mod dpkg;
mod drop_ins;
mod glob;
mod stack;
mod table;

pub(crate) use drop_ins::OF_THE_MACHINE;
pub(crate) use stack::{Stack, StackImage};
pub(crate) use table::{Table, TableError};
