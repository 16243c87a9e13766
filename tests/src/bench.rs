//! The measurements of `cargo xtask bench`: sizes, memory, boots and installations, each held against its goal.
//!
//! Times differ from machine to machine and from minute to minute, so nothing here is a test. What is compared is
//! measured in turns, and the median counts.

mod boots;
mod building;
mod changes;
mod cost;
mod figure;
mod formats;
mod icount;
mod indexing;
mod install;
mod machines;
mod memory;
mod peers;
mod plot;
mod program;
mod record;
mod report;
mod store;
mod wire;

pub use cost::StackError;
pub use figure::{Figure, Goal, Place, Table, Unit};
pub use machines::Machines;
pub use plot::PlotError;
pub use report::{Report, Section};

use crate::base::{BaseError, Builder, Tree};
use crate::crash::CrashError;
use crate::files::FileError;
use crate::packages::PackagesError;
use crate::process::ProcessError;
use crate::programs::Programs;
use crate::vm::{DiskError, VmError};
use crate::workspace::Workspace;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The base failed.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A disk image failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Packages could not be had.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// A disk that logs its writes failed.
    #[error(transparent)]
    Crash(#[from] CrashError),
    /// A machine failed.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// A plot failed.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A stack could not be mounted or read.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// A boot did not come to a point that is measured.
    #[error("the boot never said {line:?}\n{console}")]
    NoLine {
        /// What was looked for.
        line: String,
        /// What the console said.
        console: String,
    },
    /// The report is not to be had as JSON.
    #[error("the report cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Item {
    /// The sizes of init and of an initramfs
    Size,
    /// System calls of init that sleep or wait
    Sleep,
    /// Peak memory of init
    Memory,
    /// A boot without layers, beside Debian's initramfs
    Boot,
    /// First boots of a generation that continues an /etc with many files
    EtcClone,
    /// Boots with 1 to 400 layers
    Layers,
    /// Boots with 400 layers
    Many,
    /// An installation beside cp and sha256sum
    Install,
    /// What a rollback writes
    Rollback,
    /// What paths, directories and programs cost with 1 to 400 layers, beside one flat image of the same content
    Cost,
    /// The memory that 64 mounted images take, on loop devices and from files
    Mounts,
    /// Block sizes, compressors and settings of loop devices
    Formats,
    /// Bytes that an update fetches, beside a whole download, casync, zsync, zstd and xdelta3
    Wire,
    /// Boot stages beside those of others: initramfs-tools, overlayroot, live-boot, dracut, systemd with sysext
    Peers,
    /// Whole boots beside those of others, to multi-user.target
    MultiUser,
    /// The same boot stages in instructions
    Icount,
    /// Installing, rolling back and removing beside sysext, ostree, apt and pacman
    Changes,
    /// Building images beside mksquashfs, mkfs.erofs, apt-get and mkosi
    Building,
    /// What it takes to make the index of 100,000 entries
    Index,
}

/// All of them, in the order of the report.
pub const ITEMS: [Item; 19] = [
    Item::Size,
    Item::Sleep,
    Item::Memory,
    Item::Boot,
    Item::EtcClone,
    Item::Layers,
    Item::Many,
    Item::Install,
    Item::Rollback,
    Item::Cost,
    Item::Mounts,
    Item::Formats,
    Item::Wire,
    Item::Peers,
    Item::MultiUser,
    Item::Icount,
    Item::Changes,
    Item::Building,
    Item::Index,
];

/// Measures `items`, each `runs` times where more than once makes sense. After each of them, `so_far` gets what there is.
pub fn measure(
    workspace: &Workspace,
    items: &[Item],
    runs: usize,
    so_far: &dyn Fn(&[Section]) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    let programs = Programs::build(workspace)?;
    let tree = Tree::build(workspace, Builder::Mmdebstrap)?;
    let machines = Machines::build(workspace, &programs, &tree)?;
    let mut sections = Vec::new();
    for item in items {
        let mut figures = Vec::new();
        figures.extend(match item {
            Item::Size => program::size(&machines, &programs)?,
            Item::Sleep => program::sleeps(&machines)?,
            Item::Memory => program::memory(&machines)?,
            Item::Boot => boots::against_debian(&machines, runs)?,
            Item::EtcClone => boots::etc_clone(&machines, runs)?,
            Item::Layers => boots::layers(&machines, runs)?,
            Item::Many => boots::many(&machines)?,
            Item::Install => install::install(workspace, &programs, &machines, runs)?,
            Item::Rollback => install::rollback(workspace, &programs, &machines)?,
            Item::Cost => cost::cost(workspace, &programs, &tree, runs)?,
            Item::Mounts => memory::mounts(workspace, &programs, &tree, &machines, runs)?,
            Item::Formats => formats::formats(workspace, &tree, runs)?,
            Item::Wire => wire::wire(workspace, &programs, &tree, runs)?,
            Item::Peers => peers::to_program(workspace, &tree, &machines, runs)?,
            Item::MultiUser => peers::to_multi_user(workspace, &tree, &machines, runs)?,
            Item::Icount => icount::measure(workspace, &tree, &machines, runs)?,
            Item::Changes => changes::changes(workspace, &programs, &tree, &machines, runs)?,
            Item::Index => indexing::indexing(workspace, &programs, &machines, runs)?,
            Item::Building => building::building(workspace, &programs, &tree, &machines, runs)?,
        });
        sections.push(Section::new(*item, figures));
        so_far(&sections)?;
    }
    Ok(())
}
