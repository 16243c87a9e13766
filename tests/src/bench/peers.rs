//! The boot stage beside those of others: the same machine, kernel, tree and images, each with its own initramfs.

mod disks;
mod initrds;
pub(super) mod rows;
mod seen;
mod stage;

pub(super) use seen::Seen;
pub(super) use stage::{Stage, Stages};

use super::BenchError;
use super::figure::Figure;
use super::machines::{APPEND, END, Format, INIT, Machines, run_on_copy};
use super::record::EVENTS;
use crate::base::Tree;
use crate::files;
use crate::vm::{Drive, Guest, Machine};
use crate::workspace::Workspace;
use seen::Started;
use std::path::PathBuf;
use std::time::Duration;

/// How long a boot of any kind may take: an initramfs with systemd and 128 layers, on a busy machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(600);

/// The numbers of layers.
pub(super) const COUNTS: [usize; 4] = [0, 8, 32, 128];

/// The numbers of layers in boots with systemd, which take long.
pub(super) const USER_COUNTS: [usize; 2] = [0, 32];

/// One kind of boot and what was seen of it, run by run; `None` is a boot that did not come to its end.
#[derive(Debug)]
pub(super) struct Series<T> {
    /// Which.
    pub(super) stage: Stage,
    /// What was seen.
    pub(super) runs: Vec<Option<T>>,
}

/// All boot stages with these numbers of layers, the project's first.
pub(super) fn stages(counts: &[usize]) -> Vec<Stage> {
    let each = |make: &dyn Fn(usize) -> Stage| counts.iter().map(|&n| make(n)).collect::<Vec<_>>();
    let ours = [Format::Squashfs, Format::Erofs].map(|format| each(&|n| Stage::Ours(format, n)));
    let single = [Stage::InitramfsTools, Stage::Overlayroot, Stage::Dracut].to_vec();
    [ours.concat(), single, each(&Stage::Live), each(&Stage::Sysext)].concat()
}

/// Boots each in turn, `runs` times, so that a busy moment of the host falls on all alike.
///
/// A peer that does not come to its end counts as one that did not, and the others go on; the project's own has to.
pub(super) fn in_turns<T>(
    stages: &[Stage],
    runs: usize,
    boot: impl Fn(Stage, usize) -> Result<T, BenchError>,
) -> Result<Vec<Series<T>>, BenchError> {
    let mut series: Vec<_> =
        stages.iter().map(|&stage| Series { stage, runs: Vec::new() }).collect();
    for run in 1..=runs {
        for one in &mut series {
            eprintln!("xtask: run {run}, {}", one.stage.name());
            one.runs.push(match boot(one.stage, run) {
                Err(error) if one.stage.counterpart().is_some() => {
                    eprintln!("xtask: {}: {error}", one.stage.name());
                    None
                }
                result => Some(result?),
            });
        }
    }
    Ok(series)
}

/// Measures the boot stages to the root's own program.
pub(super) fn to_program(
    workspace: &Workspace,
    tree: &Tree,
    machines: &Machines,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let all = Stages::build(workspace, tree, machines)?;
    let boots = in_turns(&stages(&COUNTS), runs, |stage, _| boot(&all, stage))?;
    rows::to_program(&all, &boots)
}

/// Measures whole boots, with systemd.
pub(super) fn to_multi_user(
    workspace: &Workspace,
    tree: &Tree,
    machines: &Machines,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let all = Stages::build(workspace, tree, machines)?;
    let boots = in_turns(&stages(&USER_COUNTS), runs, |stage, _| multi_user(&all, stage))?;
    Ok(rows::to_multi_user(&boots))
}

/// A stage's machine, but for its disk.
fn machine(all: &Stages<'_>, stage: Stage) -> Machine {
    let machine = Machine::new("bench-peers", all.machines().kernel(), &all.initrd(stage).usual);
    machine.append(&format!("{APPEND} {}", stage.words("/dev/vda")))
}

/// Boots to the root's own program, and looks at the machine's memory at that moment.
fn boot(all: &Stages<'_>, stage: Stage) -> Result<Seen, BenchError> {
    let machine = machine(all, stage)
        .drive(Drive::scratch(&all.disk(stage)?))
        .append(&format!("{} bench.wait", to_bench_init(stage)))
        // Shared memory comes in pages of 4 KiB, the usual kind in ones of 2 MiB.
        .qemu(&["-object", "memory-backend-memfd,id=ram,size=1024M,share=on"])
        .qemu(&["-machine", "memory-backend=ram"]);
    let mut guest = machine.start()?;
    guest.wait_for("bench: waits", DEADLINE)?;
    let touched = seen::touched(guest.process())?;
    guest.type_in("\n")?;
    end(&mut guest)?;
    Seen::parse(guest.said(), touched)
}

/// The words for a boot that ends in bench-init.
pub(super) fn to_bench_init(stage: Stage) -> String {
    let merge = if matches!(stage, Stage::Sysext(1..)) { " bench.sysext" } else { "" };
    format!("init={INIT} trace_event={EVENTS}{merge}")
}

/// Boots until systemd has nothing left to start.
fn multi_user(all: &Stages<'_>, stage: Stage) -> Result<Started, BenchError> {
    let disk = Drive::scratch(&settled(all, stage)?);
    started(machine(all, stage).drive(disk), stage)
}

/// Boots a machine until systemd has nothing left to start.
pub(super) fn started(machine: Machine, stage: Stage) -> Result<Started, BenchError> {
    let mut guest = with_systemd(machine, stage).start()?;
    end(&mut guest)?;
    Started::parse(guest.said())
}

fn with_systemd(machine: Machine, stage: Stage) -> Machine {
    let merge = if matches!(stage, Stage::Sysext(1..)) {
        "systemd.wants=systemd-sysext.service"
    } else {
        ""
    };
    machine.quick_systemd().append(&format!("bench.report {merge}"))
}

/// A stage's disk. Where what its system writes is kept, it has started once: the first time with other images it makes
/// ld.so.cache, the journal's catalogue and the like anew.
pub(super) fn settled(all: &Stages<'_>, stage: Stage) -> Result<PathBuf, BenchError> {
    let new = all.disk(stage)?;
    if !stage.keeps() {
        return Ok(new);
    }
    let settled = new.with_extension("settled");
    if !files::exists(&settled) {
        eprintln!("xtask: a first boot of {}", stage.name());
        run_on_copy(with_systemd(machine(all, stage), stage), &new, &settled)?;
    }
    Ok(settled)
}

/// Waits for the end of a measured boot.
pub(super) fn end(guest: &mut Guest) -> Result<(), BenchError> {
    guest.wait_for(END, DEADLINE)?;
    Ok(guest.wait_for_exit(DEADLINE)?)
}
