//! What the measured machines boot: one Debian tree as squashfs, as EROFS and as an ext4 disk, the initramfs that
//! Debian's initramfs-tools makes of it, and state disks with any number of layers.
//!
//! The tree has two programs more than the base. /usr/sbin/bench-init, which a boot starts in place of systemd, writes one
//! line into the kernel's log, prints the kernel's trace and switches off; /usr/sbin/bench-report does the same at the end of
//! a boot with systemd.

use super::BenchError;
use super::record::EVENTS;
use super::store::Store;
use crate::base::Tree;
use crate::cache::{self, Key};
use crate::files;
use crate::process;
use crate::programs::Programs;
use crate::vm::{Drive, Filesystem, Machine, make_disk};
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The line that says that the root's own program runs.
pub(super) const STARTED: &str = "bench: started";

/// The first program of the root.
pub(super) const INIT: &str = "/usr/sbin/bench-init";

/// The last line of a measured boot.
pub(super) const END: &str = "bench: end";

/// How long a measured boot may take before it counts as one that hangs.
pub(super) const DEADLINE: Duration = Duration::from_secs(300);

/// The label of the ext4 disk that Debian's initramfs boots from.
pub(super) const ROOT_LABEL: &str = "benchroot";

/// Size of the disks in MiB; the files are sparse.
pub(super) const DISK_SIZE: u64 = 1024;

/// Its first line ends what is measured; then it prints the trace of what came before.
const SCRIPT: &str = include_str!("guest/bench-init");

/// What multi-user.target starts in a boot with systemd, where the command line has `bench.report`.
const REPORT: [(&str, &str); 2] = [
    ("usr/sbin/bench-report", include_str!("guest/bench-report")),
    ("usr/lib/systemd/system/bench-report.service", include_str!("guest/bench-report.service")),
];

/// `cryptomgr.notests`: the kernel's own tests of its ciphers run beside /init for 150 ms and take half of the processor,
/// whatever initramfs it is.
pub(super) const APPEND: &str = "quiet cryptomgr.notests";

/// An image's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// On a loop device.
    Squashfs,
    /// From the file itself.
    Erofs,
}

impl Format {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Squashfs, Self::Erofs];

    /// As layerctl's `--format` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        }
    }
}

/// The kernel, both initramfs, and the tree as images and as a disk.
#[derive(Debug, Clone)]
pub struct Machines {
    workspace: Workspace,
    programs: Programs,
    kernel: PathBuf,
    modules_from: PathBuf,
    /// The directory with the images.
    made: PathBuf,
}

impl Machines {
    /// Builds everything, or takes it from the cache. Needs root: owners are kept, and mkinitramfs runs in a chroot.
    pub fn build(
        workspace: &Workspace,
        programs: &Programs,
        tree: &Tree,
    ) -> Result<Self, BenchError> {
        let key =
            Key::new(include_str!("machines.rs")).with(tree.tar.as_os_str().as_encoded_bytes());
        let key = REPORT.iter().fold(key.with(SCRIPT), |key, (_, text)| key.with(text));
        let made = cache::directory(workspace, "bench/tree", &key, |dir| make_tree(tree, dir))?;
        Ok(Self {
            workspace: workspace.clone(),
            programs: programs.clone(),
            kernel: tree.kernel(),
            modules_from: tree.root.clone(),
            made,
        })
    }

    /// The tree as squashfs.
    pub(super) fn base(&self) -> PathBuf {
        self.made.join("base.squashfs")
    }

    /// The kernel of all machines.
    pub(super) fn kernel(&self) -> &Path {
        &self.kernel
    }

    /// The tree as an ext4 disk.
    pub(super) fn root_disk(&self) -> PathBuf {
        self.made.join("root.ext4")
    }

    /// The initramfs of Debian's initramfs-tools.
    pub(super) fn debian_initrd(&self) -> PathBuf {
        self.made.join("debian.initrd")
    }

    /// Builds the project's initramfs for disks on virtio with ext4.
    pub(super) fn initrd(&self, shell: Option<&Path>) -> Result<PathBuf, BenchError> {
        let name = if shell.is_some() { "initrd-shell.img" } else { "initrd.img" };
        self.initrd_for(name, "virtio,ext4", shell)
    }

    /// Builds the project's initramfs for persistent memory with ext4.
    pub(super) fn pmem_initrd(&self) -> Result<PathBuf, BenchError> {
        self.initrd_for("initrd-pmem.img", "pmem,ext4", None)
    }

    fn initrd_for(
        &self,
        name: &str,
        roles: &str,
        shell: Option<&Path>,
    ) -> Result<PathBuf, BenchError> {
        let initrd = self.workspace.target().join("bench").join(name);
        files::make_dir(initrd.parent().unwrap_or(&initrd))?;
        let mut command = process::command(&self.programs.layerctl);
        command.arg("initrd").arg("-o").arg(&initrd).arg("--modules-from").arg(&self.modules_from);
        command.arg("--init").arg(&self.programs.init).args(["--role", roles]);
        command.args(shell.iter().flat_map(|shell| [Path::new("--shell"), shell]));
        process::run(&mut command)?;
        Ok(initrd)
    }

    /// A machine with the project's initramfs and a state disk; what it writes is gone when it ends.
    pub(super) fn machine(&self, initrd: &Path, state: &Path) -> Machine {
        self.with_init("bench", initrd)
            .drive(Drive::scratch(state))
            .append("layers.state=LABEL=layers")
    }

    /// A machine with Debian's initramfs and the tree on an ext4 disk.
    pub(super) fn debian(&self) -> Machine {
        self.with_init("bench-debian", &self.debian_initrd())
            .drive(Drive::scratch(&self.root_disk()))
            .append(&format!("root=LABEL={ROOT_LABEL} ro"))
    }

    fn with_init(&self, name: &str, initrd: &Path) -> Machine {
        Machine::new(name, &self.kernel, initrd)
            .append(&format!("{APPEND} init={INIT} trace_event={EVENTS}"))
    }

    /// A state disk whose generation has the base and `count` layers of one format, and has never run.
    pub(super) fn new_state(&self, format: Format, count: usize) -> Result<PathBuf, BenchError> {
        let layers = self.layers(format, count)?;
        let base = self.made.join(format!("base.{}", format.name()));
        let key = Key::new(include_str!("machines.rs"))
            .with(files::read(&self.programs.layerctl)?)
            .with(self.made.as_os_str().as_encoded_bytes());
        let kind = format!("bench/state-{}-{count}", format.name());
        let dir = cache::directory(&self.workspace, &kind, &key, |dir| {
            let store = Store::with_base(&self.programs.layerctl, dir.join("root"), &base)?;
            if !layers.is_empty() {
                process::run(store.layerctl().arg("install").args(&layers))?;
            }
            make_disk(Filesystem::Ext4, "layers", DISK_SIZE, store.root(), &dir.join("disk.img"))?;
            Ok::<_, BenchError>(files::remove_tree(store.root())?)
        })?;
        Ok(dir.join("disk.img"))
    }

    /// As [`Self::new_state`], but the generation has run once, as in every boot but its first.
    pub(super) fn state(&self, format: Format, count: usize) -> Result<PathBuf, BenchError> {
        let new = self.new_state(format, count)?;
        let disk = new.with_file_name("ran.img");
        if !files::exists(&disk) {
            self.run_once(&new, "", &disk)?;
        }
        Ok(disk)
    }

    /// A state disk whose default generation has never run and follows one that has, with `files` files of its own in
    /// its /etc.
    pub(super) fn changed_etc(&self, files: usize) -> Result<PathBuf, BenchError> {
        let new = self.new_state(Format::Squashfs, 1)?;
        let disk = new.with_file_name(format!("etc-{files}.img"));
        if !files::exists(&disk) {
            let words = match files {
                0 => "layers.generation=1".to_owned(),
                _ => format!("layers.generation=1 -- {files}"),
            };
            self.run_once(&new, &words, &disk)?;
        }
        Ok(disk)
    }

    /// Boots a copy of a state disk and puts it at `disk`, as a shut-down leaves it.
    fn run_once(&self, new: &Path, words: &str, disk: &Path) -> Result<(), BenchError> {
        let initrd = self.initrd(None)?;
        let machine = self.with_init("bench-first", &initrd).append("layers.state=LABEL=layers");
        run_on_copy(machine.append(words), new, disk)
    }

    /// The images of `count` layers, each with a file in /usr and one in /etc, and with what makes it an extension for
    /// systemd-sysext.
    pub(super) fn layers(&self, format: Format, count: usize) -> Result<Vec<PathBuf>, BenchError> {
        let dir = self.made.join(format!("layers-{}", format.name()));
        files::make_dir(&dir)?;
        let trees = self.workspace.target().join("bench/layer-tree");
        (1..=count)
            .map(|number| {
                let name = format!("layer{number:03}");
                let image = dir.join(format!("{name}_1.img"));
                if !files::exists(&image) {
                    files::make_empty_dir(&trees)?;
                    for directory in ["usr/share/bench", "etc/bench"] {
                        files::make_dir(&trees.join(directory))?;
                        files::write(&trees.join(directory).join(&name), format!("{name}\n"))?;
                    }
                    let release = trees.join("usr/lib/extension-release.d");
                    files::make_dir(&release)?;
                    files::write(&release.join(format!("extension-release.{name}")), "ID=_any\n")?;
                    let mut build = process::command(&self.programs.layerctl);
                    build.arg("build").arg(&trees).args(["--name", &name, "--version", "1"]);
                    build.args(["--format", format.name()]).arg("-o").arg(&image);
                    process::run(&mut build)?;
                }
                Ok(image)
            })
            .collect()
    }
}

/// Boots a machine with a copy of `disk` to the end of what is measured, and puts the copy at `to`, as a shut-down leaves it.
pub(super) fn run_on_copy(machine: Machine, disk: &Path, to: &Path) -> Result<(), BenchError> {
    let running = to.with_extension("running");
    process::run(process::command("cp").arg("--sparse=always").arg(disk).arg(&running))?;
    let mut guest = machine.drive(Drive::writable(&running)).start()?;
    guest.wait_for(END, DEADLINE)?;
    guest.wait_for_exit(DEADLINE)?;
    drop(guest);
    // What a shut-down does to the journal; status 1 says that there was something to do.
    let check = format!("e2fsck -p '{}' || [ $? = 1 ]", running.display());
    process::run(process::command("sh").args(["-c", &check]))?;
    Ok(files::rename(&running, to)?)
}

fn make_tree(tree: &Tree, dir: &Path) -> Result<(), BenchError> {
    let root = dir.join("tree");
    files::make_dir(&root)?;
    process::run(process::command("tar").arg("-xpf").arg(&tree.tar).arg("-C").arg(&root))?;
    for (place, text) in [(INIT.trim_start_matches('/'), SCRIPT)].iter().chain(&REPORT) {
        let mode = if place.contains("sbin") { "0755" } else { "0644" };
        files::write(&root.join(place), text)?;
        process::run(process::command("chmod").arg(mode).arg(root.join(place)))?;
    }
    let wants = root.join("usr/lib/systemd/system/multi-user.target.wants");
    files::make_dir(&wants)?;
    process::run(process::command("ln").args(["-s", "../bench-report.service"]).arg(&wants))?;
    files::make_dir(&root.join("usr/share/bench"))?;
    // The initramfs is Debian's own, made by the tree's own initramfs-tools with its default settings.
    let mut make = process::command("chroot");
    make.arg(&root).args(["mkinitramfs", "-o", "/debian.initrd", &tree.kernel_version]);
    process::run(&mut make)?;
    files::rename(&root.join("debian.initrd"), &dir.join("debian.initrd"))?;
    make_disk(Filesystem::Ext4, ROOT_LABEL, DISK_SIZE, &root, &dir.join("root.ext4"))?;
    let mut squash = process::command("mksquashfs");
    squash.arg(&root).arg(dir.join("base.squashfs")).args(["-comp", "zstd", "-no-progress"]);
    process::run(squash.args(["-Xcompression-level", "3", "-quiet"]))?;
    let mut erofs = process::command("mkfs.erofs");
    process::run(erofs.arg("-zlz4").arg(dir.join("base.erofs")).arg(&root))?;
    Ok(files::remove_tree(&root)?)
}
