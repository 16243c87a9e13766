//! Options of `install` and `uninstall`.

use clap::Args;

use super::{Allowing, Naming, PackageSources, Pointing};

/// Arguments of `install`.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Image files (a path with a slash or an ending such as .img), URLs of image files, or names of layers that the
    /// store or a repository has
    #[arg(required = true, value_name = "FILE|URL|NAME")]
    pub(crate) items: Vec<String>,
    /// The names are packages: the base's package manager makes one layer of them, which is made anew for each new base
    #[arg(long, conflicts_with = "replace")]
    pub(crate) packages: bool,
    #[command(flatten)]
    pub(crate) sources: PackageSources,
    /// The set to add them to, in place of the one that boots when none is named
    #[arg(long, value_name = "SET")]
    pub(crate) set: Option<String>,
    /// Put another image of the same name in place of the installed one
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) allowing: Allowing,
    #[command(flatten)]
    pub(crate) naming: Naming,
    #[command(flatten)]
    pub(crate) pointing: Pointing,
}

/// Arguments of `uninstall`.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Names of installed layers
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) pointing: Pointing,
}
