//! nginx with a log of what went over the wire.

use crate::bench::BenchError;
use crate::files::{self, FileError};
use crate::process;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// A port that is listened at as long as this lives.
pub(super) struct Server {
    listener: TcpListener,
    port: u16,
    dir: PathBuf,
}

/// A running nginx.
pub(super) struct Nginx {
    child: Child,
    log: PathBuf,
}

/// What went over the wire, both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// How many requests were made.
    pub(super) requests: u64,
    /// Bytes of requests and answers, with their heads.
    pub(super) bytes: u64,
}

impl Server {
    /// Listens; nginx's own files go into `dir`.
    pub(super) fn new(dir: &Path) -> Result<Self, BenchError> {
        let failed = |error| FileError::new("listen for", dir, error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty())
            .map_err(|error| failed(error.into()))?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, port, dir: dir.to_owned() })
    }

    /// Where what is served is found.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Serves a directory. Who connects before nginx has started waits for it: the socket listens already, and nginx takes it over
    /// as in an upgrade of its program.
    pub(super) fn serve(&self, root: &Path) -> Result<Nginx, BenchError> {
        let (dir, port, root) = (self.dir.display(), self.port, root.display());
        let log = self.dir.join("wire.log");
        files::remove_file(&log)?;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {dir}/tmp-{kind};\n"))
            .concat();
        let config = self.dir.join("nginx.conf");
        files::write(
            &config,
            format!(
                "daemon off; worker_processes 1; user root; pid {dir}/nginx.pid; events {{}}\n\
                 http {{ log_format wire '$bytes_sent $request_length'; access_log {dir}/wire.log wire;\n\
                 {temporary} server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
            ),
        )?;
        let child = process::command("setpriv")
            .args(["--pdeathsig", "TERM", "nginx", "-e", "error.log", "-p"])
            .arg(&self.dir)
            .arg("-c")
            .arg(&config)
            .env("NGINX", format!("{};", self.listener.as_raw_fd()))
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| FileError::new("start nginx for", &self.dir, error))?;
        Ok(Nginx { child, log })
    }
}

impl Nginx {
    /// Ends it when all that is asked for is answered, and counts.
    pub(super) fn finish(mut self) -> Result<Traffic, BenchError> {
        let failed = |error| FileError::new("end nginx for", &self.log, error);
        let id = i32::try_from(self.child.id()).map_err(|error| failed(io::Error::other(error)))?;
        kill(Pid::from_raw(id), Signal::SIGQUIT).map_err(|error| failed(error.into()))?;
        self.child.wait().map_err(failed)?;
        Ok(Traffic::parse(&files::read_text(&self.log)?))
    }
}

impl Traffic {
    /// Adds up a log with two numbers a line: bytes sent, bytes of the request.
    fn parse(log: &str) -> Self {
        let numbers =
            |line: &str| line.split(' ').filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
        log.lines().fold(Self::default(), |sum, line| Self {
            requests: sum.requests + 1,
            bytes: sum.bytes + numbers(line),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_added_up() {
        assert_eq!(Traffic::parse("300 120\n41000 130\n"), Traffic { requests: 2, bytes: 41_550 });
        assert_eq!(Traffic::parse(""), Traffic::default());
    }
}
