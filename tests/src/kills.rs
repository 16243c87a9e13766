//! Power cuts: QEMU is killed at moments that follow from a seed, while a machine boots or while changes are made in it, and
//! boots again from what is on its disk.
//!
//! The host keeps what QEMU has written, so this is the loss of the machine's memory, not of its disk's cache: what a disk
//! may lose or reorder is for the suite on write logs.
//!
//! ```text
//! disk → boot → changes in a loop → SIGKILL → copy: replay, fsck, read the store → disk → boot …
//! ```

mod check;
mod report;

pub use report::Report;

use crate::artefacts::Artefacts;
use crate::files::{self, FileError};
use crate::process::{self, ProcessError};
use crate::seed::Seed;
use crate::vm::{DiskError, Drive, Filesystem, Guest, Machine, VmError, make_disk};
use crate::workspace::Workspace;
use report::{Moment, Round};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Long enough for a boot to a shell on a machine that is busy with other things; it takes 4 s where it is not.
const BOOT: Duration = Duration::from_secs(180);

/// Long enough for systemd to reach its default target on a busy machine.
const SYSTEMD: Duration = Duration::from_secs(400);

/// The size of the disk in MiB.
const DISK: u64 = 512;

/// One round of three is killed so long after power-on at most: before a shell is there, as a rule.
const IN_BOOT: u64 = 4_500;

/// The others are killed so long after the shell is there at most, all in milliseconds.
const IN_CHANGES: u64 = 6_000;

/// What each change is followed by on the console.
const CHANGED: &str = "@changed";

/// Changes without end. What one of them says no to, since a kill took the one before, is no failure; what must never be said
/// is looked for on the console.
const CHANGES: &str = r#"cd /run/initramfs/layers/state/images; n=0; c() { layerctl "$@" 2>&1; echo "@changed $?"; }; while :; do
n=$((n+1)); echo $n >/etc/mine; echo $n >/var/mine; c mark-good; c install htop_*.img; c set create web htop; c pin 1; c install jq_*.img tree_*.img;
c rollback; c unpin 1; c install --try-once tree_*.img; c set delete web; c uninstall htop; c reset --var; c reset --cancel; c cleanup --keep 2; done
"#;

/// Why no machine could be killed.
#[derive(Debug, thiserror::Error)]
pub enum KillsError {
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The disk image failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A machine could not be started.
    #[error(transparent)]
    Vm(#[from] VmError),
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many machines are killed.
    pub count: u32,
    /// What the moments follow from.
    pub seed: u64,
}

/// Kills machines that boot from one disk, one after the other, and boots it whole at the end.
pub fn run(
    workspace: &Workspace,
    artefacts: &Artefacts,
    options: Options,
) -> Result<Report, KillsError> {
    let dir = workspace.machine("kills");
    files::make_dir(&dir)?;
    let place = tempfile::TempDir::new_in(&dir)
        .map_err(|error| FileError::new("make a directory in", &dir, error))?;
    let kills = Kills { artefacts, place: place.path(), disk: place.path().join("disk.img") };
    kills.fill_disk()?;
    let mut seed = Seed::new(options.seed);
    let mut report = Report::new(options);
    for number in 1..=options.count {
        let round = kills.round(number, &mut seed)?;
        eprintln!("{round}");
        let is_over = round.wrong.is_some();
        report.rounds.push(round);
        if is_over {
            // What comes after it on this disk would prove nothing.
            kills.keep_disk(&dir)?;
            return Ok(report);
        }
    }
    report.last = kills.whole_boot()?;
    if report.last.is_some() {
        kills.keep_disk(&dir)?;
    }
    Ok(report)
}

/// When a machine is killed.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// So long after power-on.
    Boot(Duration),
    /// So long after its shell is there.
    Changes(Duration),
}

impl Plan {
    fn draw(seed: &mut Seed) -> Self {
        let after = |seed: &mut Seed, most| Duration::from_millis(seed.below(most));
        match seed.below(3) {
            0 => Self::Boot(after(seed, IN_BOOT)),
            _ => Self::Changes(after(seed, IN_CHANGES)),
        }
    }
}

struct Kills<'a> {
    artefacts: &'a Artefacts,
    place: &'a Path,
    disk: PathBuf,
}

impl Kills<'_> {
    /// A store with the base, and the layers' images beside it.
    fn fill_disk(&self) -> Result<(), KillsError> {
        let state = self.place.join("state");
        let mut copy = process::command("cp");
        process::run(copy.arg("-a").arg(&self.artefacts.state).arg(&state))?;
        let mut copy = process::command("cp");
        process::run(copy.arg("-a").arg(&self.artefacts.layers).arg(state.join("images")))?;
        Ok(make_disk(Filesystem::Ext4, "layers", DISK, &state, &self.disk)?)
    }

    /// The disk of a round that went wrong, for whoever looks into it.
    fn keep_disk(&self, dir: &Path) -> Result<(), KillsError> {
        let kept = dir.join("disk.img");
        files::rename(&self.disk, &kept)?;
        eprintln!("the disk is kept: {}", kept.display());
        Ok(())
    }

    fn machine(&self) -> Machine {
        Machine::new("kills", &self.artefacts.kernel, &self.artefacts.initrd)
            .drive(Drive::writable(&self.disk))
    }

    fn round(&self, number: u32, seed: &mut Seed) -> Result<Round, KillsError> {
        let plan = Plan::draw(seed);
        let mut guest = self.machine().append("init=/bin/sh").start()?;
        let wrong = drive(&mut guest, plan);
        let said = guest.said().to_owned();
        // The kill: dropping a machine sends its process SIGKILL.
        drop(guest);
        let moment = Moment::of(&said);
        let changes = said.matches(&format!("\n{CHANGED} ")).count();
        let wrong = match wrong.or_else(|| said_wrong(&said)) {
            Some(wrong) => Some(wrong),
            None => check::disk(&self.disk, self.place)?,
        };
        Ok(Round { number, moment, changes, wrong })
    }

    /// The whole system comes up, and says of its store that it is sound.
    fn whole_boot(&self) -> Result<Option<String>, KillsError> {
        let mut guest = self.machine().quick_systemd().start()?;
        let mut looked = || -> Result<(), VmError> {
            let mut shell = guest.log_in(SYSTEMD)?;
            shell.set_deadline(SYSTEMD);
            shell.check("layerctl verify && layerctl status")?;
            // Work directories of the boots that were killed are gone by then.
            shell.check("layerctl cleanup --keep 1 && layerctl verify")?;
            shell.check("test \"$(systemctl is-system-running --wait)\" = running")?;
            shell.send("systemctl poweroff")?;
            guest.wait_for_exit(SYSTEMD)
        };
        match looked() {
            Err(error) => Ok(Some(format!("the whole boot: {error}"))),
            Ok(()) => check::disk(&self.disk, self.place),
        }
    }
}

/// Lets a machine run up to its moment; gives what went wrong before that.
fn drive(guest: &mut Guest, plan: Plan) -> Option<String> {
    let after = match plan {
        Plan::Boot(after) => after,
        Plan::Changes(after) => {
            // This boot shows that the last round's disk boots.
            let typed = guest.bare_shell(BOOT).and_then(|mut shell| shell.send(CHANGES));
            if let Err(error) = typed {
                return Some(format!("the next boot did not come up: {error}"));
            }
            after
        }
    };
    // Nobody says this: it is waited for until the moment has come.
    match guest.wait_for("@never", after) {
        Err(VmError::Deadline { .. } | VmError::Early { .. }) => None,
        Err(error) => Some(error.to_string()),
        Ok(_) => None,
    }
}

/// A line that no machine may say, if it did.
fn said_wrong(said: &str) -> Option<String> {
    const NEVER: [&str; 5] = [
        "panicked at",
        "Kernel panic",
        "nothing could be started",
        "EXT4-fs error",
        "this is a defect of layerctl",
    ];
    let line = said.lines().find(|line| NEVER.iter().any(|never| line.contains(never)))?;
    // The kernel's own faults on an emulated processor come before init; they are not the project's.
    said.contains("layers-init: ").then(|| format!("the machine said: {line}"))
}
