//! How far a plan had come that stopped, and what is said of it.

use layers::exec::{Failure, HostError};
use layers::layout::Layout;
use layers::plan::{Op, Plan};
use layers::store::publish;

/// What is said where all was done, but may not be on disk.
pub(crate) const UNSETTLED: &str = "the change is made, but a power cut may take it back";

/// How far a plan had come that stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Nothing of it was done.
    Nothing,
    /// Nothing that a boot looks at was done.
    Store,
    /// A generation is not to be tried once any more.
    Next,
    /// All that people see was done, but not the rest.
    All,
    /// All was done, but the last of it may not be on disk.
    Unsettled,
}

impl Reached {
    /// How far `plan` had come when it stopped.
    pub(crate) fn of(plan: &Plan, failure: &Failure, layout: &Layout) -> Self {
        let seen = |op: &&Op| match op {
            Op::WriteFile { path, .. } | Op::Remove { path } => {
                path.starts_with(layout.boot())
                    && !path.starts_with(layout.tries())
                    && *path != layout.versions()
            }
            _ => false,
        };
        let unsettled = matches!(&failure.source, HostError::Io { source, .. } if publish::is_unsettled(source));
        let done = failure.done + usize::from(unsettled);
        let all = plan.ops.iter().filter(seen).count();
        match plan.ops.iter().take(done).filter(seen).count() {
            0 if done == 0 => Self::Nothing,
            0 => Self::Store,
            so_far if so_far < all => Self::Next,
            _ if unsettled => Self::Unsettled,
            _ => Self::All,
        }
    }

    /// Whether what was asked for can be seen.
    pub(crate) fn is_visible(self) -> bool {
        matches!(self, Self::All | Self::Unsettled)
    }

    /// What is unharmed, as a sentence without its full stop.
    pub(crate) fn unharmed(self) -> &'static str {
        match self {
            Self::Nothing => "nothing was changed",
            Self::Store => {
                "what boots next is unchanged; images that were copied stay until: layerctl cleanup"
            }
            Self::Next => {
                "what boots by default is unchanged; the generation to try once is not tried any more"
            }
            Self::All => "the change is made; when the cause is gone: layerctl cleanup",
            Self::Unsettled => UNSETTLED,
        }
    }
}
