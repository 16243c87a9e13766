//! The whole report: the figures, and the machine and the versions that they hold for.

use super::figure::{Figure, Table, Unit};
use super::{BenchError, Item, plot};
use crate::files;
use crate::process::{self, ProcessError};
use clap::ValueEnum;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::process::Command;

/// What was measured of one item.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// The item's name on the command line.
    pub item: String,
    /// What it measures.
    pub about: String,
    /// The rows, ratios first: those hold on other machines too.
    pub figures: Vec<Figure>,
}

impl Section {
    /// Puts the figures of an item in order.
    pub fn new(item: Item, mut figures: Vec<Figure>) -> Self {
        figures.sort_by_key(|figure| figure.unit != Unit::Times);
        let value = item.to_possible_value();
        let name = value.as_ref().map(|value| value.get_name().to_owned());
        let about = value.and_then(|value| Some(value.get_help()?.to_string()));
        Self { item: name.unwrap_or_default(), about: about.unwrap_or_default(), figures }
    }
}

/// Figures with what has to be known to compare them.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The command line that made it.
    pub command: String,
    /// The day, as YYYY-MM-DD in UTC.
    pub date: String,
    /// The commit that was measured, with a mark where the checkout differs from it.
    pub commit: String,
    /// The processor, how many there are, and the memory.
    pub machine: String,
    /// Kernel, QEMU and compiler.
    pub versions: Vec<String>,
    /// How busy the machine was at the end: /proc/loadavg.
    pub load: String,
    /// The rows, item by item.
    pub sections: Vec<Section>,
}

impl Report {
    /// Adds the circumstances to figures that were just measured.
    pub fn new(command: String, sections: Vec<Section>) -> Result<Self, BenchError> {
        let first_line = |program: &str, arguments: &[&str]| first_line(program, arguments);
        let versions = vec![
            first_line("uname", &["-sr"])?,
            first_line("qemu-system-x86_64", &["--version"])?,
            first_line("rustc", &["--version"])?,
        ];
        let load = files::read_text(Path::new("/proc/loadavg"))?;
        Ok(Self {
            command,
            date: first_line("date", &["-u", "+%Y-%m-%d"])?,
            commit: first_line("git", &["describe", "--always", "--dirty"])?,
            machine: machine()?,
            versions,
            load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            sections,
        })
    }

    /// Writes report.md, report.json and the plots into a directory.
    pub fn write(&self, dir: &Path) -> Result<(), BenchError> {
        files::make_dir(dir)?;
        let mut text = self.to_string();
        let plots = plot::draw(self.sections.iter().flat_map(|section| &section.figures))?;
        for plot in plots {
            files::write(&dir.join(&plot.file), &plot.svg)?;
            text += &format!("\n![{}]({})\n", plot.title, plot.file);
        }
        files::write(&dir.join("report.md"), text)?;
        Ok(files::write(&dir.join("report.json"), serde_json::to_vec_pretty(self)?)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}`, {}, commit {}", self.command, self.date, self.commit)?;
        writeln!(f, "\n- {}, load {}", self.machine, self.load)?;
        self.versions.iter().try_for_each(|version| writeln!(f, "- {version}"))?;
        self.sections.iter().try_for_each(|Section { item, about, figures }| {
            write!(f, "\n### {item}: {about}\n\n{}{}", Table(figures), plot::Grids(figures))
        })
    }
}

fn machine() -> Result<String, BenchError> {
    let processors = files::read_text(Path::new("/proc/cpuinfo"))?;
    let memory = files::read_text(Path::new("/proc/meminfo"))?;
    let models: Vec<_> = values(&processors, "model name").collect();
    let kibibytes: u64 = values(&memory, "MemTotal")
        .next()
        .and_then(|value| value.split(' ').next()?.parse().ok())
        .unwrap_or_default();
    let model = models.first().copied().unwrap_or("unknown processor");
    Ok(format!("{} × {model}, {} GiB of memory", models.len(), kibibytes >> 20))
}

/// The values of the lines `KEY : VALUE`.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == key).then_some(value.trim())
    })
}

fn first_line(program: &str, arguments: &[&str]) -> Result<String, ProcessError> {
    let mut command: Command = process::command(program);
    let said = process::read(command.args(arguments))?;
    Ok(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_says_what_it_measures_and_begins_with_ratios() {
        let figures = vec![
            Figure::exact("slow", 2.0, Unit::Seconds),
            Figure::exact("slow ÷ fast", 2.0, Unit::Times),
            Figure::exact("fast", 1.0, Unit::Seconds),
        ];
        let section = Section::new(Item::Rollback, figures);
        assert_eq!((&*section.item, &*section.about), ("rollback", "What a rollback writes"));
        let order: Vec<_> = section.figures.iter().map(|figure| &*figure.what).collect();
        assert_eq!(order, ["slow ÷ fast", "slow", "fast"]);
    }

    #[test]
    fn values_are_found_by_key() {
        let text = "model name\t: Some CPU @ 2 GHz\nflags: a\nmodel name : B\n";
        assert_eq!(values(text, "model name").collect::<Vec<_>>(), ["Some CPU @ 2 GHz", "B"]);
    }
}
