//! What differs between the file systems: how one is made, mounted and checked.

use crate::files;
use crate::process::{self, ProcessError};
use crate::tools::find_program;
use crate::vm::Filesystem;
use std::path::Path;
use std::process::Command;

use super::CrashError;

impl Filesystem {
    /// Every one, the costliest to try first.
    pub const ALL: [Self; 3] = [Self::Xfs, Self::Btrfs, Self::Ext4];

    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Btrfs => "btrfs",
            Self::Xfs => "xfs",
        }
    }

    /// Mount options beside those that init uses: what only copies of one disk need. A discard would tell nothing here.
    pub(super) fn options(self) -> &'static str {
        match self {
            Self::Ext4 => "nodiscard",
            Self::Btrfs => "nodiscard",
            Self::Xfs => "nodiscard,nouuid",
        }
    }

    /// How many states of one recording are tried at a time. XFS sleeps most of the time that mounting and unmounting take.
    /// Copies of one Btrfs can be mounted side by side since Linux 6.7.
    pub(super) fn benches(self) -> usize {
        match self {
            Self::Xfs => 6,
            Self::Ext4 | Self::Btrfs => 3,
        }
    }

    /// Makes the sparse file `image` with an empty file system.
    pub(super) fn make(self, image: &Path) -> Result<(), CrashError> {
        let (mebibytes, program, options): (u64, _, &[&str]) = match self {
            // Below 512 MiB the blocks would be smaller than on any real state disk; what mkfs leaves to the first mount is
            // done by a thread that every mount would start.
            Self::Ext4 => {
                let now = "lazy_itable_init=0,lazy_journal_init=0";
                (128, "mkfs.ext4", &["-q", "-F", "-b", "4096", "-E", now])
            }
            // About the least that it takes.
            Self::Btrfs => (128, "mkfs.btrfs", &["-q", "-f"]),
            Self::Xfs => (300, "mkfs.xfs", &["-q", "-f"]),
        };
        files::make_sparse(image, mebibytes << 20)?;
        Ok(process::run(program_at(program).args(options).arg(image))?)
    }

    /// Checks the file system in an image that is not mounted and was unmounted cleanly; writes nothing.
    pub(super) fn check(self, image: &Path) -> Result<(), ProcessError> {
        let (program, options): (_, &[&str]) = match self {
            Self::Ext4 => ("e2fsck", &["-f", "-n"]),
            Self::Btrfs => ("btrfs", &["check", "--readonly"]),
            Self::Xfs => ("xfs_repair", &["-n", "-f"]),
        };
        process::run(program_at(program).args(options).arg(image))
    }
}

/// These programs are in /usr/sbin, which a user's PATH may lack.
pub(super) fn program_at(name: &str) -> Command {
    process::command(find_program(name).unwrap_or_else(|| name.into()))
}
