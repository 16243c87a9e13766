//! The kinds of boot stage that are compared, and what each needs: an initramfs, a disk, words for the kernel.

use super::disks;
use super::initrds::{Initrd, Initrds};
use crate::base::Tree;
use crate::bench::BenchError;
use crate::bench::machines::{Format, Machines, ROOT_LABEL};
use crate::workspace::Workspace;
use std::path::PathBuf;

/// util-linux's mount(8) gives all lower directories to the kernel as one value, of which fsconfig(2) takes 255 bytes:
/// seven modules. The kernel hands a word without a dot to /init as a variable, and this one has it call mount(2).
const OLD_MOUNT: &str = "LIBMOUNT_FORCE_MOUNT2=always";

/// One kind of boot stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Stage {
    /// The project's, with so many layers.
    Ours(Format, usize),
    /// Debian's initramfs-tools: the tree on ext4, nothing else.
    InitramfsTools,
    /// The same with overlayroot: a tmpfs over the tree.
    Overlayroot,
    /// live-boot with the squashfs image and so many layers as its modules.
    Live(usize),
    /// dracut's dmsquash-live with the squashfs image; it knows no modules.
    Dracut,
    /// mkosi's initrd, the tree on ext4, and so many layers that systemd-sysext merges in it.
    Sysext(usize),
}

impl Stage {
    /// As the rows call it.
    pub(in crate::bench) fn name(self) -> String {
        match self {
            Self::Ours(format, layers) => format!("ours, {}, {layers} layers", format.name()),
            Self::InitramfsTools => "initramfs-tools".into(),
            Self::Overlayroot => "overlayroot".into(),
            Self::Live(modules) => format!("live-boot, {modules} modules"),
            Self::Dracut => "dracut dmsquash-live".into(),
            Self::Sysext(images) => format!("mkosi initrd, {images} sysexts"),
        }
    }

    /// The program that made its initramfs.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Ours(..) => "ours",
            Self::InitramfsTools => "initramfs-tools",
            Self::Overlayroot => "initramfs-tools with overlayroot",
            Self::Live(_) => "initramfs-tools with live-boot",
            Self::Dracut => "dracut with dmsquash-live and systemd",
            Self::Sysext(_) => "mkosi, systemd",
        }
    }

    /// How many layers the root has.
    pub(in crate::bench) fn layers(self) -> usize {
        match self {
            Self::Ours(_, layers) | Self::Live(layers) | Self::Sysext(layers) => layers,
            Self::InitramfsTools | Self::Overlayroot | Self::Dracut => 0,
        }
    }

    /// Whether what its system writes is there at the next boot.
    pub(super) fn keeps(self) -> bool {
        matches!(self, Self::Ours(..) | Self::InitramfsTools | Self::Sysext(_))
    }

    /// The project's own boot stage that a peer is held against: squashfs, as many layers. `None` for the project's.
    pub(in crate::bench) fn counterpart(self) -> Option<Self> {
        let ours = Self::Ours(Format::Squashfs, self.layers());
        (!matches!(self, Self::Ours(..))).then_some(ours)
    }

    /// What the initramfs is told. `disk` is the device, for one that has to be told.
    pub(in crate::bench) fn words(self, disk: &str) -> String {
        match self {
            Self::Ours(..) => "layers.state=LABEL=layers".into(),
            Self::InitramfsTools => format!("root=LABEL={ROOT_LABEL} rw"),
            Self::Overlayroot => format!("root=LABEL={ROOT_LABEL} rw overlayroot=tmpfs"),
            Self::Live(_) => format!("boot=live live-media={disk} {OLD_MOUNT}"),
            Self::Dracut => format!("root=live:LABEL={} rd.live.image", disks::LIVE_LABEL),
            Self::Sysext(_) => format!("root=LABEL={ROOT_LABEL} rw"),
        }
    }
}

/// All that the stages are made of.
#[derive(Debug)]
pub(in crate::bench) struct Stages<'a> {
    workspace: &'a Workspace,
    machines: &'a Machines,
    initrds: Initrds,
    ours: Initrd,
}

impl<'a> Stages<'a> {
    /// Makes the initramfs, or takes them from the cache.
    pub(in crate::bench) fn build(
        workspace: &'a Workspace,
        tree: &Tree,
        machines: &'a Machines,
    ) -> Result<Self, BenchError> {
        let initrds = Initrds::build(workspace, tree, machines.debian_initrd())?;
        let ours = Initrd { usual: machines.initrd(None)?, pmem: machines.pmem_initrd()? };
        Ok(Self { workspace, machines, initrds, ours })
    }

    /// The machines of the tree.
    pub(in crate::bench) fn machines(&self) -> &Machines {
        self.machines
    }

    /// A stage's initramfs.
    pub(in crate::bench) fn initrd(&self, stage: Stage) -> &Initrd {
        match stage {
            Stage::Ours(..) => &self.ours,
            Stage::InitramfsTools => &self.initrds.debian,
            Stage::Overlayroot => &self.initrds.overlayroot,
            Stage::Live(_) => &self.initrds.live,
            Stage::Dracut => &self.initrds.dracut,
            Stage::Sysext(_) => &self.initrds.mkosi,
        }
    }

    /// A stage's disk: an ext4 file system.
    pub(in crate::bench) fn disk(&self, stage: Stage) -> Result<PathBuf, BenchError> {
        match stage {
            Stage::Ours(format, layers) => self.machines.state(format, layers),
            Stage::InitramfsTools | Stage::Overlayroot => Ok(self.machines.root_disk()),
            Stage::Live(modules) => disks::live(self.workspace, self.machines, modules),
            Stage::Dracut => disks::live(self.workspace, self.machines, 0),
            Stage::Sysext(images) => disks::extended(self.workspace, self.machines, images),
        }
    }
}
