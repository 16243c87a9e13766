//! A directory in memory in which a verb runs: a store, what the verb makes, a TMPDIR and a /run of its own.

use super::InjectError;
use super::fault::{Case, Victim};
use super::judge::{End, Ran};
use super::verb::Verb;
use crate::files;
use crate::process::{self, ProcessError};
use crate::tools::find_program;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a run may take. The longest takes a twentieth of it on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long the kernel may take to detach a loop device whose user was killed.
const DETACHED: Duration = Duration::from_secs(5);

/// Runs its arguments in a mount namespace whose /run is the place's, and says which mounts were there before and after.
const SCRIPT: &str = r#"mount --bind "$PLACE/run" /run || exit 99
cat /proc/self/mountinfo >"$PLACE/mounts.before"
timeout -k 10 60 "$@"
status=$?
cat /proc/self/mountinfo >"$PLACE/mounts.after"
exit $status
"#;

/// A directory to run in.
#[derive(Debug)]
pub(super) struct Place {
    /// Where it is.
    pub(super) dir: PathBuf,
    layerctl: PathBuf,
}

impl Place {
    /// The place at `dir`, which nothing is made of yet.
    pub(super) fn new(dir: PathBuf, layerctl: &Path) -> Self {
        Self { dir, layerctl: layerctl.to_owned() }
    }

    /// Makes what `verb` finds. Trees and images lie beside the place.
    pub(super) fn prepare(&self, verb: &Verb) -> Result<(), InjectError> {
        files::make_empty_dir(&self.dir)?;
        for name in ["state", "out", "tmp", "run", "bin", "boot"] {
            files::make_dir(&self.dir.join(name))?;
        }
        for name in ["trees", "images"] {
            let link = self.dir.join(name);
            process::run(process::command("ln").args(["-s", &format!("../{name}")]).arg(link))?;
        }
        for command in verb.before {
            let ran = self.run(command, &mut Plain)?;
            if ran.end != End::Exit(0) {
                let (verb, command) = (verb.name, (*command).to_owned());
                return Err(InjectError::Before { verb, command, said: ran.stderr });
            }
        }
        for (path, text) in verb.files {
            let path = self.dir.join(path);
            if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                files::make_dir(&path)?;
            } else {
                files::make_dir(path.parent().unwrap_or(&self.dir))?;
                files::write(&path, text)?;
            }
        }
        Ok(())
    }

    /// Makes this a copy of another place.
    pub(super) fn copy(&self, other: &Self) -> Result<(), InjectError> {
        files::remove_tree(&self.dir)?;
        let mut copy = process::command("cp");
        Ok(process::run(copy.arg("-a").arg(&other.dir).arg(&self.dir))?)
    }

    /// What strace writes down.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("strace.log")
    }

    /// Runs a command of layerctl on the store.
    pub(super) fn run(&self, command: &str, way: &mut dyn Way) -> Result<Ran, InjectError> {
        let search = std::env::join_paths(
            std::iter::once(self.dir.join("bin"))
                .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from)),
        )
        .unwrap_or_default();
        let mut run = process::command("unshare");
        run.args(["--mount", "sh", "-c", SCRIPT, "sh"]);
        way.wrap(self, &mut run)?;
        run.arg(&self.layerctl).args(["--root", "state"]).args(command.split(' '));
        run.current_dir(&self.dir).env_clear().env("PATH", search).env("PLACE", &self.dir);
        run.env("TMPDIR", self.dir.join("tmp"));
        // One clock for all runs, so that they make the same.
        run.env("SOURCE_DATE_EPOCH", "1767225600");
        self.finish(&mut run)
    }

    #[expect(clippy::disallowed_methods, reason = "a run that never ends is seen by a clock")]
    fn finish(&self, run: &mut Command) -> Result<Ran, InjectError> {
        let start = Instant::now();
        let output = run
            .output()
            .map_err(|source| ProcessError::Start { program: "unshare".to_owned(), source })?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = output.status.code().unwrap_or(-1);
        let end = match status {
            _ if start.elapsed() >= DEADLINE => End::Never,
            129.. => End::Signal(status - 128),
            status => End::Exit(status),
        };
        Ok(Ran { end, stderr })
    }

    /// What a run left outside of the store and of what it was to make: mounts, loop devices.
    pub(super) fn leaked(&self) -> Result<Vec<String>, InjectError> {
        let mounts = |when: &str| files::read_text(&self.dir.join(format!("mounts.{when}")));
        let mut leaked = Vec::new();
        if mounts("before")? != mounts("after")? {
            leaked.push(format!("mounts: {}", mounts("after")?));
        }
        leaked.extend(self.attached()?.map(|device| format!("loop device {device}")));
        Ok(leaked)
    }

    /// A loop device that holds a file of this place for longer than the kernel needs to detach it.
    #[expect(clippy::disallowed_methods, reason = "the kernel detaches in its own time")]
    fn attached(&self) -> Result<Option<String>, InjectError> {
        let end = Instant::now() + DETACHED;
        loop {
            let found = self.attached_now()?;
            if found.is_none() || Instant::now() > end {
                return Ok(found);
            }
            std::thread::yield_now();
        }
    }

    fn attached_now(&self) -> Result<Option<String>, InjectError> {
        let place = self.dir.display().to_string() + "/";
        for device in files::list(Path::new("/sys/block"))? {
            // A device that is detached meanwhile has no such file any more.
            let backing = files::read_text(&device.join("loop/backing_file")).unwrap_or_default();
            if backing.starts_with(&place) {
                return Ok(Some(device.display().to_string()));
            }
        }
        Ok(None)
    }

    /// Names that are not published, and work directories: what a run left where it should leave nothing.
    pub(super) fn leftovers(&self) -> Result<Vec<String>, InjectError> {
        let mut left = Vec::new();
        for name in ["tmp", "run"] {
            left.extend(files::walk(&self.dir.join(name))?);
        }
        let unpublished = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(".tmp-") || name.starts_with(".layerctl-")
        };
        for name in ["state", "out"] {
            left.extend(files::walk(&self.dir.join(name))?.into_iter().filter(unpublished));
        }
        let show =
            |path: PathBuf| path.strip_prefix(&self.dir).unwrap_or(&path).display().to_string();
        Ok(left.into_iter().map(show).collect())
    }
}

/// What stands between the shell and layerctl.
pub(super) trait Way {
    /// Adds its words to the command, and its files to the place.
    fn wrap(&mut self, place: &Place, command: &mut Command) -> Result<(), InjectError>;
}

/// Nothing.
pub(super) struct Plain;

impl Way for Plain {
    fn wrap(&mut self, _: &Place, _: &mut Command) -> Result<(), InjectError> {
        Ok(())
    }
}

/// strace, which writes down all calls or does something to one.
pub(super) struct Traced<'a> {
    /// Whose calls.
    pub(super) victim: Victim,
    /// What is done to one of them.
    pub(super) case: Option<&'a Case>,
}

impl Way for Traced<'_> {
    fn wrap(&mut self, place: &Place, command: &mut Command) -> Result<(), InjectError> {
        let options = self.case.map(Case::options);
        let options = options.iter().flatten();
        match self.victim {
            Victim::Layerctl => {
                command.args(["strace", "-o"]).arg(place.log()).args(options);
            }
            Victim::Program(name) => {
                let real = find_program(name).ok_or(InjectError::NoProgram(name))?;
                let words: Vec<_> = options.map(String::as_str).collect();
                // Its name may be given to it several times in one run.
                let text = format!(
                    "#!/bin/sh\nexec strace -f -A -o '{}' {} '{}' \"$@\"\n",
                    place.log().display(),
                    words.join(" "),
                    real.display()
                );
                let wrapper = place.dir.join("bin").join(name);
                files::write(&wrapper, text)?;
                process::run(process::command("chmod").arg("755").arg(&wrapper))?;
            }
        }
        Ok(())
    }
}

/// No program is started in place of another any more.
pub(super) fn unwrap(place: &Place, victim: Victim) -> Result<(), InjectError> {
    match victim {
        Victim::Program(name) => Ok(files::remove_file(&place.dir.join("bin").join(name))?),
        Victim::Layerctl => Ok(()),
    }
}
