//! Files with everything that a file can have, and what is compared of them.

#![allow(dead_code, reason = "no test uses all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test works on files and ends with the first surprise"
)]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr,
    lsetxattr, mknodat, utimensat,
};

/// What is compared of one entry: kind and mode, owner, size, device number, links, modification time, content or
/// target, extended attributes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    rdev: u64,
    pub(crate) links: u64,
    mtime: (i64, i64),
    content: Vec<u8>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

pub(crate) fn entry(path: &Path) -> Entry {
    let metadata = fs::symlink_metadata(path).unwrap();
    let content = if metadata.is_symlink() {
        fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
    } else if metadata.is_file() {
        fs::read(path).unwrap()
    } else {
        Vec::new()
    };
    Entry {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        rdev: metadata.rdev(),
        links: if metadata.is_dir() { 0 } else { metadata.nlink() },
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        content,
        xattrs: xattrs(path),
    }
}

pub(crate) fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = llistxattr(path, &mut names).unwrap();
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = lgetxattr(path, name, &mut value).unwrap();
            (String::from_utf8(name.to_vec()).unwrap(), value[..length].to_vec())
        })
        .collect()
}

pub(crate) fn tree(top: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    let mut todo = vec![top.to_owned()];
    while let Some(path) = todo.pop() {
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path.strip_prefix(top).unwrap().to_owned(), entry(&path));
    }
    found
}

pub(crate) fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn set(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|error| panic!("{name} on {}: {error}", path.display()));
}

pub(crate) fn node(path: &Path, kind: FileType) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), 0).unwrap();
}

/// trusted.* and foreign owners are root's alone.
pub(crate) fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not root: trusted extended attributes and foreign owners are left out");
    }
    root
}

/// user::rw-, user:1234:r--, group::r--, mask::r--, other::r-- (linux/posix_acl_xattr.h).
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xd2, 4, 0, 0, 4, 0, 4, 0, 255, 255,
    255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
];

/// An upper with one of everything.
pub(crate) fn fill(upper: &Path) {
    write(&upper.join("hosts"), "127.0.0.1 localhost\n", 0o644);
    write(&upper.join("shadow"), "root:*:\n", 0o640);
    write(&upper.join("bin/setuid"), "#!", 0o4755);
    write(&upper.join("bin/setgid"), "#!", 0o2755);
    write(&upper.join("empty"), "", 0o400);
    write(&upper.join("deep/er/and/deeper/file"), "x", 0o600);
    fs::set_permissions(upper.join("deep"), Permissions::from_mode(0o1777)).unwrap();
    fs::hard_link(upper.join("hosts"), upper.join("deep/hosts")).unwrap();
    symlink("../run/resolv.conf", upper.join("resolv.conf")).unwrap();
    symlink("/nowhere", upper.join("dangling")).unwrap();
    node(&upper.join("whiteout"), FileType::CharacterDevice);
    node(&upper.join("fifo"), FileType::Fifo);
    node(&upper.join("socket"), FileType::Socket);
    set(&upper.join("hosts"), "user.note", b"kept");
    set(&upper.join("deep"), "user.empty", b"");
    set(&upper.join("shadow"), "system.posix_acl_access", &ACL);
    set(&upper.join("deep/er"), "system.posix_acl_default", &ACL);
    if root() {
        for (path, uid, gid) in [("shadow", 0, 42), ("bin/setuid", 1234, 5678), ("deep", 7, 8)] {
            std::os::unix::fs::chown(upper.join(path), Some(uid), Some(gid)).unwrap();
        }
        std::os::unix::fs::lchown(upper.join("dangling"), Some(9), Some(9)).unwrap();
        // chown(2) took the bit.
        fs::set_permissions(upper.join("bin/setuid"), Permissions::from_mode(0o4755)).unwrap();
        set(&upper.join("bin/setuid"), "security.capability", &CAPABILITY);
        set(&upper.join("deep"), "trusted.overlay.opaque", b"y");
        set(&upper.join("hosts"), "trusted.overlay.protattr", b"i");
    }
    for (path, seconds) in [("hosts", 1), ("resolv.conf", 2), ("deep/er", 3), ("deep", 4), ("", 5)]
    {
        let time = Timespec { tv_sec: 1_000_000_000 + seconds, tv_nsec: 123_456_789 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, upper.join(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// cap_net_bind_service+ep, revision 2 (linux/capability.h).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub(crate) fn temporary() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("1");
    fs::create_dir_all(from.join("upper")).unwrap();
    fs::create_dir_all(from.join("work")).unwrap();
    (dir, from)
}

pub(crate) fn listing(top: &Path) -> Vec<String> {
    let names = tree(top).into_keys().map(|path| path.display().to_string());
    names.filter(|path| !path.is_empty()).collect()
}
