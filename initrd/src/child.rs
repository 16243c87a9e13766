//! Programs that PID 1 starts beside itself, by posix_spawn(3).
//!
//! Not by std::process: its environments that can be edited and its pipes that are read at once are 25 KiB of a program
//! that the initramfs holds in memory.

use std::{
    ffi::{CString, OsStr},
    fmt, io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use nix::{
    fcntl::{OFlag, open},
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn},
    sys::{
        signal::{Signal, kill},
        stat::Mode,
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// Where a child's standard input, output and error lead.
#[derive(Debug, Clone, Copy)]
pub enum Streams<'a> {
    /// Where those of PID 1 do.
    Own,
    /// Nowhere.
    Nowhere,
    /// Standard error to a pipe, the others nowhere.
    Errors(BorrowedFd<'a>),
}

/// A program that runs. It is not waited for unless somebody asks.
#[derive(Debug)]
pub struct Child(Pid);

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit status.
    Exited(i32),
    /// By a signal.
    Killed(Signal),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status: {status}"),
            Self::Killed(signal) => write!(f, "signal: {} ({signal})", *signal as i32),
        }
    }
}

impl Child {
    /// Starts a program in the current directory, with `environment` (lines of `NAME=VALUE`) and nothing else of PID 1's.
    pub fn start(
        program: &Path,
        arguments: &[&OsStr],
        environment: &[CString],
        streams: Streams<'_>,
    ) -> io::Result<Self> {
        let mut words = vec![CString::new(program.as_os_str().as_bytes())?];
        for argument in arguments {
            words.push(CString::new(argument.as_bytes())?);
        }
        let mut actions = PosixSpawnFileActions::init()?;
        let leads = match streams {
            Streams::Own => Vec::new(),
            Streams::Nowhere => vec![null()?, null()?, null()?],
            Streams::Errors(pipe) => vec![null()?, null()?, pipe.try_clone_to_owned()?],
        };
        for (stream, lead) in (0..).zip(&leads) {
            actions.add_dup2(lead.as_raw_fd(), stream)?;
        }
        let attributes = PosixSpawnAttr::init()?;
        Ok(Self(posix_spawn(program, &actions, &attributes, &words, environment)?))
    }

    /// Waits for its end.
    pub fn wait(&self) -> io::Result<Ended> {
        loop {
            match waitpid(self.0, None)? {
                WaitStatus::Exited(_, status) => return Ok(Ended::Exited(status)),
                WaitStatus::Signaled(_, signal, _) => return Ok(Ended::Killed(signal)),
                _ => {}
            }
        }
    }

    /// Kills it. One that has ended is none the worse for it, as long as it was not waited for.
    pub fn kill(&self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

/// A clone, since that is never one of the three: without a console, PID 1 has none of them open, and the first file
/// that it opens would be.
fn null() -> io::Result<OwnedFd> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    null.try_clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read as _, pipe},
        os::fd::AsFd as _,
    };

    fn shell(script: &str, streams: Streams<'_>) -> Child {
        let arguments = ["-c", script].map(OsStr::new);
        let environment = [c"A=b".to_owned()];
        Child::start(Path::new("/bin/sh"), &arguments, &environment, streams).unwrap()
    }

    #[test]
    fn a_child_has_the_arguments_the_environment_and_the_streams_that_it_is_given() {
        let (mut said, pipe) = pipe().unwrap();
        let script = "readlink /proc/self/fd/0 >&2; echo $A ${HOME-none} >&2; echo lost; exit 3";
        let child = shell(script, Streams::Errors(pipe.as_fd()));
        drop(pipe);
        let mut text = String::new();
        said.read_to_string(&mut text).unwrap();
        assert_eq!(text, "/dev/null\nb none\n");
        let ended = child.wait().unwrap();
        assert_eq!((ended, ended.to_string()), (Ended::Exited(3), "exit status: 3".to_owned()));
    }

    #[test]
    fn a_child_that_is_killed_tells_by_what() {
        let child = shell("kill -STOP $$", Streams::Nowhere);
        child.kill();
        assert_eq!(child.wait().unwrap().to_string(), "signal: 9 (SIGKILL)");
    }

    #[test]
    fn a_program_that_is_not_there_does_not_start() {
        let missing = Child::start(Path::new("/nowhere"), &[], &[], Streams::Own);
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
