//! Compares two base trees: packages, enabled units, files.

use super::{BaseError, Tree};
use crate::files;
use crate::process;
use std::collections::BTreeSet;
use std::fmt;

/// Paths that may differ, each with the reason.
const EXCLUDED: &[(&str, &str)] = &[
    ("dev/", "mmdebstrap puts the usual devices there; devtmpfs covers it at boot"),
    ("run/", "a tmpfs covers it at boot"),
    ("var/cache/apt/", "apt's caches and locks: each builder runs another apt"),
    ("var/lib/apt/", "as var/cache/apt"),
    ("var/lib/dpkg/arch", "mmdebstrap names the architecture there, mkosi leaves it to dpkg"),
    ("var/lib/dpkg/available", "dpkg makes it where it is asked for"),
    ("var/lib/dpkg/lock", "an empty file"),
];

/// What only one of two trees has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Packages as `name version`.
    pub packages: Difference,
    /// Links in /etc/systemd, as `path -> target`.
    pub units: Difference,
    /// Files as `mode owner path -> target`.
    pub files: Difference,
}

/// Lines that only the left or only the right tree has, and how many are in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Only in the left one.
    pub left: Vec<String>,
    /// Only in the right one.
    pub right: Vec<String>,
    /// How many are in both.
    pub common: usize,
}

impl Difference {
    fn between(left: &BTreeSet<String>, right: &BTreeSet<String>) -> Self {
        Self {
            left: left.difference(right).cloned().collect(),
            right: right.difference(left).cloned().collect(),
            common: left.intersection(right).count(),
        }
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty() && self.right.is_empty()
    }
}

impl Comparison {
    /// Whether the trees are the same but for what is excluded.
    pub fn is_same(&self) -> bool {
        self.packages.is_empty() && self.units.is_empty() && self.files.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("packages", &self.packages), ("units", &self.units), ("files", &self.files)];
        for (name, part) in parts {
            let (left, right) = (part.left.len(), part.right.len());
            writeln!(f, "{name}: {} the same, {left} only left, {right} only right", part.common)?;
            part.left.iter().try_for_each(|line| writeln!(f, "  < {line}"))?;
            part.right.iter().try_for_each(|line| writeln!(f, "  > {line}"))?;
        }
        Ok(())
    }
}

/// Compares two trees.
pub fn compare(left: &Tree, right: &Tree) -> Result<Comparison, BaseError> {
    let (left_files, right_files) = (listing(left)?, listing(right)?);
    let units = |lines: &BTreeSet<String>| {
        lines.iter().filter(|line| line.contains(" etc/systemd/")).cloned().collect()
    };
    Ok(Comparison {
        packages: Difference::between(&packages(left)?, &packages(right)?),
        units: Difference::between(&units(&left_files), &units(&right_files)),
        files: Difference::between(&left_files, &right_files),
    })
}

fn packages(tree: &Tree) -> Result<BTreeSet<String>, BaseError> {
    Ok(installed(&files::read_text(&tree.root.join("var/lib/dpkg/status"))?))
}

fn listing(tree: &Tree) -> Result<BTreeSet<String>, BaseError> {
    let mut command = process::command("tar");
    command.args(["--numeric-owner", "-tvf"]).arg(&tree.tar).env("LC_ALL", "C");
    let lines = process::read(&mut command)?;
    Ok(entries(&String::from_utf8_lossy(&lines)))
}

/// `name version` of each installed package in dpkg's status.
fn installed(status: &str) -> BTreeSet<String> {
    status
        .split("\n\n")
        .filter_map(|stanza| {
            let field = |key: &str| stanza.lines().find_map(|line| line.strip_prefix(key));
            field("Status: ").filter(|status| *status == "install ok installed")?;
            Some(format!("{} {}", field("Package: ")?, field("Version: ")?))
        })
        .collect()
}

/// `mode owner path` of each line of `tar -tv`, without size and time, links with their target.
fn entries(lines: &str) -> BTreeSet<String> {
    lines
        .lines()
        .filter_map(|line| {
            let (mode, rest) = line.split_once(' ')?;
            let (owner, rest) = rest.trim_start().split_once(' ')?;
            // Size, day and time of day stand before the name.
            let name =
                (0..3).try_fold(rest, |rest, _| Some(rest.trim_start().split_once(' ')?.1))?;
            let name = name.strip_prefix("./").unwrap_or(name);
            let name = name.strip_suffix('/').unwrap_or(name);
            // Which one of several hard links holds the bytes depends on the order in the archive.
            let (kind, name) = match name.split_once(" link to ") {
                Some((name, _)) if mode.starts_with('h') => ("-", name),
                _ => (mode.get(..1)?, name),
            };
            let mode = mode.get(1..)?;
            (!is_excluded(name)).then(|| format!("{kind}{mode} {owner} {name}"))
        })
        .collect()
}

fn is_excluded(name: &str) -> bool {
    EXCLUDED.iter().any(|(prefix, _)| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let status = "Package: a\nStatus: install ok installed\nVersion: 1-2\n\n\
            Package: b\nStatus: deinstall ok config-files\nVersion: 3\n";
        assert_eq!(installed(status), BTreeSet::from(["a 1-2".to_owned()]));
    }

    #[test]
    fn size_and_time_do_not_count() {
        let line = "-rwxr-xr-x 0/0         1234 2026-01-02 03:04 ./usr/bin/a b\n\
            lrwxrwxrwx 0/0            0 2026-01-02 03:04 ./bin -> usr/bin\n\
            drwxr-xr-x 0/0            0 2026-01-02 03:04 ./usr/\n";
        let expected =
            ["-rwxr-xr-x 0/0 usr/bin/a b", "lrwxrwxrwx 0/0 bin -> usr/bin", "drwxr-xr-x 0/0 usr"];
        assert_eq!(entries(line), expected.map(str::to_owned).into());
    }
}
