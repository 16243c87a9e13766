//! A measured figure, held against its goal.

use serde::Serialize;
use std::fmt;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// 2^20 bytes.
    Mebibytes,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Thousandths of a second.
    Milliseconds,
    /// So many times as much as something else.
    Times,
    /// Things.
    Count,
}

/// The bound that a figure is to keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// One row of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The figure; the median where it was measured more than once.
    pub value: f64,
    /// Its unit, and the goal's.
    pub unit: Unit,
    /// The bound, where there is one.
    pub goal: Option<Goal>,
    /// Every measurement, in the order in which they were made.
    pub samples: Vec<f64>,
}

impl Figure {
    /// A figure that is the same each time.
    pub fn exact(what: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self { what: what.into(), value, unit, goal: None, samples: vec![value] }
    }

    /// The median of measurements; 0 of none.
    pub fn median(what: impl Into<String>, samples: Vec<f64>, unit: Unit) -> Self {
        Self { what: what.into(), value: median(&samples), unit, goal: None, samples }
    }

    /// Sets the goal.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Whether the goal is met, where there is one.
    pub fn met(&self) -> Option<bool> {
        self.goal.map(|goal| match goal {
            Goal::AtMost(bound) => self.value <= bound,
            Goal::AtLeast(bound) => self.value >= bound,
        })
    }

    /// The figure in terms of the goal; nothing where the goal is 0.
    fn ratio(&self) -> Option<f64> {
        let (Goal::AtMost(bound) | Goal::AtLeast(bound)) = self.goal?;
        (bound != 0.0).then_some(self.value / bound)
    }
}

/// The median; of an even number the mean of the two in the middle, of none 0.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { (at(half.saturating_sub(1)) + at(half)) / 2.0 }
}

/// The figures as a Markdown table, one row each.
pub struct Table<'a>(pub &'a [Figure]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | goal | figure | spread | figure ÷ goal | |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---|")?;
        self.0.iter().try_for_each(|figure| {
            let Figure { what, value, unit, goal, .. } = figure;
            let goal = goal.map(|goal| match goal {
                Goal::AtMost(bound) => format!("≤ {}", number(bound, *unit)),
                Goal::AtLeast(bound) => format!("≥ {}", number(bound, *unit)),
            });
            let ratio = figure.ratio().map(|ratio| format!("{ratio:.2}"));
            let verdict = figure.met().map_or("", |met| if met { "met" } else { "**missed**" });
            writeln!(
                f,
                "| {what} | {} | {} | {} | {} | {verdict} |",
                goal.unwrap_or_default(),
                number(*value, *unit),
                spread(&figure.samples, *unit),
                ratio.unwrap_or_default(),
            )
        })
    }
}

/// The least and the greatest measurement, where there are several.
fn spread(samples: &[f64], unit: Unit) -> String {
    if samples.len() < 2 {
        return String::new();
    }
    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} – {}", number(least, unit), number(greatest, unit))
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Mebibytes => format!("{value:.2} MiB"),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Milliseconds => format!("{value:.1} ms"),
        Unit::Times => format!("{value:.2}×"),
        Unit::Count => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_row_says_goal_figure_spread_ratio_and_verdict() {
        let figures = [
            Figure::median("boot", vec![390.0, 420.0, 300.0], Unit::Milliseconds)
                .goal(Goal::AtMost(400.0)),
            Figure::exact("faster", 7.5, Unit::Times).goal(Goal::AtLeast(15.0)),
            Figure::exact("written", 0.0, Unit::Bytes).goal(Goal::AtMost(0.0)),
            Figure::exact("seen", 12.0, Unit::Count),
        ];
        let table = Table(&figures).to_string();
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| boot | ≤ 400.0 ms | 390.0 ms | 300.0 ms – 420.0 ms | 0.97 | met |",
                "| faster | ≥ 15.00× | 7.50× |  | 0.50 | **missed** |",
                "| written | ≤ 0 B | 0 B |  |  | met |",
                "| seen |  | 12 |  |  |  |",
            ]
        );
    }
}
