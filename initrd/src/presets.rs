//! Enables what new images bring, as the system's presets have it (systemd.preset(5)).
//!
//! The system's own systemctl does it, in the new root and before its init starts: an enabled service runs in this boot
//! already.

#![expect(clippy::disallowed_methods, reason = "lists units and runs systemctl")]

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{PipeReader, Read, pipe},
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use layers::exec::{Host, execute};
use layers::plan::{Plan, boot::Presets};
use log::{info, warn};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::child::{Child, Ended, Streams};

const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];

/// A boot waits no longer for systemctl, which takes a fraction of a second.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why units were not preset.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// systemctl could not be run.
    #[error("{program} cannot be run: {source}")]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It failed.
    #[error("{program} preset {units}: {what}")]
    Failed {
        /// The program.
        program: PathBuf,
        /// The units, with spaces between.
        units: String,
        /// What it said.
        what: String,
    },
}

/// Presets the units that are new, writes that down, and unmounts what was mounted for the comparison. To be called in
/// the new root. A system without systemctl has no presets.
pub fn apply(presets: &Presets, host: &mut dyn Host) -> Result<(), Error> {
    let units = new_units(presets);
    let program = SYSTEMCTL.iter().map(Path::new).find(|program| program.exists());
    let done = match program {
        Some(program) if !units.is_empty() => {
            info!("presets of {}", words(&units));
            preset(program, &units)
        }
        _ => Ok(()),
    };
    if let (Ok(()), Some(record)) = (&done, &presets.record)
        && let Err(failure) = execute(&Plan { ops: vec![record.clone()] }, host)
    {
        // The presets are applied once more at the next boot, to the same effect.
        warn!("{failure}");
    }
    for at in &presets.unmount {
        if let Err(error) = host.unmount(at) {
            warn!("{error}");
        }
    }
    done
}

fn new_units(presets: &Presets) -> BTreeSet<String> {
    let (mut old, mut units) = (BTreeSet::new(), BTreeSet::new());
    old.extend(presets.old.iter().flat_map(|dir| units_in(dir)));
    let new = presets.new.iter().flat_map(|dir| units_in(dir));
    units.extend(new.filter(|unit| !old.contains(unit)));
    units
}

/// Unit files in a directory; no templates, which are enabled by instance, and no aliases, which are links.
fn units_in(directory: &Path) -> Vec<String> {
    const KINDS: [&str; 6] = ["service", "socket", "timer", "path", "mount", "target"];
    let Ok(listing) = fs::read_dir(directory) else { return Vec::new() };
    let files =
        listing.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    let is_unit = |name: &str| {
        name.rsplit_once('.')
            .is_some_and(|(stem, kind)| KINDS.contains(&kind) && !stem.ends_with('@'))
    };
    names.filter(|name| is_unit(name)).collect()
}

fn words(units: &BTreeSet<String>) -> String {
    units.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn preset(program: &Path, units: &BTreeSet<String>) -> Result<(), Error> {
    let run = |source| Error::Run { program: program.to_owned(), source };
    let mut arguments = ["--no-reload", "--preset-mode=enable-only", "preset", "--"].to_vec();
    arguments.extend(units.iter().map(String::as_str));
    let arguments: Vec<&OsStr> = arguments.into_iter().map(OsStr::new).collect();
    // No manager runs yet that could be asked.
    let environment =
        [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin", c"SYSTEMD_OFFLINE=1"].map(ToOwned::to_owned);
    let (errors, pipe) = pipe().map_err(run)?;
    let child = Child::start(program, &arguments, &environment, Streams::Errors(pipe.as_fd()))
        .map_err(run)?;
    // Only the child's is left, so its end is seen.
    drop(pipe);
    let said = read_until_exit(errors, &child);
    let ended = child.wait().map_err(run)?;
    if ended == Ended::Exited(0) {
        return Ok(());
    }
    let said = said.lines().last().unwrap_or_default().to_owned();
    let what = if said.is_empty() { ended.to_string() } else { said };
    Err(Error::Failed { program: program.to_owned(), units: words(units), what })
}

/// What the child says until it closes its standard error; one that takes too long is killed.
fn read_until_exit(mut errors: PipeReader, child: &Child) -> String {
    let mut said = Vec::new();
    let start = Instant::now();
    let mut buffer = [0; 1024];
    loop {
        let left = DEADLINE.saturating_sub(start.elapsed());
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(errors.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut fds, timeout), Ok(ready) if ready > 0) {
            // It may have ended in this moment; wait(2) tells.
            child.kill();
            break;
        }
        match errors.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => said.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presets(new: &Path, old: &Path) -> Presets {
        let [new, old] = [new, old].map(|path| vec![path.to_owned(), path.join("missing")]);
        Presets { new, old, record: None, unmount: Vec::new() }
    }

    #[test]
    fn units_are_new_where_no_image_had_them_before() {
        let (new, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["a.service", "b.socket", "t@.service", "a.service.wants", "c.timer"] {
            fs::write(new.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("a.service", new.path().join("alias.service")).unwrap();
        fs::write(old.path().join("c.timer"), "").unwrap();
        let units = new_units(&presets(new.path(), old.path()));
        assert_eq!(words(&units), "a.service b.socket");
    }
}
