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
    /// Millionths of a second.
    Microseconds,
    /// So many times as much as something else.
    Times,
    /// Things.
    Count,
    /// Hundredths of something else.
    Percent,
    /// Millions of things.
    Millions,
}

impl Unit {
    /// As it stands behind a number, or on an axis.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mebibytes => "MiB",
            Self::Bytes => "B",
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::Times => "×",
            Self::Percent => "%",
            Self::Millions => "million",
            Self::Count => "",
        }
    }
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

/// Where a figure stands in a plot. All figures of one plot have one unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A point of a line.
    Point {
        /// The plot's title.
        plot: String,
        /// The line's name.
        line: String,
        /// What grows: the number of layers, for one.
        x: f64,
    },
    /// A part of a bar, which lies behind the parts that were measured before it.
    Part {
        /// The plot's title.
        plot: String,
        /// The bar's name.
        bar: String,
        /// The part's name, the same in each bar.
        part: String,
    },
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
    /// Its place in a plot, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Figure {
    /// A figure that is the same each time.
    pub fn exact(what: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self { what: what.into(), value, unit, goal: None, samples: vec![value], place: None }
    }

    /// The median of measurements; 0 of none.
    pub fn median(what: impl Into<String>, samples: Vec<f64>, unit: Unit) -> Self {
        Self { what: what.into(), value: median(&samples), unit, goal: None, samples, place: None }
    }

    /// How many times as much as `under` was measured of `over`: the median of the quotients of neighbours, which were
    /// measured one after the other.
    pub fn times(what: impl Into<String>, over: &[f64], under: &[f64]) -> Self {
        let quotients = over.iter().zip(under).map(|(over, under)| over / under);
        Self::median(what, quotients.collect(), Unit::Times)
    }

    /// Makes it a point of a line in a plot of cost against something that grows.
    #[must_use]
    pub fn point(mut self, plot: impl Into<String>, line: impl Into<String>, x: f64) -> Self {
        self.place = Some(Place::Point { plot: plot.into(), line: line.into(), x });
        self
    }

    /// Makes it a part of a bar in a plot.
    #[must_use]
    pub fn part(
        mut self,
        plot: impl Into<String>,
        bar: impl Into<String>,
        part: impl Into<String>,
    ) -> Self {
        self.place = Some(Place::Part { plot: plot.into(), bar: bar.into(), part: part.into() });
        self
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

    /// Whether it is shown among its neighbours, in a grid of lines, and not as a row of its own.
    pub(super) fn in_grid(&self) -> bool {
        self.goal.is_none() && matches!(self.place, Some(Place::Point { .. }))
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

/// The figures as a Markdown table, one row each; without those that are points of lines and have no goal.
pub struct Table<'a>(pub &'a [Figure]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = self.0.iter().filter(|figure| !figure.in_grid()).peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        writeln!(f, "| what | goal | figure | spread | figure ÷ goal | |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---|")?;
        rows.try_for_each(|figure| {
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

/// A value with its unit.
pub(super) fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Mebibytes => format!("{value:.2} MiB"),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Milliseconds => format!("{value:.1} ms"),
        Unit::Microseconds => format!("{value:.2} µs"),
        Unit::Times => format!("{value:.2}×"),
        Unit::Count => format!("{value:.0}"),
        Unit::Percent => format!("{value:.2} %"),
        Unit::Millions => format!("{value:.1} million"),
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
    fn neighbours_are_divided_by_each_other() {
        let figure = Figure::times("ours ÷ theirs", &[2.0, 9.0, 4.0], &[1.0, 3.0, 1.0]);
        assert_eq!((figure.value, figure.unit), (3.0, Unit::Times));
        assert_eq!(figure.samples, [2.0, 3.0, 4.0]);
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
