//! Plans: the ordered list of operations that a boot or a change will do. Pure data, one line an operation.
//!
//! [`boot`] and [`change`] decide and give a [`Plan`]; [`check`] lints every plan before it is carried out;
//! [`crate::exec`] carries it out and decides nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::id::Digest;
use crate::superblock::Format;

pub mod boot;
pub mod change;
pub mod check;
pub mod collect;

/// The upper side of an overlay: two directories of one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// What was written.
    pub upper: PathBuf,
    /// OverlayFS's own working directory.
    pub work: PathBuf,
}

impl Upper {
    /// `upper` and `work` below `dir`.
    pub fn below(dir: &Path) -> Self {
        Self { upper: dir.join("upper"), work: dir.join("work") }
    }
}

/// An overlay to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// What mountinfo shows as its source.
    pub source: String,
    /// Lower directories, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Where writes go; read-only without.
    pub upper: Option<Upper>,
    /// The mount point.
    pub at: PathBuf,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Mount an image read-only.
    MountImage {
        /// The image's file.
        image: PathBuf,
        /// Its file system.
        format: Format,
        /// The mount point; made if it is missing.
        at: PathBuf,
    },
    /// Mount an overlay. With an upper: nosuid and nodev; without: read-only.
    MountOverlay(Overlay),
    /// Mount a tmpfs for uppers, with half of memory and a million inodes as its limits.
    MountTmpfs {
        /// The mount point; made if it is missing.
        at: PathBuf,
    },
    /// Show the directory `from` at `at` too.
    Bind {
        /// What to show.
        from: PathBuf,
        /// Where.
        at: PathBuf,
        /// Whether writes are allowed (then nosuid and nodev).
        writable: bool,
    },
    /// Make an upper if it is missing, with owner and mode of `like`; one that is there is left as it is.
    MakeUpper {
        /// Both directories.
        upper: Upper,
        /// The lower directory that it covers.
        like: Option<PathBuf>,
    },
    /// Copy the upper directory in `from` into a new one in `to`, whole or not at all.
    CloneUpper {
        /// A directory that holds `upper`.
        from: PathBuf,
        /// A directory that does not exist yet and will hold `upper` and `work`.
        to: PathBuf,
    },
    /// Empty the upper in `dir`, all but the kept paths.
    WipeUpper {
        /// A directory that holds `upper` and `work`.
        dir: PathBuf,
        /// Paths relative to the upper; the last component may end in `*`.
        keep: Vec<String>,
    },
    /// Copy an image into the store, hashing it on the way; refused if the digest differs.
    StageImage {
        /// The file to copy.
        from: PathBuf,
        /// Its name in the store.
        to: PathBuf,
        /// What its bytes must hash to.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// Publish a file: write beside, fsync, rename, fsync the directory.
    WriteFile {
        /// The file.
        path: PathBuf,
        /// What it will hold.
        text: String,
    },
    /// Publish a directory that holds one file: made beside, fsynced, renamed.
    PublishGeneration {
        /// The generation's directory.
        dir: PathBuf,
        /// What its generation.toml will hold.
        text: String,
    },
    /// Add one line to a file.
    AppendLine {
        /// The file.
        path: PathBuf,
        /// The line, without its line feed.
        line: String,
    },
    /// Remove a file, or a directory with all in it: renamed away first, so that no half of it is ever seen.
    Remove {
        /// What to remove.
        path: PathBuf,
    },
}

impl Op {
    /// Where this operation mounts something, if it does.
    pub fn mount_point(&self) -> Option<&Path> {
        match self {
            Self::MountImage { at, .. }
            | Self::MountTmpfs { at }
            | Self::Bind { at, .. }
            | Self::MountOverlay(Overlay { at, .. }) => Some(at),
            _ => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MountImage { image, format, at } => {
                write!(f, "mount {format} {} at {}", image.display(), at.display())
            }
            Self::MountOverlay(overlay) => overlay.fmt(f),
            Self::MountTmpfs { at } => write!(f, "mount tmpfs at {}", at.display()),
            Self::Bind { from, at, writable } => {
                let access = if *writable { "rw,nosuid,nodev" } else { "ro" };
                write!(f, "bind {} at {} {access}", from.display(), at.display())
            }
            Self::MakeUpper { upper, like } => {
                write!(f, "make upper {}", upper.upper.display())?;
                like.iter().try_for_each(|like| write!(f, " like {}", like.display()))
            }
            Self::CloneUpper { from, to } => {
                write!(f, "clone upper {} to {}", from.display(), to.display())
            }
            Self::WipeUpper { dir, keep } => {
                write!(f, "wipe upper {} keeping [{}]", dir.display(), keep.join(" "))
            }
            Self::StageImage { from, to, size, .. } => {
                write!(f, "stage {} as {} ({size} bytes)", from.display(), to.display())
            }
            Self::WriteFile { path, text } => match text.trim_end() {
                line if !line.contains('\n') => write!(f, "write {} {line:?}", path.display()),
                text => write!(f, "write {} ({} bytes)", path.display(), text.len()),
            },
            Self::PublishGeneration { dir, .. } => write!(f, "publish {}", dir.display()),
            Self::AppendLine { path, line } => write!(f, "append {} {line:?}", path.display()),
            Self::Remove { path } => write!(f, "remove {}", path.display()),
        }
    }
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mount overlay {} at {}", self.source, self.at.display())?;
        self.lowers.iter().try_for_each(|lower| write!(f, " lower={}", lower.display()))?;
        match &self.upper {
            Some(upper) => {
                write!(f, " upper={} work={}", upper.upper.display(), upper.work.display())
            }
            None => f.write_str(" ro"),
        }
    }
}

/// An ordered list of operations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The operations, first one first.
    pub ops: Vec<Op>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ops.iter().try_for_each(|op| writeln!(f, "{op}"))
    }
}
