//! What the changes cost, as ratios for the report and as a matrix of all figures.

use super::payload::Payload;
use super::peer::PEERS;
use crate::bench::BenchError;
use crate::bench::figure::{Figure, Goal, Unit};
use crate::files;
use crate::write_log::Entry;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// A change whose cost counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    /// The payload is there afterwards.
    Install,
    /// Back to what was before, with the payload kept.
    Rollback,
    /// The payload is not there afterwards.
    Remove,
}

impl Change {
    const ALL: [Self; 3] = [Self::Install, Self::Rollback, Self::Remove];

    fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Rollback => "rollback",
            Self::Remove => "remove",
        }
    }
}

/// What reached the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Traffic {
    /// Bytes, until everything was on the disk; the file system's own and its journal's among them.
    pub(super) bytes: u64,
    /// Flushes until the program said that it was done. Without any, a power cut right afterwards may undo the change.
    pub(super) flushes: u64,
}

impl Traffic {
    /// Adds up requests: what came before the program ended, and what came until all was on the disk.
    pub(super) fn of(own: &[Entry], all: &[Entry]) -> Self {
        let flushes = own.iter().filter(|entry| entry.flushes() || entry.is_forced());
        Self { bytes: all.iter().map(Entry::length).sum(), flushes: flushes.count() as u64 }
    }
}

/// One change by one peer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Cost {
    /// Seconds until it was done and on the disk, of each run.
    seconds: Vec<f64>,
    traffic: Traffic,
}

impl Cost {
    fn median(&self) -> f64 {
        Figure::median("", self.seconds.clone(), Unit::Seconds).value
    }
}

/// What every peer's changes with one payload cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Costs(BTreeMap<(&'static str, Change), Cost>);

impl Costs {
    /// Adds the seconds that a change took in one run.
    pub(super) fn time(&mut self, peer: &'static str, change: Change, seconds: f64) {
        self.0.entry((peer, change)).or_default().seconds.push(seconds);
    }

    /// Notes what a change wrote.
    pub(super) fn traffic(&mut self, peer: &'static str, change: Change, traffic: Traffic) {
        self.0.entry((peer, change)).or_default().traffic = traffic;
    }

    fn get(&self, peer: &'static str, change: Change) -> Option<&Cost> {
        self.0.get(&(peer, change))
    }

    /// For each run the seconds of one peer in terms of those of another.
    fn ratio(&self, peer: &'static str, to: &'static str, change: Change) -> Option<Vec<f64>> {
        let (one, other) = (self.get(peer, change)?, self.get(to, change)?);
        Some(one.seconds.iter().zip(&other.seconds).map(|(one, other)| one / other).collect())
    }
}

/// The costs of all payloads.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    pub(super) rows: Vec<(Payload, Costs)>,
}

impl Matrix {
    /// The ratios, then what the project's own changes take.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let [ours, limit, ..] = PEERS.each_ref().map(|peer| peer.name);
        let mut figures = Vec::new();
        for (payload, costs) in &self.rows {
            if let Some(ratios) = costs.ratio(ours, limit, Change::Install) {
                let what = format!("install of {payload}: {ours} ÷ {limit}, both until on disk");
                let figure = Figure::median(what, ratios, Unit::Times);
                figures.push(figure.goal(Goal::AtMost(1.2)));
            }
        }
        for (payload, costs) in &self.rows {
            for change in Change::ALL {
                for peer in PEERS.iter().skip(2) {
                    let Some(ratios) = costs.ratio(peer.name, ours, change) else { continue };
                    let what = format!("{} of {payload}: {} ÷ {ours}", change.name(), peer.name);
                    figures.push(Figure::median(what, ratios, Unit::Times));
                }
            }
        }
        for (payload, costs) in &self.rows {
            for change in Change::ALL {
                let Some(cost) = costs.get(ours, change) else { continue };
                let what = format!("{} of {payload}, {ours}", change.name());
                let bytes = cost.traffic.bytes as f64;
                let flushes = cost.traffic.flushes as f64;
                figures.push(Figure::median(&what, cost.seconds.clone(), Unit::Seconds));
                figures.push(Figure::exact(format!("… bytes written, {what}"), bytes, Unit::Bytes));
                figures.push(Figure::exact(format!("… flushes, {what}"), flushes, Unit::Count));
            }
        }
        figures
    }

    /// Writes changes.md and changes.json into a directory.
    pub(super) fn write(&self, dir: &Path) -> Result<(), BenchError> {
        files::write(&dir.join("changes.md"), self.to_string())?;
        #[derive(Serialize)]
        struct Row<'a> {
            payload: String,
            peer: &'static str,
            change: Change,
            #[serde(flatten)]
            cost: &'a Cost,
        }
        let rows: Vec<_> = self
            .rows
            .iter()
            .flat_map(|(payload, costs)| {
                costs.0.iter().map(|(&(peer, change), cost)| Row {
                    payload: payload.to_string(),
                    peer,
                    change,
                    cost,
                })
            })
            .collect();
        Ok(files::write(&dir.join("changes.json"), serde_json::to_vec_pretty(&rows)?)?)
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
        writeln!(f, "Seconds until on disk, MiB written, flushes of its own.\n")?;
        writeln!(f, "| payload | change | {} |", names.join(" | "))?;
        writeln!(f, "|---|---|{}", "---:|".repeat(names.len()))?;
        for (payload, costs) in &self.rows {
            for change in Change::ALL {
                let cells = names.iter().map(|name| costs.get(name, change).map(cell));
                let cells: Vec<_> = cells.map(|cell| cell.unwrap_or_else(|| "–".into())).collect();
                writeln!(f, "| {payload} | {} | {} |", change.name(), cells.join(" | "))?;
            }
        }
        Ok(())
    }
}

/// `0.16 s, 50.1 MiB, 12`
fn cell(cost: &Cost) -> String {
    let mebibytes = cost.traffic.bytes as f64 / f64::from(1 << 20);
    format!("{:.3} s, {mebibytes:.2} MiB, {}", cost.median(), cost.traffic.flushes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        let mut costs = Costs::default();
        for (ours, limit, ostree) in [(1.0, 2.0, 3.0), (1.0, 1.0, 5.0), (2.0, 2.0, 4.0)] {
            costs.time("layerctl", Change::Install, ours);
            costs.time("cp and sha256sum", Change::Install, limit);
            costs.time("ostree", Change::Install, ostree);
        }
        let traffic = Traffic { bytes: 3 << 20, flushes: 7 };
        costs.traffic("layerctl", Change::Install, traffic);
        Matrix { rows: vec![(Payload { mebibytes: 1, files: 1 }, costs)] }
    }

    #[test]
    fn ratios_are_of_neighbours() {
        let figures = matrix().figures();
        let found: Vec<_> = figures.iter().map(|f| (f.what.as_str(), f.value)).collect();
        assert_eq!(
            found,
            [
                (
                    "install of 1 MiB in 1 file: layerctl ÷ cp and sha256sum, both until on disk",
                    1.0
                ),
                ("install of 1 MiB in 1 file: ostree ÷ layerctl", 3.0),
                ("install of 1 MiB in 1 file, layerctl", 1.0),
                ("… bytes written, install of 1 MiB in 1 file, layerctl", 3_145_728.0),
                ("… flushes, install of 1 MiB in 1 file, layerctl", 7.0),
            ]
        );
    }

    #[test]
    fn a_peer_without_a_change_has_a_dash() {
        let text = matrix().to_string();
        let rows: Vec<_> = text.lines().skip(4).collect();
        let install = "| 1 MiB in 1 file | install | 1.000 s, 3.00 MiB, 7 | 2.000 s, 0.00 MiB, 0 | – | \
            4.000 s, 0.00 MiB, 0 | – | – |";
        assert_eq!(rows[0], install);
        assert_eq!(rows[1], "| 1 MiB in 1 file | rollback | – | – | – | – | – | – |");
    }
}
