//! Tar archives, unpacked by the system's tar: plain, gzip, xz or zstd, as it tells them apart itself.

#![expect(clippy::disallowed_methods, reason = "unpacks archives into directories")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use layers::plan::change::Refusal;

use crate::error::Error;
use crate::program;

/// Lists the members and refuses those that would land outside of the tree.
pub(crate) fn check(archive: &Path) -> Result<(), Error> {
    let mut tar = program::command("tar");
    // One member a line, whatever bytes its name has.
    tar.command
        .args(["--list", "--quoting-style=escape", "--absolute-names", "--file"])
        .arg(archive);
    let listing = tar.run()?.stdout;
    match String::from_utf8_lossy(&listing).lines().find(|name| leads_out(name)) {
        None => Ok(()),
        Some(name) => Err(Refusal::new(
            format!("{} has a member outside of its tree: {name}", archive.display()),
            "make the archive with relative paths: tar -C DIR -cf FILE .",
        )
        .into()),
    }
}

fn leads_out(name: &str) -> bool {
    name.starts_with('/') || name.split('/').any(|part| part == "..")
}

/// Unpacks into the new directory `to`. With `owners` everything keeps owner, mode and extended attributes.
pub(crate) fn unpack(archive: &Path, to: &Path, owners: bool) -> Result<(), Error> {
    check(archive)?;
    fs::create_dir(to).map_err(|error| Error::io("create", to, error))?;
    set_mode(to)?;
    let before = file_time(to)?;
    let mut tar = program::command("tar");
    tar.command.args(["--extract", "--numeric-owner", "--preserve-permissions"]);
    tar.command.arg(if owners { "--same-owner" } else { "--no-same-owner" });
    if owners {
        tar.command.args(["--xattrs", "--xattrs-include=*", "--acls"]);
    }
    tar.command.arg("--directory").arg(to).arg("--file").arg(archive);
    tar.run()?;
    settle_times(to, before)
}

/// A tree without a member for its root gets the mode that a root needs, whatever the umask is.
fn set_mode(directory: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
        .map_err(|error| Error::io("set the mode of", directory, error))
}

/// Now, as files in a directory get it: the kernel's clock for files goes in steps of some milliseconds and is behind.
fn file_time(directory: &Path) -> Result<SystemTime, Error> {
    tempfile::tempfile_in(directory)
        .and_then(|file| file.metadata()?.modified())
        .map_err(|error| Error::io("create a file in", directory, error))
}

/// Directories that the archive does not name got the time of unpacking; they get the newest time of the others, so
/// that one archive makes one image.
fn settle_times(root: &Path, before: SystemTime) -> Result<(), Error> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut made: Vec<PathBuf> = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let failed = |error| Error::io("read", &path, error);
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        let time = metadata.modified().map_err(failed)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(failed)? {
                todo.push(entry.map_err(failed)?.path());
            }
        }
        if time < before {
            newest = newest.max(time);
        } else if metadata.is_dir() {
            made.push(path);
        }
    }
    made.iter().try_for_each(|path| {
        File::open(path)
            .and_then(|directory| directory.set_modified(newest))
            .map_err(|error| Error::io("set the time of", path, error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_lead_out_are_seen() {
        for out in ["/etc/passwd", "../x", "usr/../../x", "usr/.."] {
            assert!(leads_out(out), "{out}");
        }
        for inside in ["./", "usr/bin/..x", "etc/a..b", "..."] {
            assert!(!leads_out(inside), "{inside}");
        }
    }
}
