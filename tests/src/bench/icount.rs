//! Boot stages in instructions: a machine whose clock is the number of instructions that its processor has executed, one in a
//! nanosecond, so that a figure does not depend on what else the host does.
//!
//! QEMU's `-icount shift=0,sleep=off` counts instructions, not caches and not disks. A disk on virtio answers when the host
//! gets round to it, so the disk is persistent memory here, which the processor reads by itself. What is left of chance is
//! the text of the command line and the random numbers: each run has another seed.

use super::BenchError;
use super::figure::{Figure, Unit};
use super::machines::{APPEND, Format, Machines};
use super::peers::{self, Seen, Series, Stage, Stages, rows};
use crate::base::Tree;
use crate::vm::Machine;
use crate::workspace::Workspace;
use std::path::Path;

/// The numbers of layers.
const COUNTS: [usize; 3] = [0, FEW, 32];

/// Those of the project alone, whose cost is to grow in proportion.
const MORE: [usize; 2] = [MANY, 400];

/// What one more layer costs is told from boots with this many: the first pays for what all share.
const FEW: usize = 8;

/// As many layers as a system may well have.
const MANY: usize = 128;

/// Bytes of a disk in memory: the size of all disks, a multiple of 2 MiB.
const SIZE: &str = "1024M";

/// Measures the boot stages; `runs` is the number of seeds.
pub(super) fn measure(
    workspace: &Workspace,
    tree: &Tree,
    machines: &Machines,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let all = Stages::build(workspace, tree, machines)?;
    let more = Format::ALL.into_iter().flat_map(|format| MORE.map(|n| Stage::Ours(format, n)));
    let stages: Vec<_> = peers::stages(&COUNTS).into_iter().chain(more).collect();
    let series = peers::in_turns(&stages, runs, |stage, seed| boot(&all, stage, seed))?;
    let what = "instructions, /init → switch_root";
    let mut figures = rows::ratios(what, &series, |seen| seen.boot.took());
    figures.extend(rows::ratios("instructions, kernel's start → switch_root", &series, |seen| {
        seen.boot.before() + seen.boot.took()
    }));
    figures.extend(rows::values(what, &series, millions, Unit::Millions));
    let what = "instructions, kernel's start → /init";
    figures.extend(rows::values(what, &series, |seen| seen.boot.before(), Unit::Millions));
    figures.extend(series.iter().filter_map(|many| each_more(&series, many)));
    figures.extend(rows::losses(&series, |seen| seen.layers));
    figures.extend(whole(&all)?);
    Ok(figures)
}

/// Whole boots with systemd, each once: with the same disk and seed they end at the same millisecond.
fn whole(all: &Stages<'_>) -> Result<Vec<Figure>, BenchError> {
    let more = Format::ALL.map(|format| Stage::Ours(format, MANY));
    let stages: Vec<_> = peers::stages(&peers::USER_COUNTS).into_iter().chain(more).collect();
    let series = peers::in_turns(&stages, 1, |stage, seed| {
        peers::started(machine(all, stage, &peers::settled(all, stage)?, seed), stage)
    })?;
    let what = "instructions, kernel's start → nothing left to start";
    let mut figures = rows::ratios(what, &series, |seen| seen.finished);
    figures.extend(rows::values(what, &series, |seen| seen.finished, Unit::Millions));
    figures.extend(rows::losses(&series, |seen| seen.layers));
    Ok(figures)
}

/// What one more layer costs in a boot of the project with many.
fn each_more(all: &[Series<Seen>], many: &Series<Seen>) -> Option<Figure> {
    let Stage::Ours(format, count) = many.stage else { return None };
    let further = count.checked_sub(FEW).filter(|further| *further > 0)?;
    let few = all.iter().find(|one| one.stage == Stage::Ours(format, FEW))?;
    let pairs = many.runs.iter().flatten().zip(few.runs.iter().flatten());
    let each = pairs.map(|(many, few)| (millions(many) - millions(few)) / further as f64);
    let what = format!("instructions, one more layer of {}", many.stage.name());
    Some(Figure::median(what, each.collect(), Unit::Millions))
}

/// A millisecond of the machine's clock is a million instructions.
fn millions(seen: &Seen) -> f64 {
    seen.boot.took()
}

/// Boots to the root's own program.
fn boot(all: &Stages<'_>, stage: Stage, seed: usize) -> Result<Seen, BenchError> {
    let machine = machine(all, stage, &all.disk(stage)?, seed);
    let mut guest = machine.append(&peers::to_bench_init(stage)).start()?;
    peers::end(&mut guest)?;
    Seen::parse(guest.said(), 0.0)
}

/// A machine whose clock is the number of its instructions, with a disk in memory.
fn machine(all: &Stages<'_>, stage: Stage, disk: &Path, seed: usize) -> Machine {
    let disk = disk.display().to_string().replace(',', ",,");
    // Not shared: what is written stays in this process.
    let memory = format!("memory-backend-file,id=disk,mem-path={disk},size={SIZE},share=off");
    let words = [APPEND, "nokaslr", &stage.words("/dev/pmem0")];
    Machine::new("bench-icount", all.machines().kernel(), &all.initrd(stage).pmem)
        .accelerator("tcg,thread=single")
        .append(&words.join(" "))
        .qemu(&["-icount", "shift=0,sleep=off", "-machine", "hpet=off,nvdimm=on"])
        .qemu(&["-m", "slots=2,maxmem=3G", "-rtc", "clock=vm,base=2026-01-01T00:00:00"])
        .qemu(&["-seed", &seed.to_string(), "-object", &memory])
        .qemu(&["-device", "nvdimm,memdev=disk"])
}
