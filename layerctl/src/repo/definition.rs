//! Which repositories are configured: one TOML file each, in the store and in /etc/layerctl/repos.d.
//!
//! ```toml
//! # main.toml: the file's name is the repository's
//! url = "https://layers.example.org/debian-13"
//! ```

#![expect(clippy::disallowed_methods, reason = "reads and writes the definitions")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use layers::id::Name;
use layers::layout::Layout;
use layers::plan::change::Refusal;
use layers::store::{publish, read};
use serde::{Deserialize, Serialize};

use super::location::Location;
use crate::context::Context;
use crate::error::Error;

/// The running system's own definitions, which layerctl only reads.
const SYSTEM: &str = "/etc/layerctl/repos.d";

/// A configured repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    /// Its name here.
    pub(crate) name: Name,
    /// Where it is.
    pub(crate) location: Location,
    /// The file that says so.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    /// Where the index lies.
    url: String,
}

/// All that are configured, by name. The store's own come before the system's of the same name.
pub(crate) fn all(context: &Context, layout: &Layout) -> Result<Vec<Repository>, Error> {
    let mut found = BTreeMap::new();
    if context.is_running_system() {
        found.extend(in_directory(Path::new(SYSTEM))?);
    }
    found.extend(in_directory(&layout.repositories())?);
    Ok(found.into_values().collect())
}

fn in_directory(directory: &Path) -> Result<BTreeMap<Name, Repository>, Error> {
    let failed = |error| Error::io("read", directory, error);
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = BTreeMap::new();
    for entry in listing {
        let file = entry.map_err(failed)?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // Other names are none of ours: an editor's copies, what was never published.
        if let Some(Ok(name)) = name.strip_suffix(".toml").map(str::parse::<Name>) {
            found.insert(name.clone(), parse(name, file)?);
        }
    }
    Ok(found)
}

fn parse(name: Name, file: PathBuf) -> Result<Repository, Error> {
    let text = read::text(&file).map_err(|error| Error::io("read", &file, error))?;
    let wrong = |why: String| {
        let what = format!("{} names no repository: {why}", file.display());
        Refusal::new(what, "correct it, url = \"https://HOST/PATH\", or remove the file")
    };
    let definition: Definition =
        toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let location = definition.url.parse::<Location>().map_err(|error| wrong(error.to_string()))?;
    Ok(Repository { name, location, file })
}

/// Writes a definition into the store.
pub(crate) fn write(layout: &Layout, name: &Name, location: &Location) -> Result<(), Error> {
    make_directory(&layout.repositories())?;
    let definition = Definition { url: location.to_string() };
    let text =
        toml::to_string(&definition).map_err(|error| Error::Output(io::Error::other(error)))?;
    let path = layout.repository(name);
    publish::file(&path, &text).map_err(|error| Error::io("write", &path, error))
}

/// Makes a directory of the store that older ones do not have, with those above it.
pub(crate) fn make_directory(directory: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(directory);
    made.map_err(|error| Error::io("create", directory, error))
}
