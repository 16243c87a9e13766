//! Plans: the ordered list of operations that a boot or a change will do. Pure data, one line an operation.
//!
//! [`boot`] and [`change`] decide and give a [`Plan`]; [`check`] lints every plan before it is carried out;
//! [`crate::exec`] carries it out and decides nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::entry::EntryName;
use crate::etc::Derive;
use crate::id::Digest;
use crate::kernel::KernelFile;
use crate::layout::BootDir;
use crate::machine_id::MachineId;
use crate::manifest::Verity;
use crate::size::Size;
use crate::superblock::Format;
use crate::trust::OnCorruption;

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
    /// Directories that are not seen themselves, but have the bytes of files whose names and attributes a lower has
    /// (`datadir+`, Linux 6.7), in the order in which they are searched; none but for a root with an index.
    pub data: Vec<PathBuf>,
    /// Where writes go; read-only without.
    pub upper: Option<Upper>,
    /// The mount point.
    pub at: PathBuf,
}

/// What a bind mount allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// No writes.
    ReadOnly,
    /// Writes; no setuid programs and no devices.
    Writable,
    /// Writes and setuid programs; no devices.
    WritableSuid,
}

/// Something of ours on a boot partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootName {
    /// A boot loader entry.
    Entry(EntryName),
    /// A kernel or an initrd.
    File(KernelFile),
}

impl BootName {
    /// Its path on the partition that is mounted at `boot`.
    pub fn path(&self, boot: &BootDir) -> PathBuf {
        match self {
            Self::Entry(name) => boot.entry(name),
            Self::File(file) => boot.file(file),
        }
    }
}

/// A kernel or initrd on its way to a boot partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyToBoot {
    /// The store's copy.
    pub from: PathBuf,
    /// The boot partition.
    pub boot: BootDir,
    /// Its name there, and what its bytes must hash to.
    pub file: KernelFile,
    /// Its length in bytes.
    pub size: u64,
}

/// What makes sure that the bytes that are read from a mounted image are those that were signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// The hashes, out of the signed manifest.
    pub verity: Verity,
    /// The file with dm-verity's hash tree.
    pub tree: PathBuf,
    /// What follows where a block is not the one that was signed.
    pub corruption: OnCorruption,
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
        /// What its bytes are checked by, on every read; nothing where it is not signed.
        cover: Option<Cover>,
        /// The mount point; made if it is missing.
        at: PathBuf,
    },
    /// Mount an overlay. With an upper: nosuid and nodev; without: read-only.
    MountOverlay(Overlay),
    /// Mount a tmpfs for uppers.
    MountTmpfs {
        /// The mount point; made if it is missing.
        at: PathBuf,
        /// How much it may hold; the number of inodes follows from it.
        size: Size,
    },
    /// Take a mount away.
    Unmount {
        /// The mount point.
        at: PathBuf,
    },
    /// Show the directory `from` at `at` too.
    Bind {
        /// What to show.
        from: PathBuf,
        /// Where.
        at: PathBuf,
        /// What is allowed there.
        access: Access,
    },
    /// Make an upper if it is missing, with owner and mode of `like`; one that is there is left as it is.
    MakeUpper {
        /// Both directories.
        upper: Upper,
        /// The lower directory that it covers.
        like: Option<PathBuf>,
    },
    /// Make an /etc upper out of another and bring it in line with the images, whole or not at all.
    DeriveUpper(Derive),
    /// Make `to` with what is kept of the upper directory `from`; both are the directories that are mounted.
    CopyKept {
        /// An upper.
        from: PathBuf,
        /// A directory that does not exist yet.
        to: PathBuf,
        /// Paths relative to the upper; the last component may end in `*`.
        keep: Vec<String>,
    },
    /// Empty the upper in `dir`, all but the kept paths. What goes is deleted once the system runs.
    WipeUpper {
        /// A directory that holds `upper` and `work`.
        dir: PathBuf,
        /// Paths relative to the upper; the last component may end in `*`.
        keep: Vec<String>,
    },
    /// Take paths out of the upper in `dir`, so that the images' own show. What goes is deleted once the system runs.
    DropOwned {
        /// A directory that holds `upper` and `work`.
        dir: PathBuf,
        /// Paths relative to the upper.
        paths: Vec<String>,
    },
    /// Hide the stamp `.updated` of the directories below, and of the upper itself, so that systemd sees that /usr was
    /// changed (`ConditionNeedsUpdate=`, systemd.unit(5)).
    HideStamp {
        /// An upper; the directory that is mounted.
        upper: PathBuf,
        /// What it covers.
        lowers: Vec<PathBuf>,
    },
    /// Write the machine ID into an upper of /etc, where neither it nor a lower has one.
    MakeMachineId {
        /// An upper; the directory that is mounted.
        upper: PathBuf,
        /// What it covers, topmost first.
        lowers: Vec<PathBuf>,
        /// The ID.
        id: MachineId,
    },
    /// Make the directory `bound/path` beside an upper, with what the upper and `lowers` have there, and a mount point for
    /// it in the upper; one that is there is left as it is.
    MakeBound {
        /// A directory that holds `upper` and will hold `bound`.
        dir: PathBuf,
        /// A path relative to both.
        path: String,
        /// Permission bits, where no lower has it.
        mode: u32,
        /// What it covers, topmost first.
        lowers: Vec<PathBuf>,
    },
    /// Take out of an upper what hides entries of lowers that it no longer lies over: whiteouts and opaque marks.
    ForgetLowers {
        /// An upper; the directory that is mounted.
        upper: PathBuf,
        /// What it lay over.
        lowers: Vec<PathBuf>,
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
    /// Make what covers an image of the store: its hash tree, and fs-verity where the file system has it; refused where
    /// the image is not the one that the hashes are of.
    StageCover {
        /// The image.
        image: PathBuf,
        /// The tree's name in the store.
        tree: PathBuf,
        /// The hashes.
        verity: Verity,
    },
    /// Publish a file: write beside, fsync, rename, fsync the directory.
    WriteFile {
        /// The file.
        path: PathBuf,
        /// What it will hold.
        text: String,
    },
    /// Put a text in the place of one of the same length, durably. Needs no free block where the file system does not
    /// copy on write.
    Overwrite {
        /// The file, which is there.
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
    /// Copy a kernel or an initrd to the boot partition, and read it back; one that is there with the right bytes is left.
    CopyToBoot(CopyToBoot),
    /// Write a boot loader entry under a new name, and read it back.
    WriteEntry {
        /// The boot partition.
        boot: BootDir,
        /// The entry's name, which tells its text's digest.
        name: EntryName,
        /// What it will hold.
        text: String,
    },
    /// Tell the boot loader which of our entries to start a single time, or that it shall start none so.
    SetOneShot {
        /// The firmware's variable.
        variable: PathBuf,
        /// The entry.
        entry: Option<EntryName>,
    },
    /// Remove a file of ours from the boot partition.
    RemoveFromBoot {
        /// The boot partition.
        boot: BootDir,
        /// What to remove.
        name: BootName,
    },
}

impl Op {
    /// Which mount this operation takes away, if it does.
    pub fn unmounts(&self) -> Option<&Path> {
        match self {
            Self::Unmount { at } => Some(at),
            _ => None,
        }
    }

    /// Where this operation mounts something, if it does.
    pub fn mount_point(&self) -> Option<&Path> {
        match self {
            Self::MountImage { at, .. }
            | Self::MountTmpfs { at, .. }
            | Self::Bind { at, .. }
            | Self::MountOverlay(Overlay { at, .. }) => Some(at),
            _ => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MountImage { image, format, cover, at } => {
                write!(f, "mount {format} {} at {}", image.display(), at.display())?;
                cover
                    .iter()
                    .try_for_each(|cover| write!(f, " verity {}", cover.verity.root.short()))
            }
            Self::MountOverlay(overlay) => overlay.fmt(f),
            Self::MountTmpfs { at, size } => {
                write!(f, "mount tmpfs at {} size={size}", at.display())
            }
            Self::Unmount { at } => write!(f, "unmount {}", at.display()),
            Self::Bind { from, at, access } => {
                let access = match access {
                    Access::ReadOnly => "ro",
                    Access::Writable => "rw,nosuid,nodev",
                    Access::WritableSuid => "rw,nodev",
                };
                write!(f, "bind {} at {} {access}", from.display(), at.display())
            }
            Self::MakeUpper { upper, like } => {
                write!(f, "make upper {}", upper.upper.display())?;
                like.iter().try_for_each(|like| write!(f, " like {}", like.display()))
            }
            Self::DeriveUpper(derive) => show_derive(derive, f),
            Self::CopyKept { from, to, keep } => {
                let (from, to) = (from.display(), to.display());
                write!(f, "copy kept of {from} to {to} [{}]", keep.join(" "))
            }
            Self::DropOwned { dir, paths } => {
                write!(f, "drop from upper {} [{}]", dir.display(), paths.join(" "))
            }
            Self::HideStamp { upper, lowers } => {
                write!(f, "hide stamp in {}", upper.display())?;
                show_lowers(lowers, f)
            }
            Self::MakeMachineId { upper, lowers, .. } => {
                write!(f, "make machine-id in {}", upper.display())?;
                show_lowers(lowers, f)
            }
            Self::MakeBound { dir, path, mode, lowers } => {
                write!(f, "make bound {path} in {} mode={mode:04o}", dir.display())?;
                show_lowers(lowers, f)
            }
            Self::ForgetLowers { upper, lowers } => {
                write!(f, "forget lowers in {}", upper.display())?;
                show_lowers(lowers, f)
            }
            Self::WipeUpper { dir, keep } => {
                write!(f, "wipe upper {} keeping [{}]", dir.display(), keep.join(" "))
            }
            Self::StageImage { from, to, size, .. } => {
                write!(f, "stage {} as {} ({size} bytes)", from.display(), to.display())
            }
            Self::StageCover { tree, verity, .. } => {
                write!(f, "make hash tree {} root {}", tree.display(), verity.root.short())
            }
            Self::WriteFile { path, text } => match text.trim_end() {
                line if !line.contains('\n') => write!(f, "write {} {line:?}", path.display()),
                text => write!(f, "write {} ({} bytes)", path.display(), text.len()),
            },
            Self::Overwrite { path, text } => {
                write!(f, "overwrite {} {:?}", path.display(), text.trim_end())
            }
            Self::PublishGeneration { dir, .. } => write!(f, "publish {}", dir.display()),
            Self::AppendLine { path, line } => write!(f, "append {} {line:?}", path.display()),
            Self::Remove { path } => write!(f, "remove {}", path.display()),
            Self::CopyToBoot(CopyToBoot { from, boot, file, size }) => {
                let to = boot.file(file);
                write!(f, "copy {} to {} ({size} bytes)", from.display(), to.display())
            }
            Self::WriteEntry { boot, name, text } => {
                write!(f, "write entry {} ({} bytes)", boot.entry(name).display(), text.len())
            }
            Self::SetOneShot { entry: Some(entry), .. } => {
                write!(f, "have the boot loader start once {}", entry.uncounted())
            }
            Self::SetOneShot { entry: None, .. } => {
                f.write_str("have the boot loader start nothing once")
            }
            Self::RemoveFromBoot { boot, name } => {
                write!(f, "remove from boot {}", name.path(boot).display())
            }
        }
    }
}

fn show_derive(derive: &Derive, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "derive upper {} from {}", derive.to.display(), derive.from.display())?;
    match &derive.old {
        Some(old) => write!(f, " old={}", old.display())?,
        None => f.write_str(" old=?")?,
    }
    write!(f, " new={}", derive.new.display())?;
    f.write_str(if derive.whole { "" } else { " additions only" })
}

fn show_lowers(lowers: &[PathBuf], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    lowers.iter().try_for_each(|lower| write!(f, " lower={}", lower.display()))
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mount overlay {} at {}", self.source, self.at.display())?;
        show_lowers(&self.lowers, f)?;
        self.data.iter().try_for_each(|data| write!(f, " data={}", data.display()))?;
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
