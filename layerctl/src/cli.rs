//! The command line. The comments on its parts are the help and the manual pages.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use layers::id::GenerationId;
use layers::manifest::Kind;
use layers::scrutiny::Check;
use layers::superblock::Format;

mod build;
mod inspection;
mod install;
mod packages;
mod repo;
mod sign;
mod start;
mod uki;
mod writable;

pub(crate) use build::Build;
pub(crate) use inspection::{Allowing, Choice, Diff, Files, Lint, Which};
pub(crate) use install::{Install, Uninstall};
pub(crate) use packages::{Override, OverrideReset, PackageSources};
pub(crate) use repo::{Repo, RepoAdd, RepoIndex, RepoRefresh, RepoRemove, Search, Upgrade};
pub(crate) use sign::{
    Downgrade, DowngradeAllow, DowngradeReset, Key, KeyGenerate, Password, Sign, TrustRequire,
    TrustRevoke, TrustVerb, VerifyArgs,
};
pub(crate) use start::{Boot, BootSync, Kargs};
pub(crate) use uki::Uki;
pub(crate) use writable::{
    Etc, EtcConflicts, EtcDiff, EtcReset, EtcStatus, EtcSync, EtcTake, Policy, PolicyVerb, Reset,
};

/// Adds and removes layers of an immutable Linux root, for the next boot
///
/// Every change makes a new generation that boots next; the running system is never touched, and the generation
/// before stays there to go back to.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Work on the state file system that is mounted at DIR, not on the running system's
    #[arg(long, global = true, value_name = "DIR", help_heading = "Options of every command")]
    pub(crate) root: Option<PathBuf>,

    /// Take the policy of new generations from FILE [default: /etc/layerctl/layerctl.toml; none with --root]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options of every command")]
    pub(crate) config: Option<PathBuf>,

    /// Put kernels and boot loader entries on the boot partition that is mounted at DIR, or on none
    /// [default: as /etc/layerctl/layerctl.toml says, else /boot, /efi or /boot/efi; none with --root]
    #[arg(long, global = true, value_name = "DIR|none", help_heading = "Options of every command")]
    pub(crate) boot: Option<PathBuf>,

    /// Check signatures with the keys and rules in FILE [default: /etc/layerctl/trust; none with --root]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options of every command")]
    pub(crate) trust: Option<PathBuf>,

    /// Exit with 77 when there is nothing to change
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub(crate) unchanged_exit_77: bool,

    /// Log every operation and every program that is started
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "quiet",
        help_heading = "Options of every command"
    )]
    pub(crate) verbose: bool,

    /// Say nothing but errors and warnings
    #[arg(short, long, global = true, help_heading = "Options of every command")]
    pub(crate) quiet: bool,

    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// What the command works on.
    pub(crate) fn place(&self) -> Place {
        let (root, config, boot) = (self.root.clone(), self.config.clone(), self.boot.clone());
        let trust = self.trust.clone();
        Place { root, config, boot, trust, allow: self.command.allowed().to_vec() }
    }
}

/// What a command works on, as typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// The mount point of a state file system; the running system's store without.
    pub(crate) root: Option<PathBuf>,
    /// A configuration file.
    pub(crate) config: Option<PathBuf>,
    /// The mount point of a boot partition, or `none`.
    pub(crate) boot: Option<PathBuf>,
    /// A trust file.
    pub(crate) trust: Option<PathBuf>,
    /// Checks that are no reason to refuse this time.
    pub(crate) allow: Vec<Check>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an empty store on a state file system
    Init(Init),
    /// Import the base image, which holds the whole system
    #[command(subcommand)]
    Base(Base),
    /// Make an image from a directory, an archive, packages or a recipe
    Build(Box<Build>),
    /// Add layers: image files or URLs, or layers by name, of the store or a repository
    Install(Install),
    /// Take layers away, and those that only they needed
    Uninstall(Uninstall),
    /// Take packages of the base away, or put others in their place
    #[command(subcommand)]
    Override(Override),
    /// Name choices among the layers, for `layers.set=` on the kernel command line
    #[command(subcommand)]
    Set(Set),
    /// See and undo what differs in /etc from the images
    #[command(subcommand)]
    Etc(Etc),
    /// Show what happens to writes under /etc, /var and /home
    Policy(Policy),
    /// Empty /etc, /var and /home at the next boot, once
    Reset(Reset),
    /// Show or change the kernel arguments
    Kargs(Kargs),
    /// See and mend kernels and boot loader entries on the boot partition
    #[command(subcommand)]
    Boot(Boot),
    /// Show the generations: what runs, what boots next, what they hold
    Status(Reading),
    /// Show what was changed and when
    History(Reading),
    /// Boot an earlier generation next
    Rollback(Rollback),
    /// Say that a generation works, so that its starts are no longer counted
    MarkGood(MarkGood),
    /// Run the health checks that decide whether this boot is a good one
    Health(Health),
    /// Keep cleanup from removing a generation
    Pin(Pin),
    /// Let cleanup remove a generation again
    Unpin(Pin),
    /// Remove old generations and the images that only they used
    Cleanup(Cleanup),
    /// Check that images are what they were when they entered the store, and who signed them
    Verify(VerifyArgs),
    /// Look for what may be wrong with an image or layer before it is installed
    Lint(Lint),
    /// Tell which layer a path comes from, and which others it hides
    Which(Which),
    /// List the files of a layer or of the base
    Files(Files),
    /// Compare the layers and packages of two generations
    Diff(Diff),
    /// Show what a boot would mount, without booting
    Plan(Plan),
    /// Make the initrd that boots generations
    Initrd(Initrd),
    /// Get layers from repositories
    #[command(subcommand)]
    Repo(Repo),
    /// List what repositories have
    Search(Search),
    /// Bring layers and the base to their newest, for the next boot
    Upgrade(Upgrade),
    /// Make keys to sign images with
    #[command(subcommand)]
    Key(Key),
    /// Sign images, so that machines that trust the key take them
    Sign(Sign),
    /// Let older versions be installed and booted than those that were marked good
    #[command(subcommand)]
    Downgrade(Downgrade),
    /// See what is trusted, and ask for more
    #[command(subcommand)]
    Trust(TrustVerb),
    /// Print a shell's completions
    Completions(Completions),
    /// Print a manual page, or write all of them
    Man(Man),
}

impl Command {
    /// The checks that are no reason to refuse this time.
    fn allowed(&self) -> &[Check] {
        match self {
            Self::Base(Base::Import(args)) => &args.allowing.allow,
            Self::Install(args) => &args.allowing.allow,
            Self::Override(verb) => verb.allowed(),
            Self::Upgrade(args) => &args.allowing.allow,
            Self::Set(Set::Create(args)) => &args.allowing.allow,
            _ => &[],
        }
    }

    /// Whether it may change a store or make a file.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::Status(_) | Self::History(_) | Self::Verify(_) | Self::Plan(_) => false,
            Self::Completions(_) | Self::Man(_) | Self::Health(_) => false,
            Self::Lint(_) | Self::Which(_) | Self::Files(_) | Self::Diff(_) => false,
            Self::Set(set) => matches!(set, Set::Create(_) | Set::Delete(_)),
            Self::Etc(etc) => matches!(etc, Etc::Reset(_) | Etc::Take(_) | Etc::Sync(_)),
            Self::Kargs(kargs) => !kargs.edit.is_empty(),
            Self::Boot(boot) => matches!(boot, Boot::Sync(_)),
            Self::Policy(policy) => policy.verb.is_some(),
            Self::Reset(reset) => !reset.preview,
            Self::Repo(repo) => !matches!(repo, Repo::List(_)),
            Self::Downgrade(verb) => !matches!(verb, Downgrade::List(_)),
            Self::Trust(verb) => !matches!(verb, TrustVerb::Show(_)),
            Self::Search(_) => false,
            Self::Upgrade(upgrade) => !upgrade.check && !upgrade.preview,
            _ => true,
        }
    }
}

/// What every command that changes something takes.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Writing {
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What a command takes that chooses what boots next.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Pointing {
    /// Boot it a single time; the boot after that takes the present default again
    #[arg(long)]
    pub(crate) try_once: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// What every command that only reads takes.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Reading {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Verbs of `base`.
#[derive(Debug, Subcommand)]
pub(crate) enum Base {
    /// Put a new base under the layers, for the next boot
    Import(BaseImport),
}

/// Arguments of `base import`.
#[derive(Debug, Args)]
pub(crate) struct BaseImport {
    /// A squashfs or EROFS image, or a directory that holds a system (it is packed as squashfs)
    #[arg(value_name = "IMAGE|DIR")]
    pub(crate) input: PathBuf,
    #[command(flatten)]
    pub(crate) naming: Naming,
    /// The static init program for the initrd of its kernel
    /// [default: /usr/lib/layerctl/layers-init of the base, else of this machine]
    #[arg(long, value_name = "FILE")]
    pub(crate) init: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sources: PackageSources,
    #[command(flatten)]
    pub(crate) allowing: Allowing,
    #[command(flatten)]
    pub(crate) pointing: Pointing,
}

/// Name and version for an image without a manifest.
#[derive(Debug, Clone, Args)]
pub(crate) struct Naming {
    /// The name of an image that has no manifest
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The version of an image that has no manifest
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
}

/// An image's file system, as typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FormatName {
    /// Squashfs with zstd: smallest
    Squashfs,
    /// EROFS with LZ4: quickest to mount and read
    Erofs,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Squashfs => Self::Squashfs,
            FormatName::Erofs => Self::Erofs,
        }
    }
}

/// What an image is for, as typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KindName {
    /// Files added to a base
    Layer,
    /// A whole system
    Base,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Layer => Self::Layer,
            KindName::Base => Self::Base,
        }
    }
}

/// Verbs of `set`.
#[derive(Debug, Subcommand)]
pub(crate) enum Set {
    /// Make a set of installed layers; an empty one gets its layers by install --set
    Create(SetCreate),
    /// Remove a set; its layers stay
    Delete(SetDelete),
    /// List the sets of the generation that boots next
    List(Reading),
    /// Show the layers of one set
    Show(SetShow),
}

/// Arguments of `set create`.
#[derive(Debug, Args)]
pub(crate) struct SetCreate {
    /// The set's name
    pub(crate) name: String,
    /// Names of installed layers
    #[arg(value_name = "LAYER")]
    pub(crate) layers: Vec<String>,
    #[command(flatten)]
    pub(crate) allowing: Allowing,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `set delete`.
#[derive(Debug, Args)]
pub(crate) struct SetDelete {
    /// The set's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `set show`.
#[derive(Debug, Args)]
pub(crate) struct SetShow {
    /// The set's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The generation to boot next [default: the one that the present default was made from]
    #[arg(value_name = "ID")]
    pub(crate) id: Option<GenerationId>,
    #[command(flatten)]
    pub(crate) pointing: Pointing,
}

/// Arguments of `mark-good`.
#[derive(Debug, Args)]
pub(crate) struct MarkGood {
    /// The generation [default: the one that runs]
    #[arg(value_name = "ID")]
    pub(crate) id: Option<GenerationId>,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `health`.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Run the executables in DIR in place of this machine's checks
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

/// Arguments of `pin` and `unpin`.
#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// The generation
    #[arg(value_name = "ID")]
    pub(crate) id: GenerationId,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `cleanup`.
#[derive(Debug, Args)]
pub(crate) struct Cleanup {
    /// How many of the newest generations to keep, besides the booted, default, good and pinned ones
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) keep: usize,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The kernel command line to plan for [default: the running system's; with --root an empty one]
    #[arg(long, value_name = "TEXT")]
    pub(crate) cmdline: Option<String>,
    /// The generation to try first, as layers.generation=ID
    #[arg(long, value_name = "ID")]
    pub(crate) generation: Option<GenerationId>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write all pages into DIR
    #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) output: Option<PathBuf>,
    /// The command to print the page of, such as `set create` [default: layerctl itself]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Arguments of `initrd`.
#[derive(Debug, Args)]
pub(crate) struct Initrd {
    /// The initrd to make
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The tree whose /usr/lib/modules has the kernel's modules
    #[arg(long, value_name = "TREE", default_value = "/")]
    pub(crate) modules_from: PathBuf,
    /// The kernel's version, where the tree has modules for several
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Option<String>,
    /// The static init program
    #[arg(long, value_name = "FILE", default_value = "/usr/lib/layerctl/layers-init")]
    pub(crate) init: PathBuf,
    /// What it must deal with: virtio, nvme, ahci, scsi, usb-storage, mmc, pmem, ext4, btrfs, xfs, vfat,
    /// verity, watchdog [default: all that the kernel has modules for]
    #[arg(long = "role", value_name = "ROLE,…", value_delimiter = ',')]
    pub(crate) roles: Vec<String>,
    /// A static shell for layers.onfail=shell
    #[arg(long, value_name = "FILE")]
    pub(crate) shell: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) uki: Uki,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_definition_is_one_that_clap_takes() {
        Cli::command().debug_assert();
    }
}
