//! The command line of what starts a generation: kernel arguments and the boot partition.

use clap::{Args, Subcommand};

use super::{Pointing, Reading, Writing};

/// Arguments of `kargs`.
#[derive(Debug, Args)]
pub(crate) struct Kargs {
    #[command(flatten)]
    pub(crate) edit: Edit,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) pointing: Pointing,
}

/// What is to become of the kernel arguments: deletions first, then replacements, then additions.
#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// Add an argument at the end; it may be there already
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) append: Vec<String>,
    /// Add an argument at the end, unless this very one is there
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) append_if_missing: Vec<String>,
    /// Take an argument away; with the key alone, if it has but one value
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) delete: Vec<String>,
    /// Change the value of a key that has but one, or one of several
    #[arg(long, value_name = "KEY=VALUE|KEY=OLD=NEW")]
    pub(crate) replace: Vec<String>,
}

impl Edit {
    /// Whether nothing is to become of them.
    pub(crate) fn is_empty(&self) -> bool {
        let lists = [&self.append, &self.append_if_missing, &self.delete, &self.replace];
        lists.into_iter().all(Vec::is_empty)
    }
}

/// Verbs of `boot`.
#[derive(Debug, Subcommand)]
pub(crate) enum Boot {
    /// List our entries, kernels and initrds on the boot partition
    List(Reading),
    /// Write what the boot partition lacks or has damaged, and remove what no generation uses
    Sync(BootSync),
}

/// Arguments of `boot sync`.
#[derive(Debug, Args)]
pub(crate) struct BootSync {
    #[command(flatten)]
    pub(crate) writing: Writing,
}
