//! How the cost of a path grows with the number of layers, beside one flat image of the same content.

mod content;
mod probe;
mod stack;

pub(super) use content::Content;
pub(super) use stack::Stack;
pub use stack::StackError;

use super::BenchError;
use super::figure::{Figure, Goal};
use super::machines::Format;
use crate::base::Tree;
use crate::programs::Programs;
use crate::workspace::Workspace;
use probe::{Measure, probe};
use std::collections::BTreeMap;

/// How many layers the stacks have.
const COUNTS: [usize; 7] = [1, 8, 32, 64, 128, 256, 400];

/// The numbers of layers that are held against one and against a flat image.
const HELD: [usize; 2] = [256, 400];

/// A stack and what was measured of it.
struct Series {
    /// What it is called in plots: the way in which the content is mounted.
    line: String,
    format: Format,
    /// Whether it is seen through an index.
    indexed: bool,
    /// The number of layers; `None` is the flat image.
    count: Option<usize>,
    stack: Stack,
    samples: BTreeMap<Measure, Vec<f64>>,
}

impl Series {
    fn new(kind: &str, format: Format, count: Option<usize>, stack: Stack) -> Self {
        let line = format!("{}, {kind}", format.name());
        let indexed = matches!(stack, Stack::Store { indexed: true, .. });
        Self { line, format, indexed, count, stack, samples: BTreeMap::new() }
    }

    fn name(&self) -> String {
        match self.count {
            None => self.line.clone(),
            Some(1) => format!("{}, 1 layer", self.line),
            Some(count) => format!("{}, {count} layers", self.line),
        }
    }

    /// That the tree is the one that was divided: each layer has one file more, its own extension-release, all of them in
    /// a directory.
    fn check(&self, seen: usize, made: usize) -> Result<(), StackError> {
        let made = made + self.count.map_or(0, |layers| layers + 1);
        let different = || StackError::Different { stack: self.name(), seen, made };
        if seen == made { Ok(()) } else { Err(different()) }
    }

    fn of(&self, measure: Measure) -> &[f64] {
        self.samples.get(&measure).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Measures all stacks in turns, so that a busy moment of the machine falls on all alike.
pub(super) fn cost(
    workspace: &Workspace,
    programs: &Programs,
    tree: &Tree,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let content = Content::build(workspace, programs, tree)?;
    let mut series = Vec::new();
    for format in Format::ALL {
        let flat = Stack::Image(content.flat(format), format);
        series.push(Series::new("flat", format, None, flat));
        for count in COUNTS {
            let dir = content.store(format, count)?;
            for (kind, indexed) in [("stack", false), ("index", true)] {
                let stack = Stack::Store { dir: dir.clone(), indexed };
                series.push(Series::new(kind, format, Some(count), stack));
            }
        }
    }
    for run in 1..=runs {
        for one in &mut series {
            let found = probe(&one.stack, &content.paths)?;
            one.check(found.paths, content.paths.len())?;
            let found = found.values;
            let said: Vec<_> = found
                .iter()
                .map(|(measure, value)| format!("{} {value:.2}", measure.name()))
                .collect();
            eprintln!("xtask: run {run}, {}: {}", one.name(), said.join(", "));
            for (measure, value) in found {
                one.samples.entry(measure).or_default().push(value);
            }
        }
    }
    Ok(Measure::ALL.into_iter().flat_map(|measure| figures(&series, measure)).collect())
}

/// The rows of one measurement: ratios, then the points of its plot.
fn figures(series: &[Series], measure: Measure) -> Vec<Figure> {
    let what = measure.name();
    let title = format!("By number of layers: {what}");
    let mut figures = Vec::new();
    let ratio = |over: &Series, under: &Series| {
        let name = format!("{what}: {} ÷ {}", over.name(), under.name());
        Figure::times(name, over.of(measure), under.of(measure))
    };
    for one in series {
        let held = one.count.is_some_and(|count| HELD.contains(&count));
        let of_line = |count| move |other: &&Series| other.line == one.line && other.count == count;
        if let (true, Some(single)) = (held, series.iter().find(of_line(Some(1)))) {
            let figure = ratio(one, single);
            figures.push(match measure {
                Measure::Stat | Measure::HotStat if one.indexed => figure.goal(Goal::AtMost(1.2)),
                _ => figure,
            });
        }
        // The names and attributes of an index are EROFS, whatever its images are.
        let walked = one.indexed && measure == Measure::Walk;
        let format = if walked { Format::Erofs } else { one.format };
        let flat = |other: &&Series| other.format == format && other.count.is_none();
        if let (true, Some(flat)) = (held, series.iter().find(flat)) {
            let figure = ratio(one, flat);
            figures.push(if walked { figure.goal(Goal::AtMost(2.0)) } else { figure });
        }
    }
    for one in series {
        let figure = |layers: usize| {
            let name = format!("{what}, {}", one.name());
            let figure = Figure::median(name, one.of(measure).to_vec(), measure.unit());
            figure.point(&title, &one.line, layers as f64)
        };
        match one.count {
            Some(count) => figures.push(figure(count)),
            // A line from one side of the plot to the other, to be compared with.
            None => figures.extend(COUNTS.map(figure)),
        }
    }
    figures
}
