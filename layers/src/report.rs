//! The boot report, /run/layers/boot.json: what was asked for, what was mounted, what was left out and why.
//!
//! The initrd writes it, `layerctl status` reads it; it lives on a tmpfs, so it always speaks of this boot.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, GenerationId, Name};
use crate::policy::{Dir, Mode};
use crate::trust::Verify;

/// The report format's number.
pub const SCHEMA: u32 = 1;

/// The whole report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootReport {
    /// The format's number, [`SCHEMA`].
    pub schema: u32,
    /// The kernel command line.
    pub cmdline: String,
    /// The generation that runs.
    pub generation: GenerationId,
    /// Layers that are mounted, bottom first.
    pub layers: Vec<Name>,
    /// Layers that the selection names and that are not mounted.
    pub skipped: Vec<Skipped>,
    /// What could not be honoured, one line each.
    pub problems: Vec<String>,
    /// Where writes go.
    pub writable: Vec<WritableMount>,
    /// What was asked of signatures.
    #[serde(default)]
    pub verify: Verify,
    /// The base and the layers that are mounted without anybody's signature.
    #[serde(default)]
    pub unsigned: Vec<Name>,
    /// The index that the root is seen through; none where it is a plain stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Candidates that were tried before this one.
    pub failed: Vec<FailedCandidate>,
    /// How long each step took, in order.
    pub steps: Vec<Step>,
}

/// A layer that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub name: Name,
    /// Why.
    pub why: String,
}

/// Where writes to a directory go in this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritableMount {
    /// The directory.
    pub dir: Dir,
    /// Where its writes go.
    pub mode: Mode,
    /// Whether its upper was emptied in this boot.
    pub wiped: bool,
}

/// A candidate that did not boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCandidate {
    /// The generation.
    pub id: GenerationId,
    /// Why, in one line.
    pub why: String,
}

/// A step of the boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// Microseconds that it took.
    pub us: u64,
}
