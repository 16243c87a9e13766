//! What paths, directories, files and programs of a mounted tree cost.
#![expect(clippy::disallowed_methods, reason = "measures time, reads the mounted tree")]

use super::content::{PACKAGES, name};
use super::stack::{Stack, StackError};
use crate::bench::figure::Unit;
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How many paths are looked at, evenly spread over the sorted tree.
const PATHS: usize = 1_000;

/// How many names are looked for that are not there.
const MISSING: usize = 200;

/// How many programs are started.
const PROGRAMS: usize = 20;

/// What is measured of each stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measure {
    Stat,
    HotStat,
    Missing,
    List,
    Walk,
    Open,
    Exec,
    HotExec,
    Mount,
}

impl Measure {
    pub(super) const ALL: [Self; 9] = [
        Self::Stat,
        Self::HotStat,
        Self::Missing,
        Self::List,
        Self::Walk,
        Self::Open,
        Self::Exec,
        Self::HotExec,
        Self::Mount,
    ];

    /// What the plot and the rows say.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stat => "cold stat",
            Self::HotStat => "hot stat",
            Self::Missing => "cold stat of a name that is not there",
            Self::List => "cold readdir of /usr/bin",
            Self::Walk => "cold walk of the whole tree",
            Self::Open => "first open of a file",
            Self::Exec => "first exec of a small program",
            Self::HotExec => "exec of a small program again",
            Self::Mount => "mounts",
        }
    }

    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Stat | Self::HotStat | Self::Missing | Self::Open => Unit::Microseconds,
            Self::List | Self::Walk | Self::Exec | Self::HotExec | Self::Mount => {
                Unit::Milliseconds
            }
        }
    }
}

/// What was found of a stack.
pub(super) struct Found {
    /// The number of paths below its root.
    pub(super) paths: usize,
    pub(super) values: Vec<(Measure, f64)>,
}

/// Measures a stack by some of these paths: each measurement that is cold on mounts that were just made.
pub(super) fn probe(stack: &Stack, paths: &[PathBuf]) -> Result<Found, StackError> {
    stack.warm()?;
    let clock = Instant::now();
    let clock = || milliseconds(clock);
    let sample: Vec<&Path> = spread(paths, PATHS).map(PathBuf::as_path).collect();
    let mut found = Vec::new();
    let (mount, stats) = stack.mounted(clock, |root| stats(root, &sample))?;
    found.push((Measure::Mount, mount));
    found.extend(stats);
    let (_, lists) = stack.mounted(clock, |root| {
        let start = Instant::now();
        each("list", &root.join("usr/bin"), |_| Ok(()))?;
        Ok((Measure::List, milliseconds(start)))
    })?;
    found.push(lists);
    let (_, execs) = stack.mounted(clock, execs)?;
    found.extend(execs);
    let (_, (seen, walk)) = stack.mounted(clock, |root| {
        let start = Instant::now();
        let seen = walk(root)?;
        Ok((seen, (Measure::Walk, milliseconds(start))))
    })?;
    found.push(walk);
    let (_, opens) = stack.mounted(clock, |root| opens(root, &sample))?;
    found.push(opens);
    Ok(Found { paths: seen, values: found })
}

/// At most `count` of some things, evenly spread.
fn spread<T>(things: &[T], count: usize) -> impl Iterator<Item = &T> {
    let count = count.min(things.len());
    (0..count).filter_map(move |number| things.get(number * things.len() / count))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Microseconds for each of `count` things.
fn microseconds(since: Instant, count: usize) -> f64 {
    milliseconds(since) * 1000.0 / count.max(1) as f64
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StackError {
    StackError::Read { action, path: path.to_owned(), source }
}

/// The same paths cold and hot, then names that are not there.
fn stats(root: &Path, sample: &[&Path]) -> Result<Vec<(Measure, f64)>, StackError> {
    let whole: Vec<_> = sample.iter().map(|path| root.join(path)).collect();
    let pass = || {
        let start = Instant::now();
        for path in &whole {
            fs::symlink_metadata(path).map_err(|error| failed("look at", path, error))?;
        }
        Ok::<_, StackError>(microseconds(start, whole.len()))
    };
    let cold = pass()?;
    let mut hot = f64::INFINITY;
    for _ in 0..5 {
        hot = hot.min(pass()?);
    }
    let missing: Vec<_> =
        (0..MISSING).map(|number| root.join(format!("usr/bin/missing{number}"))).collect();
    let start = Instant::now();
    let there = missing.iter().find(|path| fs::symlink_metadata(path).is_ok());
    let absent = microseconds(start, MISSING);
    match there {
        Some(path) => Err(failed("miss", path, io::ErrorKind::AlreadyExists.into())),
        None => {
            Ok(vec![(Measure::Stat, cold), (Measure::HotStat, hot), (Measure::Missing, absent)])
        }
    }
}

/// Calls `visit` for each entry of a directory.
fn each(
    action: &'static str,
    dir: &Path,
    mut visit: impl FnMut(&fs::DirEntry) -> Result<(), StackError>,
) -> Result<(), StackError> {
    let entries = fs::read_dir(dir).map_err(|error| failed(action, dir, error))?;
    for entry in entries {
        visit(&entry.map_err(|error| failed(action, dir, error))?)?;
    }
    Ok(())
}

/// Lists every directory and looks at every entry; gives the number of these.
fn walk(dir: &Path) -> Result<usize, StackError> {
    let mut seen = 0;
    let mut below = Vec::new();
    each("list", dir, |entry| {
        let path = entry.path();
        let found = fs::symlink_metadata(&path).map_err(|error| failed("look at", &path, error))?;
        seen += 1;
        if found.is_dir() {
            below.push(path);
        }
        Ok(())
    })?;
    for dir in below {
        seen += walk(&dir)?;
    }
    Ok(seen)
}

/// The first open(2) of files whose names are known already, so without the lookup.
fn opens(root: &Path, sample: &[&Path]) -> Result<(Measure, f64), StackError> {
    let mut files = Vec::new();
    for path in sample.iter().map(|path| root.join(path)) {
        let found = fs::symlink_metadata(&path).map_err(|error| failed("look at", &path, error))?;
        if found.is_file() {
            files.push(path);
        }
    }
    let start = Instant::now();
    for path in &files {
        File::open(path).map_err(|error| failed("open", path, error))?;
    }
    Ok((Measure::Open, microseconds(start, files.len())))
}

/// Starts programs of different packages in the tree, each twice, and waits for their ends; the mean of each.
fn execs(root: &Path) -> Result<Vec<(Measure, f64)>, StackError> {
    let all: Vec<_> = (0..PACKAGES).map(name).collect();
    let programs: Vec<_> =
        spread(&all, PROGRAMS).map(|name| Path::new("/usr/bin").join(name)).collect();
    let pass = || {
        let start = Instant::now();
        for program in &programs {
            let status = Command::new(program).stdin(Stdio::inherit()).status();
            let failed = |source| failed("start", program, source);
            if !status.map_err(failed)?.success() {
                return Err(failed(io::ErrorKind::Other.into()));
            }
        }
        Ok(milliseconds(start) / programs.len() as f64)
    };
    // The thread's root is the tree's, and no other's.
    let inside = || {
        unshare(CloneFlags::CLONE_FS).map_err(|error| StackError::Namespace(error.into()))?;
        std::os::unix::fs::chroot(root).map_err(|error| failed("enter", root, error))?;
        Ok(vec![(Measure::Exec, pass()?), (Measure::HotExec, pass()?)])
    };
    std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or(Err(StackError::Thread)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_sample_has_first_things_and_far_ones() {
        let things: Vec<usize> = (0..100).collect();
        assert_eq!(spread(&things, 4).copied().collect::<Vec<_>>(), [0, 25, 50, 75]);
        assert_eq!(spread(&things, 1000).count(), 100);
        assert_eq!(spread::<usize>(&[], 4).count(), 0);
    }

    #[test]
    fn a_walk_counts_what_is_below() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/c"), "").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        assert_eq!(walk(dir.path()).unwrap(), 4);
        let missing = dir.path().join("none");
        assert!(walk(&missing).unwrap_err().to_string().contains("none"));
    }
}
