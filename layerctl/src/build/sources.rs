//! Where packages come from, and where they are kept: a file of sources, and the cache.

#![expect(clippy::disallowed_methods, reason = "reads sources and makes the cache")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::sandbox::Bind;

/// A file of sources: sources.list(5) in either format, or a repository file of dnf's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources {
    /// The file.
    pub(crate) path: PathBuf,
    text: String,
}

impl Sources {
    /// Reads the file.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let path = path.canonicalize().map_err(|error| Error::io("open", path, error))?;
        let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
        Ok(Self { path, text })
    }

    /// The file and what of this machine it names, for a sandbox: the file itself at `to`.
    pub(super) fn binds(&self, to: &str) -> Vec<Bind> {
        let read_only = |from: PathBuf, to: PathBuf| Bind { from, to, read_only: true };
        let mut binds = vec![read_only(self.path.clone(), to.into())];
        let named = named_paths(&self.text).into_iter().map(PathBuf::from);
        binds.extend(
            named
                .filter(|path| path.is_absolute() && path.exists())
                .map(|path| read_only(path.clone(), path)),
        );
        binds
    }
}

/// Directories of repositories and files of keys that a text names.
fn named_paths(text: &str) -> Vec<&str> {
    let part = |c: char| c.is_whitespace() || "[],=".contains(c);
    let words = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = words.flat_map(|line| line.split(part)).filter(|word| !word.is_empty());
    let mut found = Vec::new();
    let mut key = false;
    for word in words {
        let local = ["file:", "copy:"].into_iter().find_map(|scheme| word.strip_prefix(scheme));
        match local {
            Some(path) => found.push(path.strip_prefix("//").unwrap_or(path)),
            None if key && word.starts_with('/') => found.push(word),
            None => {}
        }
        key = matches!(word.to_ascii_lowercase().as_str(), "signed-by" | "signed-by:");
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The directory that keeps lists and packages between builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cache {
    directory: PathBuf,
    /// Whether nothing is fetched.
    pub(crate) offline: bool,
}

impl Cache {
    /// A cache in `directory`, for the system that `system` names.
    pub(super) fn new(directory: &Path, system: &str, offline: bool) -> Self {
        Self { directory: directory.join(system), offline }
    }

    /// Waits until no other build uses it; until the file is closed, none does.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let path = self.directory.join("lock");
        fs::create_dir_all(&self.directory)
            .and_then(|()| File::create(&path))
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|error| Error::io("lock", &path, error))
    }

    /// A directory in it, which a sandbox sees at `to` and may write.
    pub(super) fn bind(&self, name: &str, to: &str) -> Result<Bind, Error> {
        let from = self.directory.join(name);
        fs::create_dir_all(&from).map_err(|error| Error::io("create", &from, error))?;
        Ok(Bind { from, to: to.into(), read_only: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_repositories_and_keys_are_found() {
        let text = "# deb file:/no x\ndeb [trusted=yes] file:/srv/repo ./\n\
            deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian trixie main\n\
            baseurl=file:///srv/rpms\nSigned-By: /k2.gpg\nTypes: deb\n";
        assert_eq!(named_paths(text), ["/k.gpg", "/k2.gpg", "/srv/repo", "/srv/rpms"]);
    }
}
