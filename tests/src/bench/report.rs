//! The whole report: the figures, and the machine and the versions that they hold for.

use super::BenchError;
use super::figure::{Figure, Table};
use crate::files;
use crate::process::{self, ProcessError};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::process::Command;

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
    /// The rows.
    pub figures: Vec<Figure>,
}

impl Report {
    /// Adds the circumstances to figures that were just measured.
    pub fn new(command: String, figures: Vec<Figure>) -> Result<Self, BenchError> {
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
            figures,
        })
    }

    /// Writes report.md and report.json into a directory.
    pub fn write(&self, dir: &Path) -> Result<(), BenchError> {
        files::make_dir(dir)?;
        files::write(&dir.join("report.md"), self.to_string())?;
        Ok(files::write(&dir.join("report.json"), serde_json::to_vec_pretty(self)?)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}`, {}, commit {}", self.command, self.date, self.commit)?;
        writeln!(f, "\n- {}, load {}", self.machine, self.load)?;
        self.versions.iter().try_for_each(|version| writeln!(f, "- {version}"))?;
        write!(f, "\n{}", Table(&self.figures))
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
    fn values_are_found_by_key() {
        let text = "model name\t: Some CPU @ 2 GHz\nflags: a\nmodel name : B\n";
        assert_eq!(values(text, "model name").collect::<Vec<_>>(), ["Some CPU @ 2 GHz", "B"]);
    }
}
