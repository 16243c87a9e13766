//! The disks that the peers change, and the tree that their programs come from.
#![expect(clippy::disallowed_methods, reason = "measures time")]

use super::payload::Payload;
use super::peer::Peer;
use crate::base::{BaseError, Tree};
use crate::bench::BenchError;
use crate::bench::machines::Machines;
use crate::crash::{Export, LoopDevice, own_mounts};
use crate::debian_tree;
use crate::files;
use crate::process;
use crate::programs::Programs;
use crate::sources::Sources;
use crate::tools::find_program;
use crate::workspace::Workspace;
use crate::write_log::{self, Entry};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The peers' packages; what is not among them is in the base.
const TOOLS: &str = "ostree,pacman-package-manager";

/// The size of a disk in MiB; the files are sparse. What mkfs leaves to the first mount is done by a thread that would
/// write while the peers do.
const DISK_SIZE: u64 = 6144;

/// A journal that is written when the peers ask for it, and not because five seconds are over; discards would be noise.
const MOUNT: &str = "noatime,nodiscard,commit=300";

/// Everything that is there before a change.
pub(super) struct Ground {
    work: PathBuf,
    tools: PathBuf,
    base_tar: PathBuf,
    base_image: PathBuf,
    programs: Programs,
}

impl Ground {
    /// Makes an empty work directory, mounts of our own, and the tree of tools where it is not in the cache. As root.
    pub(super) fn new(
        workspace: &Workspace,
        programs: &Programs,
        tree: &Tree,
        machines: &Machines,
    ) -> Result<Self, BenchError> {
        let sources = Sources::of_this_machine().map_err(BaseError::from)?;
        let tools =
            debian_tree::build::<BenchError>(workspace, &sources, "bench/changes-tools", TOOLS)?;
        own_mounts()?;
        let work = workspace.target().join("bench/changes");
        for dir in ["disks", "images", "payloads"] {
            files::make_empty_dir(&work.join(dir))?;
        }
        Ok(Self {
            work,
            tools,
            base_tar: tree.tar.clone(),
            base_image: machines.base(),
            programs: programs.clone(),
        })
    }

    /// The directory of a payload.
    pub(super) fn payload(&self, payload: Payload) -> PathBuf {
        self.work.join("payloads").join(payload.directory())
    }

    /// The project's command.
    pub(super) fn layerctl(&self) -> &Path {
        &self.programs.layerctl
    }

    fn image(&self, peer: &Peer) -> PathBuf {
        self.work.join("images").join(format!("{}.img", peer.disk))
    }

    fn disk(&self, peer: &Peer) -> PathBuf {
        self.work.join("disks").join(peer.disk)
    }

    fn command(&self, peer: &Peer, verb: &str, payload: Option<Payload>) -> Command {
        let mut sh = process::command("sh");
        sh.args(["-euc", &peer.text(verb)]).env("DISK", self.disk(peer)).env("WORK", &self.work);
        sh.env("TOOLS", &self.tools).env("LAYERCTL", &self.programs.layerctl);
        sh.env("BASE_TAR", &self.base_tar).env("BASE_IMAGE", &self.base_image);
        sh.env("LC_ALL", "C");
        if let Some(payload) = payload {
            sh.env("PAYLOAD", self.payload(payload));
        }
        sh
    }

    /// Makes a peer's disk as it is before the change.
    pub(super) fn fill(&self, peer: &Peer) -> Result<(), BenchError> {
        let image = self.image(peer);
        files::make_sparse(&image, DISK_SIZE << 20)?;
        let program = find_program("mkfs.ext4").unwrap_or_else(|| "mkfs.ext4".into());
        let mut mkfs = process::command(program);
        mkfs.args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]);
        process::run(mkfs.arg(&image))?;
        files::make_dir(&self.disk(peer))?;
        let disk = Disk::mount(self, peer, &image)?;
        process::run(&mut self.command(peer, "fill", None))?;
        disk.sync()?;
        disk.unmount()
    }

    /// Mounts a peer's disk on a loop device, to take times.
    pub(super) fn mount<'a>(&'a self, peer: &'a Peer) -> Result<Disk<'a>, BenchError> {
        let disk = Disk::mount(self, peer, &self.image(peer))?;
        process::run(&mut self.command(peer, "enter", None))?;
        Ok(disk)
    }

    /// Removes the disks.
    pub(super) fn leave(self) -> Result<(), BenchError> {
        Ok(files::remove_tree(&self.work)?)
    }
}

/// A mounted disk.
pub(super) struct Disk<'a> {
    ground: &'a Ground,
    pub(super) peer: &'a Peer,
    at: PathBuf,
    /// Keeps the device attached.
    _device: LoopDevice,
}

impl<'a> Disk<'a> {
    fn mount(ground: &'a Ground, peer: &'a Peer, image: &Path) -> Result<Self, BenchError> {
        let device = LoopDevice::attach(image)?;
        device.with_flushes()?;
        let at = ground.disk(peer);
        let mut mount = process::command("mount");
        process::run(mount.args(["-t", "ext4", "-o", MOUNT]).arg(device.path()).arg(&at))?;
        Ok(Self { ground, peer, at, _device: device })
    }

    /// Does a verb from a clean start; the seconds until it is done and on the disk.
    pub(super) fn time(&self, verb: &str, payload: Payload) -> Result<f64, BenchError> {
        let mut command = self.ground.command(self.peer, verb, Some(payload));
        self.sync()?;
        let start = Instant::now();
        process::run(&mut command)?;
        self.sync()?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn sync(&self) -> Result<(), BenchError> {
        let root = files::open(&self.at)?;
        rustix::fs::syncfs(&root)
            .map_err(|e| files::FileError::new("flush", &self.at, e.into()))?;
        Ok(())
    }

    fn unmount(self) -> Result<(), BenchError> {
        Ok(process::run(process::command("umount").arg("-R").arg(&self.at))?)
    }

    /// Undoes what [`Ground::mount`] did.
    pub(super) fn leave(self) -> Result<(), BenchError> {
        process::run(&mut self.ground.command(self.peer, "leave", None))?;
        self.unmount()
    }
}

/// A mounted disk that writes down what is written to it.
pub(super) struct Logged<'a> {
    disk: Disk<'a>,
    export: Export,
    log: PathBuf,
}

impl<'a> Logged<'a> {
    pub(super) fn start(ground: &'a Ground, peer: &'a Peer) -> Result<Self, BenchError> {
        let file = |name: &str| ground.work.join(name);
        let (log, shown) = (file("writes.log"), file("shown.img"));
        let export = Export::start(&ground.image(peer), &log, &shown)?;
        let disk = Disk::mount(ground, peer, &shown)?;
        process::run(&mut ground.command(peer, "enter", None))?;
        Ok(Self { disk, export, log })
    }

    /// Does a verb; what it wrote by itself, and what until all was on the disk.
    pub(super) fn record(
        &self,
        verb: &str,
        payload: Payload,
    ) -> Result<(Vec<Entry>, Vec<Entry>), BenchError> {
        self.disk.sync()?;
        let before = write_log::entries(&self.log)?.len();
        process::run(&mut self.disk.ground.command(self.disk.peer, verb, Some(payload)))?;
        let own = write_log::entries(&self.log)?.split_off(before);
        self.disk.sync()?;
        let all = write_log::entries(&self.log)?.split_off(before);
        Ok((own, all))
    }

    /// Ends the log, and removes it.
    pub(super) fn stop(self) -> Result<(), BenchError> {
        let Self { disk, export, log } = self;
        disk.leave()?;
        export.stop()?;
        Ok(files::remove_file(&log)?)
    }
}
