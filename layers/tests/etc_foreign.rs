//! What of an /etc is told apart: what does not belong in an upper, what an audit names, and how paths are shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test works on files and ends with the first surprise"
)]

#[allow(dead_code, reason = "what an upper shows is for those that derive one")]
mod sketch;

use std::fs;
use std::path::Path;

use layers::etc::report::{escaped, shown};
use layers::store::derive::foreign;

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("left out: foreign owners and trusted extended attributes want root");
    }
    root
}

#[test]
fn foreign_things_are_found_up_to_a_limit() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let upper = dir.path().join("upper");
    sketch::make(
        &upper,
        "device a 8:1\nwhiteout b\nfile c/setgid mode 2755\nfile d xattr trusted.overlay.metacopy=\ndir e xattr trusted.overlay.redirect=/x\nfile f\n",
    );
    let all: Vec<String> =
        foreign(&upper, 100, false).unwrap().into_iter().map(|note| note.path).collect();
    assert_eq!(all, ["/etc/a", "/etc/c/setgid", "/etc/d", "/etc/e"]);
    assert_eq!(foreign(&upper, 2, false).unwrap().len(), 1);
    assert!(foreign(&dir.path().join("missing"), 100, false).unwrap().is_empty());
}

#[test]
fn what_a_report_shows_is_safe_on_a_terminal() {
    use std::os::unix::ffi::OsStrExt as _;
    let path = Path::new(std::ffi::OsStr::from_bytes(b"a\x1b[31m/\xff\n"));
    assert_eq!(shown(path), "/etc/a\\u{1b}[31m/\\xff\\n");
    assert_eq!(shown(Path::new("")), "/etc");
    assert_eq!(escaped("é".as_bytes()), "é");
}

#[test]
fn an_audit_tells_changes_and_deletions_of_what_decides_who_may_do_what() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let upper = dir.path().join("upper");
    let files = [
        "sudoers.d/me",
        "ssh/sshd_config",
        "ssh/moduli",
        "ld.so.preload",
        "hosts",
        "systemd/network/x",
    ];
    let text: String = files.iter().map(|path| format!("file {path}\n    | x\n")).collect();
    sketch::make(&upper, &text);
    let character = nix::sys::stat::SFlag::S_IFCHR;
    nix::sys::stat::mknod(&upper.join("pam.d"), character, nix::sys::stat::Mode::empty(), 0)
        .unwrap();
    let wanted = upper.join("systemd/system/a.wants");
    fs::create_dir_all(&wanted).unwrap();
    std::os::unix::fs::symlink("/usr/lib/x", wanted.join("x.service")).unwrap();
    let audited = |limit| -> Vec<String> {
        foreign(&upper, limit, true).unwrap().iter().map(ToString::to_string).collect()
    };
    let changed = |path: &str| format!("/etc/{path}: not as the images have it, and protected");
    let expected = [
        changed("ld.so.preload"),
        "/etc/pam.d: deleted here, and protected".to_owned(),
        changed("ssh/sshd_config"),
        changed("sudoers.d/me"),
        changed("systemd/system/a.wants/x.service"),
    ];
    assert_eq!(audited(100), expected);
    assert!(foreign(&upper, 100, false).unwrap().is_empty());
    assert_eq!(audited(1), ["/etc: more entries than were looked at"]);
    // What hides a protected directory is told as well.
    let opaque = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(upper.join("systemd"), "trusted.overlay.opaque", b"y", opaque).unwrap();
    assert!(audited(100).contains(&changed("systemd")));
}
