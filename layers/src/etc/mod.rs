//! The reconciliation of /etc: an upper that lay on the images of one generation becomes the upper of another.
//!
//! ```text
//! upper, old view, new view → Entry…        gathered by store::derive
//! Entry…                    → Decision      [`decide`]            (pure)
//! account files, 3 versions → merged files  [`accounts`]          (pure)
//! Decision, merged files    → new upper     applied by store::derive
//!                           → Report        [`report`]
//! ```
//!
//! What the administrator wrote is never lost: it stays where it is, or it is kept aside under a name that says so.
//! What is the image's own, copied up and unchanged, follows the image again.

pub mod accounts;
pub mod decide;
pub mod entry;
pub mod report;

use std::path::PathBuf;

use crate::id::GenerationId;

/// What has to be done to make one /etc upper out of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derive {
    /// The directory that holds the source's `upper`; never changed, unless it is `to`.
    pub from: PathBuf,
    /// The directory that will hold `upper` and `work`; on any file system. May be `from`, which is then replaced.
    pub to: PathBuf,
    /// The merged read-only view of the images' /etc that `from` lay on; none where they cannot be seen.
    pub old: Option<PathBuf>,
    /// The merged read-only view of the images' /etc that `to` will lie on.
    pub new: PathBuf,
    /// Whether every layer of the generation is in `new`. Where not, nothing is dropped for being absent there.
    pub whole: bool,
    /// The uppers of /var and /home (the `upper` directories): an account whose files are there stays.
    pub users: Vec<PathBuf>,
    /// Where the report is published.
    pub report: PathBuf,
    /// Whose /etc this becomes.
    pub generation: GenerationId,
    /// Whose /etc it was; none where one upper serves all generations.
    pub source: Option<GenerationId>,
    /// The record of the images that the new upper lies on: what `lowers` beside it holds.
    pub images: String,
}
