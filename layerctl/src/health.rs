//! Health checks: executables that say by their exit status whether this boot is a good one.
//!
//! Those in `layerctl/health.d` are all required; one in /etc takes the place of one of its name in /usr/lib, as unit files
//! do. Greenboot's directories are honoured as greenboot reads them: `required.d`, `wanted.d`, and every `*.sh` whether
//! it is executable or not.

#![expect(clippy::disallowed_methods, reason = "finds and runs the checks")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Where the last run of this boot is written down, for `layerctl status`.
pub(crate) const REPORT: &str = "/run/layers/health.json";

/// The project's own directories, the one that takes precedence last.
const OWN: [&str; 2] = ["/usr/lib/layerctl/health.d", "/etc/layerctl/health.d"];

/// Greenboot's, and whether their checks are required (greenboot(8)).
const GREENBOOT: [(&str, bool); 4] = [
    ("/usr/lib/greenboot/check/required.d", true),
    ("/etc/greenboot/check/required.d", true),
    ("/usr/lib/greenboot/check/wanted.d", false),
    ("/etc/greenboot/check/wanted.d", false),
];

/// What greenboot runs its scripts with.
const SHELL: &str = "/bin/bash";

/// A check that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    path: PathBuf,
    required: bool,
    /// Whether it is a script that only a shell starts.
    by_shell: bool,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The check.
    pub(crate) path: PathBuf,
    /// Whether a boot on which it fails is no good one.
    pub(crate) required: bool,
    /// What it says, where that is not that all is well: `exit status: 1`.
    pub(crate) failure: Option<String>,
}

impl Outcome {
    /// Whether this keeps the boot from being a good one.
    pub(crate) fn is_fatal(&self) -> bool {
        self.required && self.failure.is_some()
    }
}

/// The checks of this machine, in the order in which they are run.
pub(crate) fn of_this_machine() -> Result<Vec<Check>, Error> {
    let mut own: BTreeMap<_, Check> = BTreeMap::new();
    for directory in OWN {
        let found = list(Path::new(directory))?;
        own.extend(
            found
                .into_iter()
                .filter_map(|path| Some((path.file_name()?.to_owned(), path)))
                .map(|(name, path)| (name, Check { path, required: true, by_shell: false })),
        );
    }
    let mut checks: Vec<Check> =
        own.into_values().filter(|check| is_program(&check.path)).collect();
    for (directory, required) in GREENBOOT {
        for path in list(Path::new(directory))? {
            let by_shell = !is_program(&path);
            let script = path.extension().is_some_and(|ending| ending == "sh") && path.is_file();
            if !by_shell || script {
                checks.push(Check { path, required, by_shell });
            }
        }
    }
    Ok(checks)
}

/// Every executable of the directory, as required checks.
pub(crate) fn of_directory(directory: &Path) -> Result<Vec<Check>, Error> {
    fs::read_dir(directory).map_err(|error| Error::io("read", directory, error))?;
    let programs = list(directory)?.into_iter().filter(|path| is_program(path));
    Ok(programs.map(|path| Check { path, required: true, by_shell: false }).collect())
}

/// Runs one check. What it writes goes where the command's own words go; in a unit that is the journal.
pub(crate) fn run(check: &Check) -> Outcome {
    let mut command = match check.by_shell {
        true => Command::new(SHELL),
        false => Command::new(&check.path),
    };
    if check.by_shell {
        command.arg(&check.path);
    }
    // Its words are for people; the command's own standard output stays for data.
    let command = command.stdin(Stdio::null()).stdout(io::stderr());
    let failure = match command.status() {
        Ok(status) if status.success() => None,
        Ok(status) => Some(status.to_string()),
        Err(error) => Some(format!("cannot be started: {error}")),
    };
    Outcome { path: check.path.clone(), required: check.required, failure }
}

/// What the last run of this boot came to; nothing where there was none.
pub(crate) fn last() -> Vec<Outcome> {
    let text = fs::read_to_string(REPORT).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Writes the outcomes down for [`last`], where this system was booted by the initrd.
pub(crate) fn write_down(outcomes: &[Outcome]) -> Result<(), Error> {
    let path = Path::new(REPORT);
    if !path.parent().is_some_and(Path::is_dir) {
        return Ok(());
    }
    let text =
        serde_json::to_vec(outcomes).map_err(|error| Error::Output(io::Error::other(error)))?;
    fs::write(path, text).map_err(|error| Error::io("write", path, error))
}

/// Files in a directory, by name; one that is missing has none. A link to /dev/null masks the file whose name it has.
fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", directory, error)),
    };
    let mut paths = Vec::new();
    for entry in listing {
        paths.push(entry.map_err(|error| Error::io("read", directory, error))?.path());
    }
    paths.sort();
    Ok(paths)
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
