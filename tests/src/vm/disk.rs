//! Disk images with one file system, filled from a directory, without a mount and without being root.

use super::proto;
use crate::files::{self, FileError};
use crate::process::{self, ProcessError};
use std::path::Path;
use std::process::Command;

/// Why there is no disk image.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The directory has something that a protofile of mkfs.xfs(8) cannot say.
    #[error(
        "an XFS image cannot be filled with {0:?}: its name has a space, or it is neither file, directory nor link"
    )]
    Unsayable(std::path::PathBuf),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// A file system that can hold the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Filesystem {
    /// ext4, built into Debian's cloud kernel.
    Ext4,
    /// Btrfs.
    Btrfs,
    /// XFS; at least 300 MiB, and more than twice the largest file.
    Xfs,
}

/// Makes the sparse file `image` of `mebibytes` with a file system of this label, and the contents of `from` in it.
///
/// Owners are those of the files in `from`, so root's only when root calls; the top directory is root's.
pub fn make_disk(
    filesystem: Filesystem,
    label: &str,
    mebibytes: u64,
    from: &Path,
    image: &Path,
) -> Result<(), DiskError> {
    files::make_dir(image.parent().unwrap_or(image))?;
    files::make_sparse(image, mebibytes << 20)?;
    match filesystem {
        Filesystem::Ext4 => {
            let mut command = mkfs("mkfs.ext4");
            command.args(["-q", "-F", "-E", "root_owner=0:0", "-L", label, "-d"]).arg(from);
            process::run(command.arg(image))?;
        }
        Filesystem::Btrfs => {
            let mut command = mkfs("mkfs.btrfs");
            command.args(["-q", "-f", "-L", label, "--rootdir"]).arg(from);
            process::run(command.arg(image))?;
        }
        Filesystem::Xfs => {
            let protofile = image.with_extension("proto");
            files::write(&protofile, proto::text(from)?)?;
            let mut command = mkfs("mkfs.xfs");
            // mkfs.xfs 6.1 writes a file that does not fit into one group over the next group's header.
            command.args(["-q", "-f", "-d", "agcount=2", "-L", label, "-p"]).arg(&protofile);
            process::run(command.arg(image))?;
            files::remove_file(&protofile)?;
        }
    }
    Ok(())
}

/// These programs are in /usr/sbin, which a user's PATH may lack.
fn mkfs(name: &str) -> Command {
    process::command(crate::tools::find_program(name).unwrap_or_else(|| name.into()))
}
