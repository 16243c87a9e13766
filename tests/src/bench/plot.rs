//! The figures as SVG plots: lines of cost against what grows, and bars of what follows one after the other.

use super::figure::{Figure, Place, Unit, number};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use std::{fmt, io};

/// The size of a plot in pixels.
const SIZE: (u32, u32) = (880, 520);

/// The font of what stands at axes and lines, and its size in pixels.
const LABELS: (&str, u32) = ("sans-serif", 16);

/// From which quotient of the greatest and the least value the axis is logarithmic: below, its foot is 0.
const WIDE: f64 = 20.0;

/// A plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the plot {title:?} cannot be drawn")]
pub struct PlotError {
    title: String,
    source: DrawError,
}

type DrawError = DrawingAreaErrorKind<io::Error>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A plot as a file.
#[derive(Debug)]
pub(super) struct Drawing {
    /// Its title.
    pub(super) title: String,
    /// The file's name.
    pub(super) file: String,
    /// The file's text.
    pub(super) svg: String,
}

/// Named values: a line's points as (x, y), or a bar's parts as (number of the part, value).
type Series = Vec<(String, Vec<(f64, f64)>)>;

/// What one plot shows.
#[derive(Debug, PartialEq)]
struct Plot {
    title: String,
    unit: Unit,
    content: Content,
}

#[derive(Debug, PartialEq)]
enum Content {
    Lines(Series),
    Bars { bars: Series, parts: Vec<String> },
}

/// Draws every plot that one of the figures has a place in.
pub(super) fn draw<'a>(
    figures: impl IntoIterator<Item = &'a Figure>,
) -> Result<Vec<Drawing>, PlotError> {
    let draw = |plot: Plot| {
        let mut svg = String::new();
        plot.draw(&mut svg).map_err(|source| PlotError { title: plot.title.clone(), source })?;
        Ok(Drawing { file: file_name(&plot.title), title: plot.title, svg })
    };
    plots(figures).into_iter().map(draw).collect()
}

/// Letters and digits, with one hyphen for whatever is between them.
fn file_name(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(str::to_ascii_lowercase).collect();
    format!("{}.svg", words.join("-"))
}

/// Sorts figures into plots; plots, lines and bars stand in the order of their first figures.
fn plots<'a>(figures: impl IntoIterator<Item = &'a Figure>) -> Vec<Plot> {
    let mut plots: Vec<Plot> = Vec::new();
    for figure in figures {
        let Some(place) = &figure.place else { continue };
        let (title, empty) = match place {
            Place::Point { plot, .. } => (plot, Content::Lines(Vec::new())),
            Place::Part { plot, .. } => {
                (plot, Content::Bars { bars: Vec::new(), parts: Vec::new() })
            }
        };
        let at = plots.iter().position(|plot| plot.title == *title).unwrap_or_else(|| {
            plots.push(Plot { title: title.clone(), unit: figure.unit, content: empty });
            plots.len() - 1
        });
        match (plots.get_mut(at).map(|plot| &mut plot.content), place) {
            (Some(Content::Lines(lines)), Place::Point { line, x, .. }) => {
                add(lines, line, (*x, figure.value));
            }
            (Some(Content::Bars { bars, parts }), Place::Part { bar, part, .. }) => {
                let number = parts.iter().position(|name| name == part).unwrap_or_else(|| {
                    parts.push(part.clone());
                    parts.len() - 1
                });
                add(bars, bar, (number as f64, figure.value));
            }
            _ => {}
        }
    }
    plots
}

fn add(series: &mut Series, name: &str, value: (f64, f64)) {
    match series.iter_mut().find(|(known, _)| known == name) {
        Some((_, values)) => values.push(value),
        None => series.push((name.to_owned(), vec![value])),
    }
}

/// How values become places on an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    Linear,
    Logarithmic,
}

impl Scale {
    fn of(values: &[f64]) -> Self {
        let (least, greatest) = bounds(values);
        if least > 0.0 && greatest / least >= WIDE { Self::Logarithmic } else { Self::Linear }
    }

    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.log10(),
        }
    }

    fn value(self, place: f64) -> f64 {
        match self {
            Self::Linear => place,
            Self::Logarithmic => 10_f64.powf(place),
        }
    }

    /// How many labels the axis has at most: a logarithmic one has them at powers of ten alone.
    fn labels(self, values: &[f64]) -> usize {
        let range = self.range(values);
        match self {
            Self::Linear => 10,
            Self::Logarithmic => (range.end - range.start) as usize + 1,
        }
    }

    fn range(self, values: &[f64]) -> std::ops::Range<f64> {
        let (least, greatest) = bounds(values);
        match self {
            Self::Linear => least.min(0.0)..greatest.max(f64::MIN_POSITIVE) * 1.05,
            Self::Logarithmic => least.log10().floor()..greatest.log10().ceil(),
        }
    }
}

fn bounds(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

fn label(value: f64) -> String {
    if value == 0.0 || value.abs() >= 10.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

impl Plot {
    fn draw(&self, svg: &mut String) -> Result<(), DrawError> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        match &self.content {
            Content::Lines(lines) => self.draw_lines(&area, lines)?,
            Content::Bars { bars, parts } => self.draw_bars(&area, bars, parts)?,
        }
        area.present()
    }

    fn chart<'a, 'b>(
        &self,
        area: &'a Area<'b>,
        x: std::ops::Range<f64>,
        y: std::ops::Range<f64>,
        left: u32,
    ) -> Result<Chart<'a, 'b>, DrawError> {
        ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 22))
            .margin(16)
            .x_label_area_size(40)
            .y_label_area_size(left)
            .build_cartesian_2d(x, y)
    }

    fn draw_lines(&self, area: &Area<'_>, lines: &Series) -> Result<(), DrawError> {
        let points = || lines.iter().flat_map(|(_, points)| points);
        let values: Vec<f64> = points().map(|(_, y)| *y).collect();
        let furthest = points().map(|(x, _)| *x).fold(1.0, f64::max);
        let scale = Scale::of(&values);
        let mut chart = self.chart(area, 0.0..furthest * 1.02, scale.range(&values), 72)?;
        chart
            .configure_mesh()
            .label_style(LABELS)
            .y_desc(self.unit.name())
            .y_labels(scale.labels(&values))
            .x_label_formatter(&|x| label(*x))
            .y_label_formatter(&|y| label(scale.value(*y)))
            .draw()?;
        for (number, (name, points)) in lines.iter().enumerate() {
            let colour = Palette99::pick(number).stroke_width(2);
            let places: Vec<_> = points.iter().map(|(x, y)| (*x, scale.place(*y))).collect();
            chart
                .draw_series(LineSeries::new(places.iter().copied(), colour))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
            let dots = places.iter().map(|place| Circle::new(*place, 3, colour.filled()));
            chart.draw_series(dots)?;
        }
        chart
            .configure_series_labels()
            .label_font(LABELS)
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
    }

    /// One bar below the other, each under its name.
    fn draw_bars(&self, area: &Area<'_>, bars: &Series, parts: &[String]) -> Result<(), DrawError> {
        let whole = |parts: &[(f64, f64)]| parts.iter().map(|(_, value)| value).sum::<f64>();
        let longest = bars.iter().map(|(_, parts)| whole(parts)).fold(f64::MIN_POSITIVE, f64::max);
        let mut chart = self.chart(area, 0.0..longest * 1.25, 0.0..bars.len() as f64, 0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .label_style(LABELS)
            .x_desc(self.unit.name())
            .x_label_formatter(&|x| label(*x))
            .draw()?;
        let mut boxes: Vec<Vec<[(f64, f64); 2]>> = vec![Vec::new(); parts.len()];
        for (row, (name, values)) in bars.iter().rev().enumerate() {
            let foot = row as f64;
            let mut from = 0.0;
            for (part, value) in values {
                if let Some(boxes) = boxes.get_mut(*part as usize) {
                    boxes.push([(from, foot + 0.1), (from + value, foot + 0.6)]);
                }
                from += value;
            }
            let text = format!("{name}: {} {}", label(from), self.unit.name());
            let style = LABELS.into_font().color(&BLACK);
            chart.draw_series([Text::new(text, (0.0, foot + 0.95), style)])?;
        }
        for (number, (name, boxes)) in parts.iter().zip(boxes).enumerate() {
            let colour = Palette99::pick(number).filled();
            chart
                .draw_series(boxes.into_iter().map(|corners| Rectangle::new(corners, colour)))?
                .label(name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour));
        }
        chart
            .configure_series_labels()
            .label_font(LABELS)
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
    }
}

/// The lines of all plots as Markdown tables: a row for each line, a column for each place on it.
pub(super) struct Grids<'a>(pub(super) &'a [Figure]);

impl fmt::Display for Grids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for plot in plots(self.0.iter().filter(|figure| figure.in_grid())) {
            let Content::Lines(lines) = plot.content else { continue };
            let mut columns: Vec<f64> =
                lines.iter().flat_map(|(_, points)| points.iter().map(|(x, _)| *x)).collect();
            columns.sort_by(f64::total_cmp);
            columns.dedup();
            let heads: String = columns.iter().map(|x| format!(" {x} |")).collect();
            writeln!(f, "\n| {} |{heads}", plot.title)?;
            writeln!(f, "|---|{}", "---:|".repeat(columns.len()))?;
            for (name, points) in lines {
                let cell = |x: &f64| {
                    let value = points.iter().find(|(at, _)| at == x).map(|(_, value)| *value);
                    let text = value.map(|value| number(value, plot.unit));
                    format!(" {} |", text.unwrap_or_default())
                };
                writeln!(f, "| {name} |{}", columns.iter().map(cell).collect::<String>())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Vec<Figure> {
        let point = |line: &str, x: f64, value: f64| {
            Figure::exact(line, value, Unit::Milliseconds).point("A walk", line, x)
        };
        let part = |bar: &str, part: &str, value: f64| {
            Figure::exact(bar, value, Unit::Seconds).part("Boot: stages", bar, part)
        };
        vec![
            point("flat", 1.0, 1.0),
            point("stack", 1.0, 2.0),
            Figure::exact("of no plot", 1.0, Unit::Count),
            part("ours", "kernel", 1.0),
            point("stack", 8.0, 40.0),
            part("ours", "init", 0.5),
            part("theirs", "init", 3.0),
        ]
    }

    #[test]
    fn figures_are_sorted_into_plots() {
        let (lines, bars) = match plots(&figures()).try_into() {
            Ok::<[Plot; 2], _>([lines, bars]) => (lines, bars),
            Err(plots) => panic!("{plots:?}"),
        };
        assert_eq!(
            lines.content,
            Content::Lines(vec![
                ("flat".into(), vec![(1.0, 1.0)]),
                ("stack".into(), vec![(1.0, 2.0), (8.0, 40.0)]),
            ])
        );
        let bars_expected = vec![
            ("ours".into(), vec![(0.0, 1.0), (1.0, 0.5)]),
            ("theirs".into(), vec![(1.0, 3.0)]),
        ];
        let parts = vec!["kernel".to_owned(), "init".to_owned()];
        assert_eq!(bars.content, Content::Bars { bars: bars_expected, parts });
        assert_eq!((bars.unit, &*bars.title), (Unit::Seconds, "Boot: stages"));
    }

    #[test]
    fn a_drawing_names_what_it_shows() {
        let drawings = draw(&figures()).unwrap();
        let files: Vec<_> = drawings.iter().map(|drawing| &*drawing.file).collect();
        assert_eq!(files, ["a-walk.svg", "boot-stages.svg"]);
        for (drawing, words) in
            drawings.iter().zip([&["A walk", "flat", "stack"][..], &["ours: 1.50 s", "kernel"]])
        {
            assert!(drawing.svg.starts_with("<svg"), "{}", drawing.svg);
            words.iter().for_each(|word| assert!(drawing.svg.contains(word), "{word}"));
        }
    }

    #[test]
    fn lines_are_rows_of_a_grid() {
        let grids = Grids(&figures()).to_string();
        let lines: Vec<_> = grids.lines().collect();
        let expected = [
            "",
            "| A walk | 1 | 8 |",
            "|---|---:|---:|",
            "| flat | 1.0 ms |  |",
            "| stack | 2.0 ms | 40.0 ms |",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_axis_is_logarithmic_where_values_are_far_apart() {
        assert_eq!(Scale::of(&[1.0, 19.0]), Scale::Linear);
        assert_eq!(Scale::of(&[0.0, 100.0]), Scale::Linear);
        assert_eq!(Scale::of(&[0.2, 100.0]), Scale::Logarithmic);
        assert_eq!(Scale::Logarithmic.range(&[0.2, 70.0]), -1.0..2.0);
        assert_eq!(Scale::Linear.range(&[2.0, 4.0]), 0.0..4.2);
    }
}
