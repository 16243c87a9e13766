//! A disk that writes down all that reaches it: QEMU's blklogwrites filter, exported as a file by FUSE.
#![expect(clippy::disallowed_methods, reason = "opens mountinfo and waits with a deadline")]

use super::CrashError;
use super::filesystem::program_at;
use crate::files;
use crate::write_log::SECTOR;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// How long the export may take to be there.
const DEADLINE: Duration = Duration::from_secs(20);

/// The running export.
pub(crate) struct Export {
    child: Child,
    at: PathBuf,
}

impl Export {
    /// Shows `image` at the file `at`; what is written there goes to the new file `log` too.
    pub(crate) fn start(image: &Path, log: &Path, at: &Path) -> Result<Self, CrashError> {
        files::create(log)?;
        files::create(at)?;
        let node = |text: String| ["--blockdev".to_owned(), text];
        let mut command = program_at("setpriv");
        // A daemon that outlives this process would keep the files busy.
        command.args(["--pdeathsig", "KILL", "qemu-storage-daemon"]);
        command.args(node(format!("driver=file,node-name=disk,filename={}", image.display())));
        command.args(node(format!("driver=file,node-name=log,filename={}", log.display())));
        command.args(node(format!(
            "driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size={SECTOR},log-append=off"
        )));
        let export =
            format!("type=fuse,id=export,node-name=logged,mountpoint={},writable=on", at.display());
        command.args(["--export", &export]);
        let failed = |source| CrashError::Io {
            doing: "start qemu-storage-daemon for",
            path: image.to_owned(),
            source,
        };
        let child = command.spawn().map_err(failed)?;
        let mut export = Self { child, at: at.to_owned() };
        export.wait().map_err(failed)?;
        Ok(export)
    }

    /// Waits until the file is mounted: mountinfo has an event for each change (proc(5)).
    fn wait(&mut self) -> io::Result<()> {
        let end = Instant::now() + DEADLINE;
        let mountinfo = File::open("/proc/self/mountinfo")?;
        loop {
            if std::fs::read_to_string("/proc/self/mountinfo")?
                .contains(&*self.at.to_string_lossy())
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended: {status}")));
            }
            if Instant::now() > end {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut events = [PollFd::new(mountinfo.as_fd(), PollFlags::POLLPRI)];
            poll(&mut events, PollTimeout::from(100_u8))?;
        }
    }

    /// Ends it; all that was written is in the image and the log.
    pub(crate) fn stop(mut self) -> Result<(), CrashError> {
        let failed = |source| CrashError::Io {
            doing: "end qemu-storage-daemon of",
            path: self.at.clone(),
            source,
        };
        let id = i32::try_from(self.child.id()).map_err(|e| failed(io::Error::other(e)))?;
        kill(Pid::from_raw(id), Signal::SIGTERM).map_err(|e| failed(e.into()))?;
        self.child.wait().map_err(failed).map(drop)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // Ended already where stop() was called; there both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
