//! What can go wrong, in the words that people see, with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use layers::config::ConfigError;
use layers::exec::{Failure, HostError};
use layers::id::IdError;
use layers::plan::change::Refusal;
use layers::plan::check::Fault;
use layers::requirement::RequirementError;
use layers::store::inspect::InspectError;
use layers::store::{StoreError, publish};
use layers::superblock::SuperblockError;
use layers::sys::KernelError;
use layers::trust::TrustError;
use layers::verity::MeasureError;
use thiserror::Error;

use crate::disk;
use crate::initramfs;
use crate::reached::{Reached, UNSETTLED};
use crate::repo::error::RepoError;
use crate::signing::key::KeyError;
use crate::triggers::TableError;
use crate::uki;

/// Why a command did not do what it was asked for.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change is not made.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A plan breaks a rule: a defect of this program.
    #[error("this is a defect of layerctl: {0}")]
    Fault(#[from] Fault),
    /// A file cannot be read or copied.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A plan stopped half-way.
    #[error("{source}")]
    Stopped {
        /// Where and why.
        source: Failure,
        /// How far it had come.
        reached: Reached,
        /// Whether something is left to do, or left over, on the boot partition.
        boot: bool,
    },
    /// An image cannot be looked into.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The configuration is not understood.
    #[error("{} {source}", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: ConfigError,
    },
    /// A file is no usable image.
    #[error("{} {source}", .path.display())]
    Superblock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SuperblockError,
    },
    /// A disk image's partition table cannot be trusted.
    #[error("{} {source}", .path.display())]
    PartitionTable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: disk::TableError,
    },
    /// The partition that holds a disk image's files has no usable file system.
    #[error("the partition in {} {source}", .path.display())]
    Partition {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SuperblockError,
    },
    /// A view of /etc cannot be mounted.
    #[error("mount a view of /etc at {}: {source}", .at.display())]
    View {
        /// Where.
        at: PathBuf,
        /// The kernel's answer.
        source: KernelError,
    },
    /// /etc was changed in part.
    #[error("{source}")]
    Edit {
        /// What failed.
        source: Box<Error>,
        /// How many changes were made before.
        done: usize,
    },
    /// An image is built, and what describes it cannot be put beside it.
    #[error("{source}")]
    HalfBuilt {
        /// What failed.
        source: Box<Error>,
    },
    /// A name or version has characters that it must not have.
    #[error(transparent)]
    Id(#[from] IdError),
    /// What is said about another layer cannot be understood.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
    /// A system call failed.
    #[error("{doing} {}: {source}", .path.display())]
    Io {
        /// What was being done: `read`.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A program is missing or cannot be started.
    #[error("start {name}: {source}")]
    NoProgram {
        /// Its name.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("{name} failed: {message}")]
    Program {
        /// Its name.
        name: &'static str,
        /// The last thing that it wrote, or its exit status.
        message: String,
    },
    /// The process may not do what it has to.
    #[error("{purpose} needs the capability {capability}, which this process does not have")]
    Capability {
        /// What for.
        purpose: &'static str,
        /// Which.
        capability: Capability,
    },
    /// The process may not do what a command has to.
    #[error("layerctl {verb} needs {}, which this process does not have", capabilities(.missing))]
    Rights {
        /// The command.
        verb: &'static str,
        /// What it lacks.
        missing: Vec<Capability>,
    },
    /// A package manager, or what it ran, failed.
    #[error("{program} failed:{said}")]
    PackageManager {
        /// Its program.
        program: &'static str,
        /// The last lines that it wrote.
        said: String,
    },
    /// The lists of packages cannot be fetched.
    #[error("the lists of packages cannot be fetched:{said}")]
    NoLists {
        /// The package manager.
        program: &'static str,
        /// What it wrote.
        said: String,
    },
    /// A recipe is not understood.
    #[error("{} line {line}: {message}", .path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Why.
        message: String,
    },
    /// There is no sandbox to run programs in.
    #[error("{0}")]
    Sandbox(String),
    /// Standard output does not take the data.
    #[error("write to standard output: {0}")]
    Output(#[source] io::Error),
    /// The initrd cannot be made.
    #[error(transparent)]
    Initramfs(#[from] initramfs::Error),
    /// The unified kernel image cannot be made.
    #[error(transparent)]
    Uki(#[from] uki::Error),
    /// The initrd cannot be made for what was named.
    #[error(transparent)]
    Role(#[from] initramfs::UnknownRole),
    /// Images were downloaded, and the change that they are for is not made.
    #[error("{source}")]
    Downloaded {
        /// Why it is not made.
        source: Box<Error>,
    },
    /// A repository, or a file on a server, is of no use now.
    #[error(transparent)]
    Repository(#[from] RepoError),
    /// An image cannot have verity hashes.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// A secret key is of no use.
    #[error("{} {source}", .path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A trust file is not understood.
    #[error("{}: {source}", .path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: TrustError,
    },
    /// A table of triggers is not understood.
    #[error(transparent)]
    Triggers(TableError),
}

fn capabilities(missing: &[Capability]) -> String {
    missing.iter().map(Capability::to_string).collect::<Vec<_>>().join(", ")
}

const DOWNLOADED: &str = "nothing was changed; what was downloaded stays until: layerctl cleanup";

impl Error {
    /// An I/O error with what was being done and to what.
    pub(crate) fn io(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { doing, path: path.to_owned(), source: source.into() }
    }

    /// Whether the reader of standard output has gone away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to do or type.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => store_hint(error),
            Self::Refused(refusal) => Some(refusal.hint.clone()),
            // What is copied outside of a change need not go into a store.
            Self::Host(HostError::Io { source, .. }) if publish::is_full(source) => {
                Some(FULL_SOMEWHERE.into())
            }
            Self::Host(error) | Self::Stopped { source: Failure { source: error, .. }, .. } => {
                host_hint(error)
            }
            Self::Inspect(InspectError::Mount { .. }) => {
                Some("the image may be damaged: get or build it again; dmesg may say more".into())
            }
            Self::Config { .. } => {
                Some("correct that line; what may stand in the file: layerctl policy --help".into())
            }
            Self::View { .. } => Some("dmesg may say more".into()),
            Self::Edit { source, .. }
            | Self::HalfBuilt { source }
            | Self::Downloaded { source } => source.hint(),
            Self::Superblock { source: SuperblockError::Unknown, .. } => Some(
                "make an image from a directory or tar archive: layerctl build DIR --name N --version V -o FILE".into(),
            ),
            Self::Partition { source: SuperblockError::Unknown, .. } => Some(
                "only squashfs and EROFS are taken: build the extension with Format=erofs or Format=squashfs".into(),
            ),
            Self::Superblock { .. } | Self::Partition { .. } | Self::PartitionTable { .. } => {
                Some("get or build the image again".into())
            }
            Self::Requirement(RequirementError::Syntax(_)) => {
                Some("quote it where it has a bound: --requires 'libfoo >= 1.2'".into())
            }
            Self::Id(_) | Self::Requirement(RequirementError::Id(_)) => Some("choose another one, such as python3.13 or 1.0~rc1".into()),
            Self::Io { source, .. } if publish::is_full(source) => Some(FULL_SOMEWHERE.into()),
            Self::Io { source, .. } => io_hint(source),
            Self::NoProgram { name, source } if source.kind() == io::ErrorKind::NotFound => {
                let [debian, others] = packages(name);
                Some(format!(
                    "install {debian}: apt-get install {debian} (Debian), dnf install {others} (Fedora), pacman -S {others} (Arch)"
                ))
            }
            Self::Program { name, message } => program_hint(name, message),
            Self::PackageManager { said, .. } if said.contains("enough free space in /var/cache") => {
                Some(FULL_CACHE.into())
            }
            Self::PackageManager { said, .. } | Self::Sandbox(said) if said.contains(FULL) => {
                Some(FULL_SOMEWHERE.into())
            }
            Self::NoLists { said, .. } if said.contains(FULL) => Some(FULL_CACHE.into()),
            Self::PackageManager { .. } => Some(
                "its last lines are above; all of them: layerctl --verbose build …".into(),
            ),
            Self::NoLists { program, .. } => Some(format!(
                "look at the network and at the sources of {program}; from what the cache has: --offline"
            )),
            Self::Recipe { .. } => Some("see what may stand in it: docs/build.md".into()),
            Self::Capability { .. } => Some("run it as root: sudo layerctl …".into()),
            Self::Rights { verb, .. } => Some(format!(
                "run it as root: sudo layerctl {verb} …; in a container or service, add the capability"
            )),
            Self::Initramfs(error) => initramfs_hint(error),
            Self::Uki(error) => Some(uki_hint(error).into()),
            Self::Repository(error) => Some(error.hint()),
            Self::Role(_) => Some("name one or more of them: --role virtio,ext4".into()),
            Self::Triggers(_) => {
                Some("correct that line; what a table may have: docs/triggers.md".into())
            }
            Self::Trust { .. } => {
                Some("correct that line; what may stand in the file: docs/verification.md".into())
            }
            Self::Key { source: KeyError::Foreign, .. } => Some(
                "name the secret file that layerctl key generate or minisign -G has made".into(),
            ),
            Self::Key { source: KeyError::Password, .. } => Some("type the command again".into()),
            Self::Fault(_) => Some("please report it with the command that you typed".into()),
            _ => None,
        }
    }

    /// Whether what was asked for can be seen, though it may not be on disk.
    pub(crate) fn is_unsettled(&self) -> bool {
        match self {
            Self::Store(StoreError::Io { source, .. })
            | Self::Host(HostError::Io { source, .. })
            | Self::Io { source, .. } => publish::is_unsettled(source),
            _ => false,
        }
    }

    /// Whether some of what was asked for was done.
    fn has_begun(&self) -> bool {
        match self {
            Self::Stopped { reached, .. } => *reached != Reached::Nothing,
            other => other.is_unsettled(),
        }
    }

    /// What is unharmed.
    pub(crate) fn unharmed(&self) -> &'static str {
        match self {
            Self::Stopped { reached, boot: true, .. } if reached.is_visible() => {
                "the change is made; what it made superfluous is on the boot partition until: layerctl boot sync"
            }
            Self::Stopped { reached, .. } => reached.unharmed(),
            Self::Edit { done, source } if *done > 0 || source.has_begun() => {
                "what was changed in /etc before that stays; when the cause is gone, type the command again"
            }
            Self::HalfBuilt { .. } => {
                "the image is there, its manifest may not be: type the command again"
            }
            Self::Downloaded { .. } => DOWNLOADED,
            Self::Repository(error) if error.keeps_part() => DOWNLOADED,
            _ if self.is_unsettled() => UNSETTLED,
            _ => "nothing was changed",
        }
    }
}

fn store_hint(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::Missing(_) => {
            "make one in a mounted state file system: layerctl --root DIR init; or name the one to use: --root DIR".into()
        }
        StoreError::Newer { .. } => "use the layerctl that made the store, or a newer one".into(),
        StoreError::Schema(path) => format!(
            "if the store is one of this layerctl, put the number back: echo {} > {}",
            layers::layout::SCHEMA,
            path.display()
        ),
        StoreError::Locked { .. } => "wait until it has ended, then try again".into(),
        StoreError::ReadOnly(top) => {
            let state = top.parent().unwrap_or(top);
            format!("mount it writable: mount -o remount,rw {}", state.display())
        }
        StoreError::Io { source, .. } => return io_hint(source),
    })
}

fn host_hint(error: &HostError) -> Option<String> {
    match error {
        HostError::Io { source, .. } => io_hint(source),
        HostError::Digest { .. } => {
            Some("the image or the manifest beside it is damaged: get or build both again".into())
        }
        HostError::ReadBack { .. } => Some(
            "the boot partition's disk or file system is damaged: unmount it and check it with fsck.fat".into(),
        ),
        HostError::Stopped(_) => None,
    }
}

fn initramfs_hint(error: &initramfs::Error) -> Option<String> {
    use initramfs::Error;
    Some(match error {
        Error::Read { source, .. } => return io_hint(source),
        Error::NoKernel { .. } => {
            "name a tree that has a kernel's modules: --modules-from TREE".into()
        }
        Error::SeveralKernels { .. } | Error::OtherKernels { .. } => {
            "choose one: --kernel VERSION".into()
        }
        Error::NotStatic { .. } => {
            "build the program with -C target-feature=+crt-static, or name another: --init FILE"
                .into()
        }
        Error::Lacking(_) => "leave the role out (--role), or take another kernel".into(),
        Error::Unpack { .. } => "install the kernel's package again".into(),
        Error::NoIndex { .. } | Error::TooLong(_) | Error::Compress(_) => return None,
    })
}

/// What programs say of a full disk (strerror(3)).
const FULL: &str = "No space left on device";

/// What to do about a full disk that need not be the store's.
const FULL_SOMEWHERE: &str = "free space where it is written; in a store: layerctl cleanup";

/// What to do where packages are not downloaded for lack of room.
const FULL_CACHE: &str = "free space for the packages' cache, or name another place: --cache DIR";

fn uki_hint(error: &uki::Error) -> &'static str {
    use uki::Error;
    match error {
        Error::NoStub { .. } => {
            "install systemd-boot-efi (Debian), systemd-boot-unsigned (Fedora) or systemd (Arch), or name the file: --stub FILE"
        }
        Error::NoLinux { .. } | Error::OtherVersion { .. } => {
            "name the kernel that the modules are for: --linux FILE"
        }
        Error::NotEfi { .. } | Error::OtherMachine { .. } => {
            "name a kernel that has an EFI stub, and the systemd-stub for its processor: --linux FILE, --stub FILE"
        }
        Error::Cmdline(_) => "give it as one short line: --cmdline 'TEXT'",
    }
}

fn io_hint(error: &io::Error) -> Option<String> {
    Some(match error.kind() {
        _ if publish::is_full(error) => "free space: layerctl cleanup".into(),
        io::ErrorKind::PermissionDenied => permission_hint(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount the file system writable: mount -o remount,rw DIR".into()
        }
        io::ErrorKind::NotFound => "check the path".into(),
        _ => return None,
    })
}

/// The store belongs to root: who may not open it lacks what goes past owners and modes.
fn permission_hint() -> String {
    let needed = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_DAC_READ_SEARCH];
    let lacks = |capability| !caps::has_cap(None, CapSet::Effective, capability).unwrap_or(true);
    match needed.into_iter().find(|&capability| lacks(capability)) {
        Some(capability) => {
            format!("run it as root, this process has no {capability}: sudo layerctl …")
        }
        None => "look at the file's owner, mode and mount options".to_owned(),
    }
}

fn program_hint(program: &str, message: &str) -> Option<String> {
    Some(match program {
        _ if message.contains(FULL) => FULL_SOMEWHERE.into(),
        "sbsign" => "name a key and the certificate that goes with it, both in PEM: --secure-boot-key KEY --secure-boot-certificate CERT".into(),
        "tar" => "give a directory, or a whole tar archive: plain, gzip, xz or zstd".into(),
        _ => return None,
    })
}

/// The package that has a program: its name on Debian, and on Fedora and Arch.
fn packages(program: &str) -> [&str; 2] {
    match program {
        "mksquashfs" => ["squashfs-tools"; 2],
        "mkfs.erofs" => ["erofs-utils"; 2],
        "objcopy" => ["binutils"; 2],
        "sbsign" => ["sbsigntool", "sbsigntools"],
        other => [other; 2],
    }
}
