//! The configuration file: where it is, and what it says.

#![expect(clippy::disallowed_methods, reason = "reads the file")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use layers::config::Config;

use crate::error::Error;

/// The machine's own.
const PATH: &str = "/etc/layerctl/layerctl.toml";

/// A configuration file that was read.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) config: Config,
}

impl ConfigFile {
    /// Reads the file that was named; it must be there.
    pub(crate) fn named(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        Self::parse(path, &text)
    }

    /// Reads the machine's own file, if there is one.
    pub(crate) fn of_this_machine() -> Result<Option<Self>, Error> {
        let path = Path::new(PATH);
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path, error)),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let config = Config::parse(text)
            .map_err(|source| Error::Config { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), config })
    }
}
