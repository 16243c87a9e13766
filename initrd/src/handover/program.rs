//! Which program the new root starts as init, looked up as it will be seen from inside: symbolic links, absolute ones
//! too, are followed below the new root (openat2(2), RESOLVE_IN_ROOT; Linux 5.6).

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open as open_path, openat2},
    sys::stat::{Mode, SFlag, fstat},
};

/// The programs tried where `init=` names none: the kernel's own list (Linux, init/main.c) without its shell, which
/// nobody asked for, and systemd's place for bases that have no /sbin/init.
pub const DEFAULTS: [&str; 4] =
    ["/sbin/init", "/usr/lib/systemd/systemd", "/etc/init", "/bin/init"];

/// Why a root has no program to start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The one asked for is not usable.
    #[error("the root has no usable {program}, which init= asks for: {why}")]
    Requested {
        /// As on the command line.
        program: PathBuf,
        /// What is wrong with it.
        why: Unusable,
    },
    /// None of the usual ones is usable.
    #[error("the root has no init: {}", .tried.join("; "))]
    None {
        /// Path and reason for each.
        tried: Vec<String>,
    },
}

/// Why a file cannot be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It cannot be found or reached.
    #[error("{0}")]
    Unreachable(Errno),
    /// It is a directory or a special file.
    #[error("it is no regular file")]
    NoFile,
    /// No execute permission is set.
    #[error("it is not executable")]
    NotExecutable,
}

/// The program to start in `root`, as a path inside it.
pub fn find(root: &Path, requested: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(program) = requested {
        return match usable(root, program) {
            Ok(()) => Ok(program.to_owned()),
            Err(why) => Err(Error::Requested { program: program.to_owned(), why }),
        };
    }
    let mut tried = Vec::new();
    for program in DEFAULTS {
        match usable(root, Path::new(program)) {
            Ok(()) => return Ok(program.into()),
            Err(why) => tried.push(format!("{program}: {why}")),
        }
    }
    Err(Error::None { tried })
}

/// Opens a path inside `root` without following anything out of it; the descriptor only names the file (O_PATH).
pub fn open(root: &Path, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open_path(root, directory, Mode::empty())?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    openat2(root, path, how)
}

fn usable(root: &Path, program: &Path) -> Result<(), Unusable> {
    let file = open(root, program, OFlag::empty()).map_err(Unusable::Unreachable)?;
    let status = fstat(&file).map_err(Unusable::Unreachable)?;
    if status.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(Unusable::NoFile);
    }
    if status.st_mode & 0o111 == 0 {
        return Err(Unusable::NotExecutable);
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make trees")]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    fn program(root: &Path, path: &str, mode: u32) {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn absolute_links_are_followed_inside_the_root() {
        let root = tempfile::TempDir::new().unwrap();
        let root = root.path();
        program(root, "usr/lib/layers-test/systemd", 0o755);
        fs::create_dir_all(root.join("usr/sbin")).unwrap();
        symlink("usr/sbin", root.join("sbin")).unwrap();
        symlink("/usr/lib/layers-test/systemd", root.join("usr/sbin/init")).unwrap();
        assert_eq!(find(root, None).unwrap(), Path::new("/sbin/init"));
        // The same link leads nowhere on the machine that runs the test.
        assert!(fs::metadata(root.join("sbin/init")).is_err());
    }

    #[test]
    fn the_defaults_are_tried_in_order_and_a_shell_is_none_of_them() {
        let root = tempfile::TempDir::new().unwrap();
        let root = root.path();
        program(root, "bin/sh", 0o755);
        let error = find(root, None).unwrap_err().to_string();
        assert!(error.starts_with("the root has no init: /sbin/init: ENOENT"), "{error}");
        program(root, "bin/init", 0o755);
        assert_eq!(find(root, None).unwrap(), Path::new("/bin/init"));
        program(root, "etc/init", 0o644);
        assert_eq!(find(root, None).unwrap(), Path::new("/bin/init"));
        program(root, "usr/lib/systemd/systemd", 0o755);
        assert_eq!(find(root, None).unwrap(), Path::new("/usr/lib/systemd/systemd"));
        fs::create_dir_all(root.join("sbin/init")).unwrap();
        assert_eq!(find(root, None).unwrap(), Path::new("/usr/lib/systemd/systemd"));
    }

    #[test]
    fn the_program_asked_for_is_taken_or_refused_but_never_replaced() {
        let root = tempfile::TempDir::new().unwrap();
        let root = root.path();
        program(root, "sbin/init", 0o755);
        program(root, "bin/own", 0o755);
        program(root, "bin/data", 0o644);
        symlink("/bin/loop", root.join("bin/loop")).unwrap();
        let find = |path: &str| find(root, Some(Path::new(path)));
        assert_eq!(find("/bin/own").unwrap(), Path::new("/bin/own"));
        assert_eq!(find("/../../bin/own").unwrap(), Path::new("/../../bin/own"));
        for (path, why) in [
            ("/bin/data", "it is not executable"),
            ("/bin", "it is no regular file"),
            ("/bin/none", "ENOENT: No such file or directory"),
            ("/bin/loop", "ELOOP: Too many symbolic links encountered"),
        ] {
            let expected = format!("the root has no usable {path}, which init= asks for: {why}");
            assert_eq!(find(path).unwrap_err().to_string(), expected);
        }
    }
}
