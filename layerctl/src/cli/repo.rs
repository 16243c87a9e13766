//! Options of `repo`, `search` and `upgrade`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Allowing, PackageSources, Password, Pointing, Reading, Writing};

/// Verbs of `repo`.
#[derive(Debug, Subcommand)]
pub(crate) enum Repo {
    /// Get layers from a repository from now on
    Add(RepoAdd),
    /// Get layers from a repository no more; what is installed stays
    Remove(RepoRemove),
    /// List the configured repositories
    List(Reading),
    /// Ask repositories what they have now
    Refresh(RepoRefresh),
    /// Make the index of a directory of images, so that it can be served as a repository
    Index(RepoIndex),
}

/// Arguments of `repo add`.
#[derive(Debug, Args)]
pub(crate) struct RepoAdd {
    /// A name for it here
    pub(crate) name: String,
    /// Where it is: https://…, http://…, or a directory here
    #[arg(value_name = "URL|DIR")]
    pub(crate) url: String,
}

/// Arguments of `repo remove`.
#[derive(Debug, Args)]
pub(crate) struct RepoRemove {
    /// The repository's name
    pub(crate) name: String,
}

/// Arguments of `repo refresh`.
#[derive(Debug, Args)]
pub(crate) struct RepoRefresh {
    /// Repositories' names [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Arguments of `repo index`.
#[derive(Debug, Args)]
pub(crate) struct RepoIndex {
    /// The directory that is, or will be, served
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Sign it with this secret key, so that nobody can give machines an older one or keep a newer one from them for long
    #[arg(short, long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// For how many days machines take it; make it anew before they are over
    #[arg(long, value_name = "N", default_value_t = 30, requires = "key", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) password: Password,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `search`.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// A part of an image's name, or of the name of a package in it [default: all images]
    #[arg(value_name = "TERM")]
    pub(crate) term: Option<String>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Arguments of `upgrade`.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// Names of installed layers, or of the base [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Tell what would change, and exit with 77 when nothing would
    #[arg(long, group = "only")]
    pub(crate) check: bool,
    /// Tell what would change and how many bytes would be downloaded
    #[arg(long, group = "only")]
    pub(crate) preview: bool,
    /// Download what is newer into the store, and change nothing else
    #[arg(long, group = "only")]
    pub(crate) download_only: bool,
    /// The static init program for the initrd of a new base's kernel
    /// [default: /usr/lib/layerctl/layers-init of the base, else of this machine]
    #[arg(long, value_name = "FILE")]
    pub(crate) init: Option<PathBuf>,
    /// Make layers of packages anew too, of the newest that there are
    #[arg(long, conflicts_with = "only")]
    pub(crate) packages: bool,
    /// Print JSON
    #[arg(long, requires = "only", conflicts_with = "download_only")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) sources: PackageSources,
    #[command(flatten)]
    pub(crate) allowing: Allowing,
    #[command(flatten)]
    pub(crate) pointing: Pointing,
}
