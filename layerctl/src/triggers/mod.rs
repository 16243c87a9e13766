//! The trigger layer: what package triggers make of the union of a base and layers, as a small image on top of them.
//!
//! ```text
//! table.toml, drop-ins → Table ┐
//! base, layers → Survey        ┴→ runs, merges (pure) → sandbox over the union → what changed → image
//! ```

mod accounts;
mod alternatives;
mod compose;
pub(crate) mod deb822;
mod dpkg;
mod drop_ins;
mod glob;
mod merges;
mod select;
mod stack;
mod table;
#[cfg(test)]
mod tests;
mod union;
mod upper;

pub(crate) use compose::compose;
pub(crate) use stack::{Stack, StackImage};
pub(crate) use table::{Table, TableError};
