//! The protofile of mkfs.xfs(8), which tells it what to put into a new file system.
#![expect(clippy::disallowed_methods, reason = "reads the directory that is to be copied")]

use super::disk::DiskError;
use crate::files::{self, FileError};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The protofile for the contents of a directory.
pub(super) fn text(dir: &Path) -> Result<String, DiskError> {
    // The name of a boot image and two numbers, all of which mkfs.xfs reads over.
    let mut text = String::from("/\n0 0\nd--755 0 0\n");
    add(&mut text, dir)?;
    Ok(text)
}

fn add(text: &mut String, dir: &Path) -> Result<(), DiskError> {
    for path in files::list(dir)? {
        let unsayable = || DiskError::Unsayable(path.clone());
        let meta = fs::symlink_metadata(&path).map_err(|e| FileError::new("read", &path, e))?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unsayable)?;
        let source = path.to_str().ok_or_else(unsayable)?;
        if name.contains(char::is_whitespace) || source.contains(char::is_whitespace) {
            return Err(unsayable());
        }
        let bit = |mask, letter| if meta.mode() & mask != 0 { letter } else { '-' };
        let set_id = format!("{}{}", bit(0o4000, 'u'), bit(0o2000, 'g'));
        let owner = format!("{set_id}{:03o} {} {}", meta.mode() & 0o777, meta.uid(), meta.gid());
        // Writing to a string does not fail.
        let _ = if meta.is_dir() {
            let _ = writeln!(text, "{name} d{owner}");
            add(text, &path)?;
            Ok(())
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).map_err(|e| FileError::new("read", &path, e))?;
            writeln!(text, "{name} l{owner} {}", target.to_str().ok_or_else(unsayable)?)
        } else if meta.is_file() {
            writeln!(text, "{name} -{owner} {source}")
        } else {
            return Err(unsayable());
        };
    }
    text.push_str("$\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_becomes_a_protofile() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        fs::create_dir(top.join("d")).unwrap();
        fs::write(top.join("d/f"), "x").unwrap();
        std::os::unix::fs::symlink("d/f", top.join("l")).unwrap();
        let owner = |path: &str| {
            let meta = fs::symlink_metadata(top.join(path)).unwrap();
            format!("{:03o} {} {}", meta.mode() & 0o777, meta.uid(), meta.gid())
        };
        let expected = format!(
            "/\n0 0\nd--755 0 0\nd d--{}\nf ---{} {}\n$\nl l--{} d/f\n$\n",
            owner("d"),
            owner("d/f"),
            top.join("d/f").display(),
            owner("l"),
        );
        assert_eq!(text(top).unwrap(), expected);
    }

    #[test]
    fn a_name_with_a_space_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a b"), "").unwrap();
        assert!(matches!(text(dir.path()), Err(DiskError::Unsayable(_))));
    }
}
