//! The rows of the comparison, ratios first.

use super::seen::{Seen, Started};
use super::{Series, Stages};
use crate::bench::BenchError;
use crate::bench::figure::{Figure, Unit};
use crate::files;

/// Boots to the root's own program: how the peers compare, then each boot stage by itself.
pub(super) fn to_program(
    all: &Stages<'_>,
    boots: &[Series<Seen>],
) -> Result<Vec<Figure>, BenchError> {
    let mut rows = ratios("/init → switch_root", boots, |seen| seen.boot.took());
    rows.extend(ratios("kernel's start → switch_root", boots, whole));
    rows.extend(ratios("memory touched up to switch_root", boots, |seen| seen.touched));
    for (what, value) in TIMES {
        rows.extend(values(what, boots, value, Unit::Milliseconds));
    }
    for series in boots.iter().filter(|series| is_first(boots, series)) {
        let size = files::size(&all.initrd(series.stage).usual)? as f64 / f64::from(1 << 20);
        let program = series.stage.program();
        rows.push(Figure::exact(format!("initramfs, {program}"), size, Unit::Mebibytes));
    }
    for (what, value) in AMOUNTS {
        rows.extend(values(what, boots, value, Unit::Mebibytes));
    }
    rows.extend(losses(boots, |seen| seen.layers));
    Ok(rows)
}

/// Boots with systemd, in the same order.
pub(super) fn to_multi_user(boots: &[Series<Started>]) -> Vec<Figure> {
    let what = "kernel's start → multi-user.target";
    let mut rows = ratios(what, boots, |seen| seen.multi_user);
    rows.extend(values(what, boots, |seen| seen.multi_user, Unit::Milliseconds));
    let own: Value<Started> = |seen| seen.multi_user - seen.userspace;
    rows.extend(values("… of it the root's own systemd", boots, own, Unit::Milliseconds));
    let finished: Value<Started> = |seen| seen.finished;
    rows.extend(values(
        "kernel's start → nothing left to start",
        boots,
        finished,
        Unit::Milliseconds,
    ));
    rows.extend(losses(boots, |seen| seen.layers));
    for series in boots {
        let failed: Vec<_> = series.runs.iter().flatten().flat_map(|seen| &seen.failed).collect();
        if let Some(unit) = failed.first() {
            let what = format!("units that failed, {}, the first {unit}", series.stage.name());
            rows.push(Figure::exact(what, failed.len() as f64, Unit::Count));
        }
    }
    rows
}

/// What is measured of one boot.
type Value<T> = fn(&T) -> f64;

const TIMES: [(&str, Value<Seen>); 3] = [
    ("/init → switch_root", |seen| seen.boot.took()),
    ("kernel's start → /init", |seen| seen.boot.before()),
    ("kernel's start → switch_root", whole),
];

const AMOUNTS: [(&str, Value<Seen>); 3] = [
    ("read from the disk up to switch_root", |seen| seen.read),
    ("memory touched up to switch_root", |seen| seen.touched),
    ("memory in use at switch_root", |seen| seen.used),
];

fn whole(seen: &Seen) -> f64 {
    seen.boot.before() + seen.boot.took()
}

/// Whether no stage before this one has the same initramfs.
fn is_first<T>(all: &[Series<T>], series: &Series<T>) -> bool {
    let first = all.iter().find(|one| one.stage.program() == series.stage.program());
    first.is_some_and(|first| first.stage == series.stage)
}

/// Each peer in terms of the project with as many layers, run by run.
pub(in crate::bench) fn ratios<T>(what: &str, all: &[Series<T>], value: Value<T>) -> Vec<Figure> {
    let ratio = |peer: &Series<T>| {
        let counterpart = peer.stage.counterpart()?;
        let ours = all.iter().find(|one| one.stage == counterpart)?;
        let pairs = peer
            .runs
            .iter()
            .zip(&ours.runs)
            .filter_map(|(peer, ours)| Some(value(peer.as_ref()?) / value(ours.as_ref()?)));
        let what = format!("{what}: {} ÷ {}", peer.stage.name(), counterpart.name());
        Some(Figure::median(what, pairs.collect(), Unit::Times))
    };
    all.iter().filter_map(ratio).filter(|figure| !figure.samples.is_empty()).collect()
}

/// Each boot stage by itself; none of those that never came to their end.
pub(in crate::bench) fn values<T>(
    what: &str,
    all: &[Series<T>],
    value: Value<T>,
    unit: Unit,
) -> Vec<Figure> {
    let figure = |series: &Series<T>| {
        let samples = series.runs.iter().flatten().map(value).collect();
        Figure::median(format!("{what}, {}", series.stage.name()), samples, unit)
    };
    all.iter().map(figure).filter(|figure| !figure.samples.is_empty()).collect()
}

/// Boots that did not come to their end, and roots that showed fewer layers than they were given.
pub(in crate::bench) fn losses<T>(all: &[Series<T>], layers: fn(&T) -> usize) -> Vec<Figure> {
    let mut rows = Vec::new();
    for Series { stage, runs } in all {
        let name = stage.name();
        let ended = runs.iter().flatten().count();
        if ended < runs.len() {
            let what = format!("boots that did not come to their end, {name}, of {}", runs.len());
            rows.push(Figure::exact(what, (runs.len() - ended) as f64, Unit::Count));
        }
        let seen = runs.iter().flatten().map(layers).min().unwrap_or(stage.layers());
        if seen != stage.layers() {
            let what = format!("layers seen, {name}");
            rows.push(Figure::exact(what, seen as f64, Unit::Count));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::machines::Format;
    use crate::bench::peers::Stage;

    fn series() -> Vec<Series<f64>> {
        let runs = |values: &[f64]| values.iter().map(|&value| Some(value)).collect();
        let ours = Series { stage: Stage::Ours(Format::Squashfs, 8), runs: runs(&[2.0, 4.0, 5.0]) };
        let mut live = Series { stage: Stage::Live(8), runs: runs(&[20.0, 36.0, 90.0]) };
        live.runs[2] = None;
        vec![ours, live, Series { stage: Stage::Dracut, runs: runs(&[1.0]) }]
    }

    #[test]
    fn a_peer_is_held_against_as_many_layers_of_the_same_run() {
        let ratios = ratios("boot", &series(), |value| *value);
        assert_eq!(ratios.len(), 1);
        assert_eq!(ratios[0].what, "boot: live-boot, 8 modules ÷ ours, squashfs, 8 layers");
        assert_eq!(ratios[0].samples, [10.0, 9.0]);
    }

    #[test]
    fn lost_boots_and_lost_layers_are_rows() {
        let rows = losses(&series(), |value| if *value == 36.0 { 7 } else { 8 });
        let said: Vec<_> = rows.iter().map(|row| (row.what.as_str(), row.value)).collect();
        let expected = [
            ("boots that did not come to their end, live-boot, 8 modules, of 3", 1.0),
            ("layers seen, live-boot, 8 modules", 7.0),
            ("layers seen, dracut dmsquash-live", 8.0),
        ];
        assert_eq!(said, expected);
    }
}
