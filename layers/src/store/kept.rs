//! What is kept of an upper when all else goes: the paths that a list of patterns names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::copy::{Links, below, copy_directory, copy_tree};
use super::tree;
use crate::exec::HostError;

/// The paths that the patterns name, sorted, each once, none of them below another.
fn paths(top: &Path, patterns: &[String]) -> Result<Vec<PathBuf>, HostError> {
    let mut named = BTreeSet::new();
    for pattern in patterns {
        named.extend(matches(top, pattern)?);
    }
    let alone = |path: &&PathBuf| path.ancestors().skip(1).all(|above| !named.contains(above));
    Ok(named.iter().filter(alone).cloned().collect())
}

/// The entries of `top` that a relative pattern names; its last component may end in `*`. Symbolic links are not
/// followed: they may lead out of the upper.
pub(super) fn matches(top: &Path, pattern: &str) -> Result<Vec<PathBuf>, HostError> {
    let (parent, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let parent = Path::new(parent);
    for above in parent.ancestors() {
        if !look(&top.join(above))?.is_some_and(|found| found.is_dir()) {
            return Ok(Vec::new());
        }
    }
    let Some(prefix) = last.strip_suffix('*') else {
        let path = parent.join(last);
        return Ok(look(&top.join(&path))?.map(|_| path).into_iter().collect());
    };
    let names = tree::sorted(&top.join(parent))?;
    let starts = |name: &OsStr| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    Ok(names.into_iter().filter(|name| starts(name)).map(|name| parent.join(name)).collect())
}

/// What is at a path, if anything is. What cannot be looked at is no reason to let go of it.
fn look(path: &Path) -> Result<Option<Metadata>, HostError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            Ok(None)
        }
        Err(error) => Err(HostError::io("look at", path, error)),
    }
}

/// Copies the kept paths and the directories above them, `from` itself among these.
pub(super) fn copy(from: &Path, to: &Path, patterns: &[String]) -> Result<(), HostError> {
    let kept = paths(from, patterns)?;
    let mut links = Links::new();
    let mut above = BTreeSet::from([Path::new("")]);
    above.extend(kept.iter().flat_map(|path| path.ancestors().skip(1)));
    for directory in &above {
        let to = below(to, directory);
        let made = DirBuilder::new().mode(0o700).create(&to);
        made.map_err(|error| HostError::io("create", &to, error))?;
    }
    for path in &kept {
        copy_tree(&from.join(path), &to.join(path), &mut links)?;
    }
    // Without the opaque mark: what the images have beside the kept paths must show again.
    let attributes = |path: &&Path| copy_directory(&below(from, path), &below(to, path));
    above.iter().rev().try_for_each(attributes)
}
