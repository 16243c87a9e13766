//! Options of `key`, `sign`, `downgrade` and `trust`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Reading, Writing};

/// Verbs of `key`.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key to sign with: a secret file and a public one, as minisign has them
    Generate(KeyGenerate),
}

/// Arguments of `key generate`.
#[derive(Debug, Args)]
pub(crate) struct KeyGenerate {
    /// The files to write: PREFIX.key, which is secret, and PREFIX.pub
    #[arg(short, long, value_name = "PREFIX", default_value = "layerctl")]
    pub(crate) output: PathBuf,
    /// What the files say of the key
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Leave the secret key readable for whoever can read its file
    #[arg(long, conflicts_with_all = ["password_file", "password_fd"])]
    pub(crate) no_password: bool,
    #[command(flatten)]
    pub(crate) password: Password,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Where the password of a secret key comes from.
#[derive(Debug, Clone, Args)]
pub(crate) struct Password {
    /// Take the secret key's password from the first line of FILE, not from the terminal
    #[arg(long, value_name = "FILE", conflicts_with = "password_fd")]
    pub(crate) password_file: Option<PathBuf>,
    /// Take it from an open file descriptor
    #[arg(long, value_name = "NUMBER")]
    pub(crate) password_fd: Option<u32>,
}

/// Who signs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Signer {
    /// The secret key: of layerctl key generate, or of minisign -G
    #[arg(short, long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    #[command(flatten)]
    pub(crate) password: Password,
}

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// Image files with their manifests beside them, names or digests of the store's images, or a repository's
    /// layers.toml that another key has signed
    #[arg(required = true, value_name = "IMAGE|NAME")]
    pub(crate) images: Vec<String>,
    #[command(flatten)]
    pub(crate) signer: Signer,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Verbs of `downgrade`.
#[derive(Debug, Subcommand)]
pub(crate) enum Downgrade {
    /// Sign off that an older version may be installed and booted than one that was marked good
    Allow(DowngradeAllow),
    /// List what was signed off
    List(Reading),
    /// Take all of it back
    Reset(DowngradeReset),
}

/// Arguments of `downgrade allow`.
#[derive(Debug, Args)]
pub(crate) struct DowngradeAllow {
    /// base, layer or trigger
    pub(crate) kind: String,
    /// The image's name
    pub(crate) name: String,
    /// The lowest version that is to be taken again
    pub(crate) version: String,
    #[command(flatten)]
    pub(crate) signer: Signer,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `downgrade reset`.
#[derive(Debug, Args)]
pub(crate) struct DowngradeReset {
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Verbs of `trust`.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustVerb {
    /// Show what is in force: the machine's trust file, raised by the store's own
    Show(Reading),
    /// Let a key's signatures count no more, from now on and at the next boot
    Revoke(TrustRevoke),
    /// Let nothing boot or be installed that is not signed
    Require(TrustRequire),
}

/// Arguments of `trust revoke`.
#[derive(Debug, Args)]
pub(crate) struct TrustRevoke {
    /// The key's ID, 16 hexadecimal digits
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `trust require`.
#[derive(Debug, Args)]
pub(crate) struct TrustRequire {
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Names or digests of the store's images [default: all images, kernels and records]
    #[arg(value_name = "NAME")]
    pub(crate) images: Vec<String>,
    /// Check all that there is, as without a name
    #[arg(long, conflicts_with = "images")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) reading: Reading,
}
