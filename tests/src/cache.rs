//! Results kept under a key of their inputs.

use crate::files::{self, FileError};
use crate::workspace::Workspace;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A key made of everything that a result depends on.
#[derive(Debug, Clone)]
pub struct Key {
    hash: Sha256,
}

impl Key {
    /// Starts a key. `recipe` is the text of the code that makes the result, so that a changed recipe makes it anew.
    pub fn new(recipe: &str) -> Self {
        Self { hash: Sha256::new() }.with(recipe)
    }

    /// Adds one input; the order of inputs counts.
    #[must_use]
    pub fn with(mut self, input: impl AsRef<[u8]>) -> Self {
        let input = input.as_ref();
        self.hash.update((input.len() as u64).to_le_bytes());
        self.hash.update(input);
        self
    }

    /// Adds the names and bytes of the files below a directory, and the names and targets of the links.
    pub fn with_tree(mut self, dir: &Path) -> Result<Self, FileError> {
        for path in files::walk(dir)? {
            let content = if files::is_file(&path) {
                files::read(&path)?
            } else if let Some(target) = files::link_target(&path)? {
                target.as_os_str().as_encoded_bytes().to_owned()
            } else {
                continue;
            };
            let name = path.strip_prefix(dir).unwrap_or(&path);
            self = self.with(name.as_os_str().as_encoded_bytes()).with(content);
        }
        Ok(self)
    }

    /// The key as 16 hexadecimal digits.
    pub fn text(&self) -> String {
        let digest = self.hash.clone().finalize();
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The directory `cache/KIND/KEY`, made by `make` where it is not there yet.
///
/// `make` gets an empty directory that takes its name only when `make` succeeds.
pub fn directory<E: From<FileError>>(
    workspace: &Workspace,
    kind: &str,
    key: &Key,
    make: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let done = workspace.cache().join(kind).join(key.text());
    if files::exists(&done) {
        return Ok(done);
    }
    // Two runs at once make it once.
    let lock = workspace.cache().join(format!("{kind}.lock"));
    files::make_dir(lock.parent().unwrap_or(&lock))?;
    let _lock = files::lock(&lock)?;
    if files::exists(&done) {
        return Ok(done);
    }
    let building = done.with_extension("building");
    files::make_empty_dir(&building)?;
    make(&building)?;
    files::rename(&building, &done)?;
    forget_oldest(done.parent().unwrap_or(&done))?;
    Ok(done)
}

/// How many results of one kind stay: enough for the inputs of a few branches and for both builders of the base.
const KEPT: usize = 6;

fn forget_oldest(kind: &Path) -> Result<(), FileError> {
    let mut results = Vec::new();
    for path in files::list(kind)? {
        results.push((files::modified(&path)?, path));
    }
    results.sort();
    let surplus = results.len().saturating_sub(KEPT);
    results.iter().take(surplus).try_for_each(|(_, path)| files::remove_tree(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_results_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..=KEPT {
            let result = dir.path().join(number.to_string());
            files::make_dir(&result).unwrap();
            let age = std::time::Duration::from_secs(1000 - number as u64);
            let time = files::modified(&result).unwrap() - age;
            files::open(&result).unwrap().set_modified(time).unwrap();
        }
        forget_oldest(dir.path()).unwrap();
        let left = files::list(dir.path()).unwrap();
        assert_eq!(left.len(), KEPT);
        assert!(!left.contains(&dir.path().join("0")), "{left:?}");
    }

    #[test]
    fn the_bounds_between_inputs_count() {
        let key =
            |parts: &[&str]| parts.iter().fold(Key::new("r"), |key, part| key.with(part)).text();
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["b"]));
    }
}
