//! How long a boot takes from /init to the system's own program, with more and more layers, and beside Debian's.

use super::BenchError;
use super::figure::{Figure, Goal, Unit};
use super::machines::{DEADLINE, END, Format, Machines};
use super::record::Boot;
use crate::vm::Machine;

/// How many layers the boots have.
const COUNTS: [usize; 7] = [1, 8, 32, 64, 128, 256, MANY];

/// From how many layers on the cost of one more is larger than the spread of the boots that it is the difference of.
const CLEAR: usize = 32;

/// How many files the /etc has that a new generation takes over.
const CHANGED: usize = 1_000;

/// The number of layers that a boot must manage, however long it takes.
const MANY: usize = 400;

/// One kind of boot and what was measured of it.
struct Series {
    name: String,
    machine: Machine,
    boots: Vec<Boot>,
}

impl Series {
    fn new(name: impl Into<String>, machine: Machine) -> Self {
        Self { name: name.into(), machine, boots: Vec::new() }
    }

    /// From /init to the exec of the root's own program, in milliseconds.
    fn took(&self) -> Vec<f64> {
        self.boots.iter().map(Boot::took).collect()
    }

    /// How long a step of the project's init took in each boot, in milliseconds.
    fn step(&self, name: &str) -> Vec<f64> {
        let steps = self.boots.iter().flat_map(|boot| &boot.steps);
        steps.filter(|(step, _)| step == name).map(|(_, took)| *took).collect()
    }
}

/// Boots each in turn, `runs` times, so that a busy moment of the host falls on all alike.
fn measure(series: &mut [Series], runs: usize) -> Result<(), BenchError> {
    for run in 1..=runs {
        for one in series.iter_mut() {
            let boot = boot(&one.machine)?.0;
            eprintln!("xtask: run {run}, {}: {:.0} ms", one.name, boot.took());
            one.boots.push(boot);
        }
    }
    Ok(())
}

/// Boots once; the record, and everything that the console said.
pub(super) fn boot(machine: &Machine) -> Result<(Boot, String), BenchError> {
    let mut guest = machine.start()?;
    guest.wait_for(END, DEADLINE)?;
    guest.wait_for_exit(DEADLINE)?;
    Ok((Boot::parse(guest.said())?, guest.said().to_owned()))
}

/// No layer, first boot and later ones, and Debian's initramfs in between.
pub(super) fn against_debian(machines: &Machines, runs: usize) -> Result<Vec<Figure>, BenchError> {
    let initrd = machines.initrd(None)?;
    let later = machines.state(Format::Squashfs, 0)?;
    let first = machines.new_state(Format::Squashfs, 0)?;
    let mut series = [
        Series::new("no layer", machines.machine(&initrd, &later)),
        Series::new("initramfs-tools", machines.debian()),
        Series::new(
            "no layer, EROFS",
            machines.machine(&initrd, &machines.state(Format::Erofs, 0)?),
        ),
        Series::new("no layer, first boot", machines.machine(&initrd, &first)),
    ];
    measure(&mut series, runs)?;
    let mut figures = Vec::new();
    for (at, one) in series.iter().enumerate() {
        let what = format!("/init → switch_root, {}", one.name);
        let figure = Figure::median(what, one.took(), Unit::Milliseconds);
        figures.push(if at == 1 { figure } else { figure.goal(Goal::AtMost(400.0)) });
    }
    let [ours, debian, ..] = &series;
    let pairs = ours.took().into_iter().zip(debian.took()).map(|(ours, debian)| debian / ours);
    let times = Figure::median("initramfs-tools ÷ no layer", pairs.collect(), Unit::Times);
    figures.push(times.goal(Goal::AtLeast(15.0)));
    figures.extend(steps(ours));
    Ok(figures)
}

/// The steps of the boot without a layer, as init logs them.
fn steps(series: &Series) -> Vec<Figure> {
    let Some(first) = series.boots.first() else { return Vec::new() };
    let figure = |name: &str| {
        Figure::median(
            format!("… of it by init's own clock: {name}"),
            series.step(name),
            Unit::Milliseconds,
        )
    };
    first.steps.iter().map(|(name, _)| figure(name)).collect()
}

/// Boots with more and more layers, and what each further one costs.
pub(super) fn layers(machines: &Machines, runs: usize) -> Result<Vec<Figure>, BenchError> {
    let initrd = machines.initrd(None)?;
    let mut figures = Vec::new();
    for format in [Format::Squashfs, Format::Erofs] {
        let mut series = Vec::new();
        for count in [0].into_iter().chain(COUNTS) {
            let name = format!("{count} {} layers", format.name());
            let state = machines.state(format, count)?;
            series.push(Series::new(name, machines.machine(&initrd, &state)));
        }
        measure(&mut series, runs)?;
        let Some((none, some)) = series.split_first() else { continue };
        for (one, count) in some.iter().zip(COUNTS) {
            let what = format!("/init → switch_root, {}", one.name);
            figures.push(Figure::median(&what, one.took(), Unit::Milliseconds).point(
                "By number of layers: /init → switch_root",
                format.name(),
                count as f64,
            ));
            if count >= CLEAR {
                figures.push(Figure::times(
                    format!("{what} ÷ no layer"),
                    &one.took(),
                    &none.took(),
                ));
            }
        }
        figures.extend(each_more(format, some));
    }
    Ok(figures)
}

/// What one more layer costs, beside the boot with a single one: that pays for the root overlay, which a base alone does
/// without.
fn each_more(format: Format, series: &[Series]) -> Vec<Figure> {
    let Some((single, more)) = series.split_first() else { return Vec::new() };
    let bound = match format {
        Format::Squashfs => 10.0,
        Format::Erofs => 3.0,
    };
    let counts = COUNTS.into_iter().skip(1).zip(more).filter(|(count, _)| *count >= CLEAR);
    counts
        .map(|(count, one)| {
            let pairs = one.took().into_iter().zip(single.took());
            let each = pairs.map(|(with, single)| (with - single) / (count - 1) as f64).collect();
            let what = format!("/init → switch_root, one more layer of {}", one.name);
            Figure::median(what, each, Unit::Milliseconds).goal(Goal::AtMost(bound))
        })
        .collect()
}

/// What a new generation's first boot takes for the files in the /etc that it continues.
pub(super) fn etc_clone(machines: &Machines, runs: usize) -> Result<Vec<Figure>, BenchError> {
    let initrd = machines.initrd(None)?;
    let mut series = Vec::new();
    for files in [0, CHANGED] {
        let name = format!("new generation, {files} files in the /etc before it");
        series.push(Series::new(name, machines.machine(&initrd, &machines.changed_etc(files)?)));
    }
    measure(&mut series, runs)?;
    let [without, with] = series.as_slice() else { return Ok(Vec::new()) };
    let mut figures = Vec::new();
    for one in [without, with] {
        let what = format!("/init → switch_root, {}", one.name);
        figures.push(Figure::median(what, one.took(), Unit::Milliseconds));
        let what = format!("… of it by init's own clock: generation, {}", one.name);
        figures.push(Figure::median(what, one.step("generation"), Unit::Milliseconds));
    }
    let pairs = with.step("generation").into_iter().zip(without.step("generation"));
    let more = pairs.map(|(with, without)| with - without).collect();
    let what = format!("first boot of a generation: more for {CHANGED} files in /etc");
    figures.push(Figure::median(what, more, Unit::Milliseconds).goal(Goal::AtMost(300.0)));
    Ok(figures)
}

/// Four hundred layers: all of them are seen from the root.
pub(super) fn many(machines: &Machines) -> Result<Vec<Figure>, BenchError> {
    let initrd = machines.initrd(None)?;
    let mut figures = Vec::new();
    for format in [Format::Squashfs, Format::Erofs] {
        let (boot, said) = boot(&machines.machine(&initrd, &machines.state(format, MANY)?))?;
        let seen = said.lines().find_map(|line| line.strip_prefix("bench: layers "));
        let seen = seen.and_then(|count| count.trim().parse().ok()).unwrap_or_default();
        let name = format.name();
        figures.push(
            Figure::exact(
                format!("{MANY} {name} layers installed: layers seen"),
                seen,
                Unit::Count,
            )
            .goal(Goal::AtLeast(MANY as f64)),
        );
        let time = boot.took();
        let what = format!("/init → switch_root, {MANY} {name} layers");
        figures.push(Figure::exact(what, time, Unit::Milliseconds));
    }
    Ok(figures)
}
