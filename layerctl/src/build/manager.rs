//! A package manager of the base's own, which runs in a sandbox over it.

use std::path::{Path, PathBuf};

use super::{Cache, Ground, Sources, apt::Apt, dnf::Dnf};
use crate::error::Error;
use crate::sandbox::{Bind, Sandbox};
use layers::plan::change::Refusal;

/// What a package manager is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Packages by name, as the package manager takes them.
    pub(crate) packages: Vec<String>,
    /// Package files of this machine.
    pub(crate) files: Vec<PathBuf>,
    /// Packages to take away.
    pub(crate) remove: Vec<String>,
}

impl Wanted {
    /// Whether something is to be installed.
    pub(super) fn installs(&self) -> bool {
        !self.packages.is_empty() || !self.files.is_empty()
    }
}

/// A package and its version, as the package manager writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
}

/// A package manager: what it resolves and downloads with the network, and installs without.
pub(super) trait PackageManager {
    /// Its program.
    fn program(&self) -> &'static str;

    /// What its runs see of this machine: its cache, its sources, the files that are wanted.
    fn binds(&self, wanted: &Wanted) -> Result<Vec<Bind>, Error>;

    /// The versions of the packages that are wanted, where all of them are there already.
    fn installed(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<Option<Vec<Package>>, Error>;

    /// The bytes that files of this machine will take when installed; refuses those that declare more than `limit`, or that
    /// are damaged.
    fn declared(&self, wanted: &Wanted, limit: u64) -> Result<u64, Error>;

    /// Resolves what is wanted and downloads it; gives the bytes that it will take when installed, as declared.
    fn download(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<u64, Error>;

    /// Installs what was downloaded and takes away what is to go.
    fn install(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<(), Error>;

    /// The first package of those that are wanted, with the version that is installed now.
    fn first(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<Option<Package>, Error>;

    /// What of its database belongs to the layer whose files are in `upper`: names of fragments and their texts.
    fn fragments(
        &self,
        ground: &Ground,
        sandbox: &Sandbox,
    ) -> Result<Vec<(&'static str, Vec<u8>)>, Error>;

    /// Whether byte code of Python's comes with packages: else it is what scripts made of it, and not kept.
    fn ships_bytecode(&self) -> bool;
}

/// Chooses by the sources' format, the files' endings, and what the ground has.
pub(super) fn choose(
    ground: &Ground,
    wanted: &Wanted,
    sources: Option<Sources>,
    cache: Cache,
) -> Result<Box<dyn PackageManager>, Error> {
    let ends = |path: &Path, ending: &str| path.extension().is_some_and(|it| it == ending);
    let rpm = match &sources {
        Some(sources) => ends(&sources.path, "repo"),
        None => false,
    } || wanted.files.iter().any(|file| ends(file, "rpm"));
    let has = |programs: [&str; 2]| -> Result<bool, Error> {
        Ok(ground.has(programs[0])? || ground.has(programs[1])?)
    };
    let dnf = has(["usr/bin/dnf", "usr/bin/dnf5"])?;
    if !rpm && ground.has("usr/bin/apt-get")? {
        return Ok(Box::new(Apt { sources, cache }));
    }
    if dnf {
        return Ok(Box::new(Dnf { sources, cache }));
    }
    let (lacks, hint) = match rpm {
        true => ("no dnf", "build a layer of dnf first, and build this one on it: --on DNF.img"),
        false => (
            "neither apt-get nor dnf",
            "give a base that has a package manager, or build the layer from a directory",
        ),
    };
    Err(Refusal::new(format!("the base has {lacks}"), hint).into())
}

/// Runs a program with both its outputs in one; gives them where it succeeds.
pub(super) fn run(
    sandbox: &Sandbox,
    program: &'static str,
    args: &[&str],
    envs: &[(&str, &str)],
) -> Result<String, Error> {
    let mut all = vec!["-c", "exec \"$0\" \"$@\" 2>&1", program];
    all.extend(args);
    let output = sandbox.run("/bin/sh", &all, envs)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        log::debug!("{text}");
        return Ok(text);
    }
    Err(Error::PackageManager { program, said: last_words(&text) })
}

/// How many lines of what a package manager wrote are told: a script's own words stand above its farewell.
const LINES: usize = 20;

/// What apt and dpkg say in any case.
const USUAL: [&str; 4] = [
    "(Reading database",
    "Building dependency tree...",
    "Reading package lists...",
    "Reading state information...",
];

fn last_words(text: &str) -> String {
    let told =
        |line: &&str| !line.trim().is_empty() && !USUAL.iter().any(|usual| line.starts_with(usual));
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(told).collect();
    let lines = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// Checks names before they stand among a program's arguments.
pub(super) fn check_names(packages: &[String]) -> Result<(), Refusal> {
    let usable = |name: &&String| {
        let mark = |c: char| c.is_ascii_alphanumeric() || "+.:=/~^_-".contains(c);
        // To apt, a minus at the end means to remove.
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !name.ends_with('-')
            && name.chars().all(mark)
    };
    match packages.iter().find(|name| !usable(name)) {
        None => Ok(()),
        Some(name) => Err(Refusal::new(
            format!("{name:?} is no package's name"),
            "name packages as the package manager does: nginx, or nginx=1.26.3-3",
        )),
    }
}

/// A package's name without what the package manager takes after it: architecture, version, release.
pub(super) fn plain_name(package: &str) -> &str {
    package.split([':', '=', '/']).next().unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_be_options_or_removals_are_refused() {
        for good in ["nginx", "g++", "libstdc++6:i386", "nginx=1.26.3-3", "nginx/trixie-backports"]
        {
            assert!(check_names(&[good.to_owned()]).is_ok(), "{good}");
        }
        for bad in ["-o", "--x", "vim-", "a b", "a;b", "", "$(x)", "./x.deb"] {
            assert!(check_names(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert_eq!(plain_name("nginx=1.26"), "nginx");
    }
}
