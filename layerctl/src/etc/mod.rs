//! `layerctl etc`: what of /etc differs from the images, and how it is brought back or over.
//!
//! ```text
//! images, uppers        → views            [`view`]     mounts in a namespace of this process alone
//! two views             → Tree, Tree       [`tree`]
//! Tree, Tree            → Change…          [`changes`]  (pure, but for the comparison of contents)
//! Change…, paths        → Edit…            [`edits`]    (pure)
//! Edit…                 → /etc             [`apply`]    through the merged directory, never in an upper that is mounted
//! ```

pub(crate) mod accounts;
pub(crate) mod apply;
pub(crate) mod changes;
pub(crate) mod diff;
pub(crate) mod edits;
pub(crate) mod notes;
pub(crate) mod path;
pub(crate) mod tree;
pub(crate) mod view;
