//! The password of a secret key: from the terminal without an echo, from a file, or from a file descriptor.

#![expect(clippy::disallowed_methods, reason = "reads passwords")]

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use layers::plan::change::Refusal;

use crate::error::Error;

/// The longest password that minisign takes, in bytes.
const LONGEST: usize = 1024;

/// Where a password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PasswordSource {
    /// Whoever sits at the terminal.
    Terminal,
    /// The first line of a file.
    File(PathBuf),
    /// The first line of what an open file descriptor gives.
    Descriptor(u32),
}

impl PasswordSource {
    /// The password of a key that is there; `key` is its file.
    pub(crate) fn ask(&self, key: &Path) -> Result<String, Error> {
        match self {
            Self::Terminal => prompt(&format!("Password of {}: ", key.display())),
            Self::File(path) => first_line(path),
            Self::Descriptor(number) => first_line(Path::new(&format!("/proc/self/fd/{number}"))),
        }
    }

    /// The password of a key that is about to be made: on a terminal it is asked for twice.
    pub(crate) fn choose(&self, key: &Path) -> Result<String, Error> {
        let password = self.ask(key)?;
        if *self == Self::Terminal && prompt("The same once more: ")? != password {
            return Err(Refusal::new("the two passwords differ", "type the command again").into());
        }
        if password.is_empty() {
            let what = "the password is empty";
            return Err(Refusal::new(what, "for a key without one: --no-password").into());
        }
        Ok(password)
    }
}

fn prompt(text: &str) -> Result<String, Error> {
    rpassword::prompt_password(text).map_err(|error| {
        let what = format!("no password can be asked for: {error}");
        Refusal::new(what, "give it: --password-file FILE, or --password-fd NUMBER").into()
    })
}

fn first_line(path: &Path) -> Result<String, Error> {
    let failed = |error| Error::io("read", path, error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LONGEST as u64 + 2).read_to_end(&mut bytes).map_err(failed)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let odd =
        || failed(io::Error::new(io::ErrorKind::InvalidData, "its first line is no password"));
    if line.len() > LONGEST {
        return Err(odd());
    }
    String::from_utf8(line.to_vec()).map_err(|_| odd())
}

impl From<&crate::cli::Password> for PasswordSource {
    fn from(typed: &crate::cli::Password) -> Self {
        match (&typed.password_file, typed.password_fd) {
            (Some(path), _) => Self::File(path.clone()),
            (None, Some(number)) => Self::Descriptor(number),
            (None, None) => Self::Terminal,
        }
    }
}
