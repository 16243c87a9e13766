//! Virtual machines: QEMU with a serial console that tests read and type on.
//!
//! ```no_run
//! # use std::path::Path;
//! # use std::time::Duration;
//! use tests::vm::{Drive, Machine};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (kernel, initrd, state) = (Path::new("k"), Path::new("i"), Path::new("s"));
//! let mut guest = Machine::new("first-boot", kernel, initrd)
//!     .drive(Drive::scratch(state))
//!     .append("layers.state=LABEL=layers")
//!     .start()?;
//! let mut shell = guest.log_in(Duration::from_secs(120))?;
//! assert_eq!(shell.check("systemctl --failed --no-legend")?, "");
//! shell.send("systemctl poweroff")?;
//! guest.wait_for_exit(Duration::from_secs(60))?;
//! # Ok(()) }
//! ```

mod console;
mod disk;
mod early;
mod esp;
mod firmware;
mod gpt;
mod guest;
mod plain;
mod proto;
mod secure_boot;
mod shell;

pub use crate::write_log::WriteLog;
pub use disk::{DiskError, Filesystem, make_disk};
pub use esp::Esp;
pub use firmware::{Firmware, OVMF};
pub use gpt::{Partition, Purpose, make_gpt};
pub use guest::Guest;
pub use secure_boot::Keys;
pub use shell::{Reply, Shell};

use crate::files::{self, FileError};
use crate::process;
use crate::write_log::SECTOR;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Chooses QEMU's accelerator: `LAYERCTL_TEST_ACCEL=kvm`; without it tcg, which runs everywhere.
pub const ACCELERATOR_VARIABLE: &str = "LAYERCTL_TEST_ACCEL";

/// A machine that did not do what was expected of it in time.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// QEMU could not be started.
    #[error("cannot start qemu-system-x86_64")]
    Start(#[source] io::Error),
    /// What was waited for did not come.
    #[error("{machine}: {expected} did not come within {seconds} s\n{console}")]
    Deadline {
        /// The machine's name.
        machine: String,
        /// What was waited for.
        expected: String,
        /// How long it was waited for.
        seconds: u64,
        /// The last lines of the console.
        console: String,
    },
    /// QEMU ended while something was waited for.
    #[error("{machine}: the machine ended before {expected} came\n{console}")]
    Ended {
        /// The machine's name.
        machine: String,
        /// What was waited for.
        expected: String,
        /// The last lines of the console.
        console: String,
    },
    /// The kernel failed before it started init, so nothing of the project had run.
    #[error("{machine}: the kernel failed before init was started: {line}\n{console}")]
    Early {
        /// The machine's name.
        machine: String,
        /// What the kernel said first.
        line: String,
        /// The last lines of the console.
        console: String,
    },
    /// Nothing more can be typed.
    #[error("{machine}: cannot write to the console")]
    Write {
        /// The machine's name.
        machine: String,
        /// What the system said.
        source: io::Error,
    },
    /// A command in the guest ended with a status other than 0.
    #[error("{machine}: `{command}` ended with status {status}\n{output}")]
    Status {
        /// The machine's name.
        machine: String,
        /// The command as typed.
        command: String,
        /// Its exit status.
        status: u8,
        /// What it wrote.
        output: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A disk of a machine: a raw image on virtio.
#[derive(Debug, Clone)]
pub struct Drive {
    image: PathBuf,
    access: Access,
}

#[derive(Debug, Clone)]
enum Access {
    ReadOnly,
    Scratch,
    Writable,
    Logged(PathBuf),
}

impl Drive {
    /// Nothing can be written.
    pub fn read_only(image: &Path) -> Self {
        Self { image: image.to_owned(), access: Access::ReadOnly }
    }

    /// Writes last as long as the machine, reboots included; the image stays as it is.
    pub fn scratch(image: &Path) -> Self {
        Self { image: image.to_owned(), access: Access::Scratch }
    }

    /// Writes go to the image.
    pub fn writable(image: &Path) -> Self {
        Self { image: image.to_owned(), access: Access::Writable }
    }

    /// Writes go to the image, and a record of each to the new file `log`, which [`WriteLog`] reads.
    pub fn logged(image: &Path, log: &Path) -> Result<Self, FileError> {
        files::write(log, "")?;
        Ok(Self { image: image.to_owned(), access: Access::Logged(log.to_owned()) })
    }

    /// QEMU's options for the disk with this number in its machine.
    fn options(&self, number: usize) -> Vec<String> {
        let image = value(&self.image);
        let simple = |access| {
            vec!["-drive".to_owned(), format!("file={image},format=raw,if=virtio,{access}")]
        };
        match &self.access {
            Access::ReadOnly => simple("readonly=on"),
            Access::Scratch => simple("snapshot=on"),
            Access::Writable => simple("cache=writeback"),
            Access::Logged(log) => {
                let (log, sector) = (value(log), SECTOR);
                let node = |text| ["-blockdev".to_owned(), text];
                [
                    node(format!("driver=file,node-name=disk{number},filename={image}")),
                    node(format!("driver=file,node-name=log{number},filename={log}")),
                    node(format!(
                        "driver=blklogwrites,node-name=logged{number},file=disk{number},log=log{number},\
                         log-sector-size={sector},log-append=off"
                    )),
                    ["-device".to_owned(), format!("virtio-blk-pci,drive=logged{number},write-cache=on")],
                ]
                .concat()
            }
        }
    }
}

/// A path as the value of one of QEMU's options: a comma ends a value; doubled, it is a comma.
fn value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// What a machine starts from.
#[derive(Debug, Clone)]
enum Start {
    /// QEMU itself loads the two and starts the kernel.
    Kernel { kernel: PathBuf, initrd: PathBuf },
    /// The firmware looks for a boot loader on the machine's disks.
    Firmware(Firmware),
}

/// A machine to be started.
#[derive(Debug, Clone)]
pub struct Machine {
    name: String,
    start: Start,
    drives: Vec<Drive>,
    append: Vec<String>,
    memory: u32,
    processors: u32,
    accelerator: Option<String>,
    extra: Vec<String>,
}

impl Machine {
    /// A machine with a kernel and an initramfs. `name` names its directory, target/vm/NAME.
    pub fn new(name: &str, kernel: &Path, initrd: &Path) -> Self {
        let start = Start::Kernel { kernel: kernel.to_owned(), initrd: initrd.to_owned() };
        Self::starting_from(start, name).append("console=ttyS0 panic=-1").append(QUICK_KERNEL)
    }

    /// A machine that starts as a real one does, from the first of its disks that has a boot loader.
    ///
    /// The entries on the disk say what the kernel's command line is; systemd-boot adds the words of
    /// [`append`](Self::append) behind them.
    pub fn firmware(name: &str, firmware: &Firmware) -> Self {
        let machine = Self::starting_from(Start::Firmware(firmware.clone()), name);
        machine.append("console=ttyS0").append(QUICK_KERNEL)
    }

    fn starting_from(start: Start, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            start,
            drives: Vec::new(),
            append: Vec::new(),
            memory: 1024,
            processors: 1,
            accelerator: None,
            extra: Vec::new(),
        }
    }

    /// Adds a disk; the first is /dev/vda.
    #[must_use]
    pub fn drive(mut self, drive: Drive) -> Self {
        self.drives.push(drive);
        self
    }

    /// Adds words to the kernel command line.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        self.append.push(words.to_owned());
        self
    }

    /// Adds what makes systemd start sooner and say less on an emulated machine, and leaves what is tested alone.
    #[must_use]
    pub fn quick_systemd(self) -> Self {
        QUICK_SYSTEMD.iter().fold(self, |machine, words| machine.append(words))
    }

    /// Sets the memory in MiB; 1024 where nothing is said.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Sets the number of processors; 1 where nothing is said.
    #[must_use]
    pub fn processors(mut self, count: u32) -> Self {
        self.processors = count;
        self
    }

    /// Sets the accelerator as QEMU's `-accel` has it, in place of the environment's.
    #[must_use]
    pub fn accelerator(mut self, accelerator: &str) -> Self {
        self.accelerator = Some(accelerator.to_owned());
        self
    }

    /// Adds options of QEMU's own.
    #[must_use]
    pub fn qemu(mut self, options: &[&str]) -> Self {
        self.extra.extend(options.iter().map(ToString::to_string));
        self
    }

    /// Starts the machine with its console in the caller's hands. It ends when the returned guest is dropped.
    pub fn start(&self) -> Result<Guest, VmError> {
        Guest::start(&self.name, &mut self.command(guest::SERIAL))
    }

    /// The command that runs the machine; `serial` is the value of QEMU's `-serial`.
    pub fn command(&self, serial: &str) -> Command {
        let accelerator = self.accelerator.clone().unwrap_or_else(accelerator_of_environment);
        let mut command = process::command("qemu-system-x86_64");
        command
            .args(["-nodefaults", "-no-user-config", "-M", "q35", "-display", "none"])
            .args(["-cpu", PROCESSOR, "-accel", &accelerator, "-serial", serial])
            .args(["-smp", &self.processors.to_string(), "-m", &self.memory.to_string()])
            .args(self.start_options())
            .args(self.drives.iter().enumerate().flat_map(|(number, drive)| drive.options(number)))
            .args(&self.extra);
        command
    }

    fn start_options(&self) -> Vec<String> {
        let words = self.append.join(" ");
        match &self.start {
            Start::Kernel { kernel, initrd } => {
                let (kernel, initrd) = (kernel.display().to_string(), initrd.display().to_string());
                ["-kernel", &kernel, "-initrd", &initrd, "-append", &words]
                    .map(str::to_owned)
                    .into()
            }
            Start::Firmware(firmware) => {
                // A string for systemd-boot in the tables that the firmware hands on (smbios-type-11(7), systemd 256).
                let extra =
                    format!("io.systemd.boot.kernel-cmdline-extra={words}").replace(',', ",,");
                let strings = ["-smbios".to_owned(), format!("type=11,value={extra}")];
                [firmware.options(), strings.into()].concat()
            }
        }
    }
}

/// All that QEMU can emulate but five levels of page tables, and the promise that strings are stored fast byte by byte: the
/// kernel then clears and copies pages with `rep stosb` and `rep movsb`, of which tcg does one byte at a time. Without it a
/// boot takes a fifth less of the host's processor, and the way from /init to the root half.
const PROCESSOR: &str = "max,la57=off,erms=off,fsrm=off";

/// Words for the kernel command line: no tests of its ciphers and no guard against faults of processors, which an emulated
/// one does not have. With five levels of page tables left out too, a boot takes a tenth less.
const QUICK_KERNEL: &str = "cryptomgr.notests mitigations=off";

/// Words for the kernel command line: console settings without questions to a terminal that isn't there, and fewer units.
pub const QUICK_SYSTEMD: &[&str] = &[
    "systemd.log_color=no",
    "systemd.tty.term.console=dumb systemd.tty.rows.console=24 systemd.tty.columns.console=200",
    "systemd.tty.term.ttyS0=dumb systemd.tty.rows.ttyS0=24 systemd.tty.columns.ttyS0=200",
    "systemd.mask=getty@tty1.service systemd.mask=modprobe@drm.service systemd.mask=modprobe@fuse.service",
    "systemd.mask=modprobe@configfs.service systemd.mask=modprobe@efi_pstore.service",
    "systemd.mask=sys-kernel-debug.mount systemd.mask=sys-kernel-tracing.mount systemd.mask=dev-mqueue.mount",
    "systemd.mask=dev-hugepages.mount systemd.mask=user@0.service",
];

#[expect(clippy::disallowed_methods, reason = "the environment is the user's way to say it")]
fn accelerator_of_environment() -> String {
    match std::env::var(ACCELERATOR_VARIABLE) {
        Ok(name) if !name.is_empty() && name != "tcg" => name,
        _ => "tcg,thread=multi".to_owned(),
    }
}
