//! What `build` takes.

use std::path::PathBuf;

use clap::Args;

use super::{FormatName, KindName, Writing};

/// Arguments of `build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// A directory, a tar archive (plain, gzip, xz or zstd), a recipe (.toml), or packages (.deb or .rpm files)
    #[arg(value_name = "INPUT", required_unless_present = "packages")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Packages that the base's package manager resolves and installs
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) packages: Vec<String>,
    /// The image's name [default: the first package's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The image's version [default: the first package's]
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// The image file to make; its manifest is written beside it, ending in .toml [default: NAME_VERSION.img here]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The image's file system [default: erofs for a layer, squashfs for a base]
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatName>,
    /// What the image is for
    #[arg(long, value_enum, default_value_t = KindName::Layer)]
    pub(crate) kind: KindName,
    /// Its architecture as systemd names it, or any [default: this machine's]
    #[arg(long, value_name = "ARCHITECTURE")]
    pub(crate) architecture: Option<String>,
    /// The system that it fits: ID and VERSION_ID of its os-release, ID level=SYSEXT_LEVEL, or _any
    /// [default: the base that packages are installed on; any for a directory or an archive]
    #[arg(long, value_name = "SYSTEM")]
    pub(crate) fits: Option<String>,
    /// Layers without which this one is of no use, each with bounds for its version if need be: "libfoo >= 1.2 < 2"
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) requires: Vec<String>,
    /// Layers beside which this one must not be in one boot, with bounds likewise
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) conflicts: Vec<String>,
    /// Never boot a generation that has this layer without it
    #[arg(long)]
    pub(crate) required: bool,
    /// Whiteouts and opaque directories that the tree has on purpose
    #[arg(long, value_name = "PATH,…", value_delimiter = ',')]
    pub(crate) deletes: Vec<String>,
    /// The most bytes that the input may take when unpacked or installed [default: the space that is free]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_size: Option<u64>,
    /// The base that packages are installed on [default: the store's]
    #[arg(long, value_name = "IMAGE|DIR", help_heading = "Options for packages and recipes")]
    pub(crate) base: Option<PathBuf>,
    /// Layers on which this one is built, bottom first
    #[arg(
        long,
        value_name = "IMAGE,…",
        value_delimiter = ',',
        help_heading = "Options for packages and recipes"
    )]
    pub(crate) on: Vec<PathBuf>,
    /// Where packages come from, in place of the base's own: a file of apt's (.list, .sources) or of dnf's (.repo)
    #[arg(long, value_name = "FILE", help_heading = "Options for packages and recipes")]
    pub(crate) sources: Option<PathBuf>,
    /// Keep lists and packages in DIR [default: /var/cache/layerctl]
    #[arg(long, value_name = "DIR", help_heading = "Options for packages and recipes")]
    pub(crate) cache: Option<PathBuf>,
    /// Fetch nothing: what the cache has must do
    #[arg(long, help_heading = "Options for packages and recipes")]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
}
