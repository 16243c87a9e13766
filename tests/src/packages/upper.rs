//! An upper directory in which packages were installed becomes the tree of a layer.
#![expect(clippy::disallowed_methods, reason = "compares and removes files of two trees")]

use crate::files::{self, FileError};
use rustix::fs::{lgetxattr, llistxattr, lremovexattr};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the package manager and its helpers leave behind for themselves, and what is one machine's own.
const REMNANTS: [&str; 18] = [
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/machine-id",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/cache/debconf",
    "var/lib/apt",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/dpkg/updates",
    "var/lib/systemd/random-seed",
];

/// Directories whose files are logs and caches; the directories below them are the packages'.
const WITHOUT_FILES: [&str; 2] = ["var/log", "var/cache"];

/// With this, OverlayFS says about a directory that nothing below it shows.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Removes from `upper` what is no package's, what is the same in `base`, and the marks that OverlayFS made.
///
/// OverlayFS marks every new directory as opaque; as a layer it would hide those of other layers, so the mark stays only
/// where `base` has such a directory. Then it is a deletion, as a whiteout is: `layerctl build` refuses both.
pub(super) fn make_layer(upper: &Path, base: &Path) -> Result<(), FileError> {
    for remnant in REMNANTS {
        let path = upper.join(remnant);
        if files::is_dir(&path) {
            files::remove_tree(&path)?;
        } else {
            files::remove_file(&path)?;
        }
    }
    for dir in WITHOUT_FILES.map(|dir| upper.join(dir)) {
        if files::is_dir(&dir) {
            let paths = files::walk(&dir)?.into_iter();
            paths.filter(|path| !files::is_dir(path)).try_for_each(|p| files::remove_file(&p))?;
        }
    }
    let ssh = upper.join("etc/ssh");
    if files::is_dir(&ssh) {
        let is_key = |path: &Path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ssh_host_"))
        };
        let paths = files::list(&ssh)?.into_iter();
        paths.filter(|path| is_key(path)).try_for_each(|path| files::remove_file(&path))?;
    }
    strip(upper, true)?;
    reduce(upper, base)
}

/// Removes what `base` has in the same way, from the leaves up.
fn reduce(upper: &Path, base: &Path) -> Result<(), FileError> {
    for path in files::list(upper)? {
        let below = base.join(path.file_name().unwrap_or_default());
        let read = |path: &Path| fs::symlink_metadata(path);
        let meta = read(&path).map_err(|e| FileError::new("read", &path, e))?;
        let old = match read(&below) {
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                None
            }
            result => Some(result.map_err(|e| FileError::new("read", &below, e))?),
        };
        strip(&path, old.as_ref().is_some_and(Metadata::is_dir))?;
        if meta.is_dir() {
            reduce(&path, &below)?;
        }
        if old.is_some_and(|old| is_same(&meta, &old)) {
            remove_unless_changed(&path, &below, &meta)?;
        }
    }
    Ok(())
}

/// Same kind, mode and owner.
fn is_same(new: &Metadata, old: &Metadata) -> bool {
    (new.mode(), new.uid(), new.gid()) == (old.mode(), old.uid(), old.gid())
}

fn remove_unless_changed(path: &Path, below: &Path, meta: &Metadata) -> Result<(), FileError> {
    if meta.is_dir() {
        if files::list(path)?.is_empty() && lgetxattr(path, OPAQUE, &mut [0_u8; 8]).is_err() {
            files::remove_tree(path)?;
        }
    } else if meta.is_symlink() {
        let target = |path: &Path| fs::read_link(path).map_err(|e| FileError::new("read", path, e));
        if target(path)? == target(below)? {
            files::remove_file(path)?;
        }
    } else if meta.is_file() && files::read(path)? == files::read(below)? {
        files::remove_file(path)?;
    }
    Ok(())
}

/// Removes OverlayFS's own extended attributes, but not the mark of a directory that hides another one.
fn strip(path: &Path, hides: bool) -> Result<(), FileError> {
    let failed = |e: rustix::io::Errno| FileError::new("change attributes of", path, e.into());
    let mut names = vec![0; 64 << 10];
    let length = match llistxattr(path, &mut names) {
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        result => result.map_err(failed)?,
    };
    names.truncate(length);
    let names = names.split(|&byte| byte == 0).filter(|name| name.starts_with(b"trusted.overlay."));
    for name in names.filter(|name| !(hides && *name == OPAQUE.as_bytes())) {
        lremovexattr(path, name).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{XattrFlags, lsetxattr};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        files::make_dir(path.parent().unwrap()).unwrap();
        files::write(&path, text).unwrap();
    }

    #[test]
    fn what_is_the_packages_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (upper, base) = (dir.path().join("upper"), dir.path().join("base"));
        for root in [&upper, &base] {
            write(root, "etc/same", "same");
            write(root, "etc/mode", "same");
            symlink("same", root.join("etc/link")).unwrap();
            write(root, "etc/passwd", &root.display().to_string());
            files::make_dir(&root.join("usr/same")).unwrap();
        }
        fs::set_permissions(upper.join("etc/mode"), fs::Permissions::from_mode(0o600)).unwrap();
        write(&upper, "etc/new", "new");
        write(&upper, "etc/passwd-", "old");
        write(&upper, "etc/ssh/ssh_host_rsa_key", "key");
        write(&upper, "etc/ssh/sshd_config", "text");
        write(&upper, "var/log/dpkg.log", "text");
        write(&upper, "var/lib/dpkg/status", "text");
        write(&upper, "var/lib/dpkg/status-old", "text");
        write(&upper, "var/cache/apt/pkgcache.bin", "text");
        files::make_dir(&upper.join("usr/new")).unwrap();
        make_layer(&upper, &base).unwrap();
        let expected = "etc etc/mode etc/new etc/passwd etc/ssh etc/ssh/sshd_config usr usr/new var var/cache \
            var/cache/apt var/lib var/lib/dpkg var/lib/dpkg/status var/log";
        let left = files::walk(&upper).unwrap();
        let left = left.iter().map(|path| path.strip_prefix(&upper).unwrap().to_str().unwrap());
        assert_eq!(left.collect::<Vec<_>>(), expected.split_whitespace().collect::<Vec<_>>());
    }

    /// Trusted attributes are root's, as the whole of `cargo xtask test` is.
    #[test]
    fn a_mark_stays_only_over_a_directory_of_the_base() {
        let dir = tempfile::tempdir().unwrap();
        let (upper, base) = (dir.path().join("upper"), dir.path().join("base"));
        files::make_dir(&base.join("replaced")).unwrap();
        for name in ["new", "replaced"] {
            files::make_dir(&upper.join(name)).unwrap();
            for attribute in [OPAQUE, "trusted.overlay.origin"] {
                lsetxattr(upper.join(name), attribute, b"y", XattrFlags::empty()).unwrap();
            }
        }
        make_layer(&upper, &base).unwrap();
        let marks = |name: &str| {
            let mut names = vec![0; 1024];
            let length = llistxattr(upper.join(name), &mut names).unwrap();
            String::from_utf8_lossy(&names[..length]).into_owned()
        };
        assert_eq!(
            (marks("new").as_str(), marks("replaced").as_str()),
            ("", "trusted.overlay.opaque\0")
        );
    }
}
