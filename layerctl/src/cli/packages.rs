//! Options of the commands that have the base's package manager build layers.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use layers::scrutiny::Check;

use super::{Allowing, Pointing};

/// Where packages come from.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PackageSources {
    /// Take packages from the sources in FILE (.list, .sources or .repo), in place of the base's own
    /// [default: as /etc/layerctl/layerctl.toml says]
    #[arg(long, value_name = "FILE")]
    pub(crate) sources: Option<PathBuf>,
    /// Keep lists and downloaded packages in DIR [default: /var/cache/layerctl]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
}

/// Verbs of `override`.
#[derive(Debug, Subcommand)]
pub(crate) enum Override {
    /// Take packages of the base away
    Remove(OverrideRemove),
    /// Put other versions in the place of packages of the base
    Replace(OverrideReplace),
    /// Take overrides back
    Reset(OverrideReset),
}

impl Override {
    /// The checks that are no reason to refuse this time.
    pub(super) fn allowed(&self) -> &[Check] {
        match self {
            Self::Remove(args) => &args.allowing.allow,
            Self::Replace(args) => &args.allowing.allow,
            Self::Reset(args) => &args.allowing.allow,
        }
    }
}

/// Arguments of `override remove`.
#[derive(Debug, Args)]
pub(crate) struct OverrideRemove {
    /// Names of packages that the base has
    #[arg(required = true, value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
    #[command(flatten)]
    pub(crate) sources: PackageSources,
    #[command(flatten)]
    pub(crate) allowing: Allowing,
    #[command(flatten)]
    pub(crate) pointing: Pointing,
}

/// Arguments of `override replace`.
#[derive(Debug, Args)]
pub(crate) struct OverrideReplace {
    /// Package files of packages that the base has
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) sources: PackageSources,
    #[command(flatten)]
    pub(crate) allowing: Allowing,
    #[command(flatten)]
    pub(crate) pointing: Pointing,
}

/// Arguments of `override reset`.
#[derive(Debug, Args)]
pub(crate) struct OverrideReset {
    /// Names of packages that are overridden
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) sources: PackageSources,
    #[command(flatten)]
    pub(crate) allowing: Allowing,
    #[command(flatten)]
    pub(crate) pointing: Pointing,
}
