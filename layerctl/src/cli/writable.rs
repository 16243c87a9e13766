//! The part of the command line that is about writable directories: `etc`, `policy`, `reset`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use layers::id::GenerationId;

use super::{Reading, Writing};

/// Verbs of `etc`.
#[derive(Debug, Subcommand)]
pub(crate) enum Etc {
    /// List what differs from the images: A added, M modified, D deleted
    Status(EtcStatus),
    /// Show differences from the images, or from another generation's /etc, as text
    Diff(EtcDiff),
    /// List what the administrator and new images both changed, and nobody has looked at yet
    Conflicts(EtcConflicts),
    /// Bring paths back to what the images have, now
    Reset(EtcReset),
    /// Settle a conflict: keep what is there, or take the image's version
    Take(EtcTake),
    /// Bring another generation's changes into this /etc
    Sync(EtcSync),
}

/// Arguments of `etc status`.
#[derive(Debug, Args)]
pub(crate) struct EtcStatus {
    /// The generation [default: the booted one; with --root the one that boots next]
    #[arg(long, value_name = "N")]
    pub(crate) generation: Option<GenerationId>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Arguments of `etc diff`.
#[derive(Debug, Args)]
pub(crate) struct EtcDiff {
    /// Paths below /etc [default: all that differs]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Compare with the /etc of generation N in place of the images
    #[arg(long, value_name = "N")]
    pub(crate) generation: Option<GenerationId>,
}

/// Arguments of `etc conflicts`.
#[derive(Debug, Args)]
pub(crate) struct EtcConflicts {
    /// The generation [default: the booted one; with --root the one that boots next]
    #[arg(long, value_name = "N")]
    pub(crate) generation: Option<GenerationId>,
    /// List what only informs, and what was settled, too
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Arguments of `etc reset`.
#[derive(Debug, Args)]
pub(crate) struct EtcReset {
    /// Paths below /etc; a directory with all that is in it
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `etc take`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("side").required(true))]
pub(crate) struct EtcTake {
    /// A path that etc conflicts lists
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Take the image's version
    #[arg(long, group = "side")]
    pub(crate) theirs: bool,
    /// Keep what is there
    #[arg(long, group = "side")]
    pub(crate) mine: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `etc sync`.
#[derive(Debug, Args)]
pub(crate) struct EtcSync {
    /// The generation whose /etc has what is wanted
    #[arg(long, value_name = "N")]
    pub(crate) from: GenerationId,
    /// Paths below /etc that shall be as they are there [default: all that was changed there]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `policy`.
///
/// The comment on the verb is its help: what may stand in the file.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    about = "Show what happens to writes under /etc, /var and /home",
    long_about = POLICY_HELP
)]
pub(crate) struct Policy {
    #[command(subcommand)]
    pub(crate) verb: Option<PolicyVerb>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// What may stand in the configuration.
const POLICY_HELP: &str = "Show what happens to writes under /etc, /var and /home

Printed is the policy of the generation that boots next, in the form of the file /etc/layerctl/layerctl.toml. Each \
change that makes a generation freezes what that file says into it; without the file the policy of the generation \
before stays. A key that is left out has its default, an unknown key is an error.

[writable.etc], [writable.var], [writable.home]:
  mode   persistent: written to the state file system (the default); frozen: to a tmpfs over what was written before; \
ephemeral: to a tmpfs over the images
  keep   paths that survive a reset, layers.wipe and an ephemeral boot; the last name may end in *
  size   of the tmpfs where the mode is not persistent: 25%, 512M
[writable.etc]:
  scope  generation: each has an /etc of its own (the default); shared: all have one
[writable.var]:
  bind   paths that lie on a real file system, for programs that stack file systems of their own
  owned  paths that only images change, such as the package database";

/// Verbs of `policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Make a generation with the policy that the file says, for the next boot
    Apply(PolicyApply),
}

/// Arguments of `policy apply`.
#[derive(Debug, Args)]
pub(crate) struct PolicyApply {
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `reset`.
#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// Empty /etc: back to what the images have [default without --etc, --var, --home: all that are persistent]
    #[arg(long)]
    pub(crate) etc: bool,
    /// Empty /var
    #[arg(long)]
    pub(crate) var: bool,
    /// Empty /home
    #[arg(long)]
    pub(crate) home: bool,
    /// What stays, besides what the policy keeps; the last name may end in *
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(crate) keep: Vec<String>,
    /// List what would go and what would stay, and ask for nothing
    #[arg(long, conflicts_with_all = ["cancel", "dry_run"])]
    pub(crate) preview: bool,
    /// Print the preview as JSON
    #[arg(long, requires = "preview")]
    pub(crate) json: bool,
    /// Take the request of the next boot back
    #[arg(long, conflicts_with_all = ["etc", "var", "home", "keep"])]
    pub(crate) cancel: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
}
