//! The baseline, and what is said of figures that differ from it. No effects.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How much a figure may rise where the baseline says nothing, in per cent.
pub(super) const USUAL_SLACK: u64 = 10;

/// Why a baseline is not understood.
pub type BaselineError = toml::de::Error;

/// Figures by their names, which end in their units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<String, u64>);

impl Figures {
    /// Adds a figure.
    pub(super) fn set(&mut self, name: impl Into<String>, value: u64) {
        self.0.insert(name.into(), value);
    }

    /// Adds others.
    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

/// What the figures were when somebody last agreed to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    slack: u64,
    figures: Figures,
}

impl Baseline {
    /// A baseline that allows `slack` per cent above it.
    pub(super) fn new(slack: u64, figures: Figures) -> Self {
        Self { slack, figures }
    }

    /// Reads tests/gate.toml: `slack` in per cent, and the table `figures`.
    pub fn parse(text: &str) -> Result<Self, BaselineError> {
        toml::from_str(text)
    }

    /// How much a figure may rise, in per cent.
    pub fn slack(&self) -> u64 {
        self.slack
    }

    /// Holds figures against this.
    pub fn compare(&self, found: &Figures) -> Report {
        let names: BTreeSet<&String> = self.figures.0.keys().chain(found.0.keys()).collect();
        let row = |name: &String| {
            let (was, is) = (self.figures.0.get(name).copied(), found.0.get(name).copied());
            Row { name: name.clone(), was, is, verdict: self.judge(was, is) }
        };
        Report { rows: names.into_iter().map(row).collect(), slack: self.slack }
    }

    fn judge(&self, was: Option<u64>, is: Option<u64>) -> Verdict {
        let (Some(was), Some(is)) = (was, is) else {
            return if was.is_some() { Verdict::Gone } else { Verdict::New };
        };
        let room = was.saturating_mul(self.slack) / 100;
        if is > was.saturating_add(room) {
            Verdict::Rose
        } else if is < was.saturating_sub(room) {
            Verdict::Fell
        } else {
            Verdict::Same
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# What `cargo xtask gate` holds new figures against: docs/regressions.md")?;
        writeln!(f, "slack = {}\n\n[figures]", self.slack)?;
        self.figures.0.iter().try_for_each(|(name, value)| writeln!(f, "{name:?} = {value}"))
    }
}

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is within the slack.
    Same,
    /// It is below.
    Fell,
    /// It is above.
    Rose,
    /// The baseline does not have it.
    New,
    /// It is not measured any more.
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    name: String,
    was: Option<u64>,
    is: Option<u64>,
    verdict: Verdict,
}

/// Figures beside their baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    rows: Vec<Row>,
    slack: u64,
}

impl Report {
    /// How many figures rose, or are in one of the two alone.
    pub fn failures(&self) -> usize {
        let fails = |row: &&Row| !matches!(row.verdict, Verdict::Same | Verdict::Fell);
        self.rows.iter().filter(fails).count()
    }
}

impl fmt::Display for Report {
    /// A table, then a line for each figure that is not within the slack.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let longest = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        writeln!(f, "{:longest$} {:>12} {:>12}", "figure", "baseline", "now")?;
        for row in &self.rows {
            writeln!(f, "{:longest$} {:>12} {:>12}", row.name, number(row.was), number(row.is))?;
        }
        for row in &self.rows {
            let (was, is) = (row.was.unwrap_or_default(), row.is.unwrap_or_default());
            let name = &row.name;
            match row.verdict {
                Verdict::Same => continue,
                Verdict::Rose => {
                    write!(f, "ROSE: {name}, from {was} to {is}{}", percent(was, is))?;
                    writeln!(f, "; {} % is allowed", self.slack)?;
                }
                Verdict::Fell => {
                    write!(f, "fell: {name}, from {was} to {is}{}", percent(was, is))?;
                    writeln!(f, "; to keep it there: cargo xtask gate --renew")?;
                }
                Verdict::New => writeln!(f, "NEW: {name}, {is}: the baseline does not have it")?,
                Verdict::Gone => writeln!(f, "GONE: {name}, which was {was}, is not measured")?,
            }
        }
        Ok(())
    }
}

/// The change in per cent, where there is something that it is a part of.
fn percent(was: u64, is: u64) -> String {
    let change = i128::from(is) - i128::from(was);
    match (change * 100).checked_div(i128::from(was)) {
        Some(change) => format!(" ({change:+} %)"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(all: &[(&str, u64)]) -> Figures {
        let mut figures = Figures::default();
        all.iter().for_each(|(name, value)| figures.set(*name, *value));
        figures
    }

    #[test]
    fn what_rises_beyond_the_slack_fails_and_is_named() {
        let baseline = Baseline::new(10, figures(&[("a: bytes", 1000), ("b: flushes", 9)]));
        let report = baseline.compare(&figures(&[("a: bytes", 1100), ("b: flushes", 9)]));
        assert_eq!(report.failures(), 0, "{report}");
        let report = baseline.compare(&figures(&[("a: bytes", 1101), ("b: flushes", 10)]));
        assert_eq!(report.failures(), 2);
        let text = report.to_string();
        let lines: Vec<_> = text.lines().skip(3).collect();
        let want = [
            "ROSE: a: bytes, from 1000 to 1101 (+10 %); 10 % is allowed",
            "ROSE: b: flushes, from 9 to 10 (+11 %); 10 % is allowed",
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn nothing_may_become_something_and_what_falls_is_told() {
        let baseline = Baseline::new(10, figures(&[("images", 0), ("size", 1000)]));
        let report = baseline.compare(&figures(&[("images", 1), ("size", 899)]));
        assert_eq!(report.failures(), 1);
        let text = report.to_string();
        assert!(text.contains("\nROSE: images, from 0 to 1; 10 % is allowed\n"), "{text}");
        assert!(text.contains("\nfell: size, from 1000 to 899 (-10 %); to keep it"), "{text}");
    }

    #[test]
    fn a_figure_of_one_side_alone_fails() {
        let baseline = Baseline::new(10, figures(&[("old", 1)]));
        let report = baseline.compare(&figures(&[("new", 1)]));
        assert_eq!(report.failures(), 2, "{report}");
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let baseline = Baseline::new(7, figures(&[("install \"x\": bytes", 5), ("b", 0)]));
        assert_eq!(Baseline::parse(&baseline.to_string()).unwrap(), baseline);
        assert!(Baseline::parse("slack = 10\n").is_err());
    }
}
