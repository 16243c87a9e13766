//! What a build leaves behind that is no package's: caches, logs, lists, and what is one machine's own. Pure.

use std::path::Path;

/// Directories in which nothing stays but directories that packages made.
const WITHOUT_FILES: [&str; 3] = ["var/cache", "var/log", "var/backups"];

/// Directories and files of which nothing stays.
const GONE: [&str; 19] = [
    "dev",
    "proc",
    "run",
    "sys",
    "tmp",
    "var/tmp",
    "var/lib/apt",
    "var/lib/dnf",
    "var/lib/dpkg/tmp.ci",
    "root/.cache",
    "root/.gnupg",
    "root/.rpmdb",
    "etc/.updated",
    "var/.updated",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/urandom/random-seed",
    "var/lib/systemd/credential.secret",
];

/// Whether an entry at this path, relative to the root, is left out of a layer.
pub(super) fn is_left_out(path: &Path, directory: bool) -> bool {
    let in_ssh = path.parent() == Some(Path::new("etc/ssh"));
    let key =
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ssh_host_"));
    GONE.iter().any(|gone| path.starts_with(gone))
        || in_ssh && key
        || !directory && WITHOUT_FILES.iter().any(|top| path.starts_with(top))
}

/// Whether an entry is byte code of Python's, or the directory for it.
pub(super) fn is_bytecode(path: &Path) -> bool {
    path.iter().any(|part| part == "__pycache__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_files_stay() {
        for path in ["etc/ssh/sshd_config", "var/lib/x", "usr/share/cache", "etc/machine-info"] {
            assert!(!is_left_out(Path::new(path), false), "{path}");
        }
        assert!(!is_left_out(Path::new("var/cache/nginx"), true));
        for path in
            ["var/cache/nginx/x", "var/log/dpkg.log", "etc/ssh/ssh_host_rsa_key", "etc/machine-id"]
        {
            assert!(is_left_out(Path::new(path), false), "{path}");
        }
        assert!(is_left_out(Path::new("var/lib/apt/lists"), true));
        assert!(is_bytecode(Path::new("usr/lib/python3/__pycache__/x.pyc")));
    }
}
