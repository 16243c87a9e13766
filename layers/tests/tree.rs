//! Uppers on a real file system: what a clone keeps and drops, what a wipe leaves.

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

use layers::plan::Upper;
use layers::store::tree::{clone_upper, make_upper, wipe_upper};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr,
    lsetxattr, mknodat, utimensat,
};

/// What is compared of one entry: kind and mode, owner, size, device number, links, modification time, content or
/// target, extended attributes.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    rdev: u64,
    links: u64,
    mtime: (i64, i64),
    content: Vec<u8>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

fn entry(path: &Path) -> Entry {
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

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
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

fn tree(top: &Path) -> BTreeMap<PathBuf, Entry> {
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

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn set(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|error| panic!("{name} on {}: {error}", path.display()));
}

fn node(path: &Path, kind: FileType) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), 0).unwrap();
}

/// trusted.* and foreign owners are root's alone.
fn root() -> bool {
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
fn fill(upper: &Path) {
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

fn temporary() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("1");
    fs::create_dir_all(from.join("upper")).unwrap();
    fs::create_dir_all(from.join("work")).unwrap();
    (dir, from)
}

#[test]
fn a_clone_is_the_same_in_everything() {
    let (dir, from) = temporary();
    fill(&from.join("upper"));
    let to = dir.path().join("2");
    clone_upper(&from, &to).unwrap();
    let (old, new) = (tree(&from.join("upper")), tree(&to.join("upper")));
    assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    for (path, entry) in &old {
        assert_eq!(&new[path], entry, "{}", path.display());
    }
    let inode = |path: &str| fs::metadata(to.join("upper").join(path)).unwrap().ino();
    assert_eq!(inode("hosts"), inode("deep/hosts"));
    assert_eq!(fs::metadata(to.join("work")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_clone_forgets_what_overlayfs_noted_about_other_lowers() {
    if !root() {
        return;
    }
    let (dir, from) = temporary();
    let file = from.join("upper/file");
    write(&file, "x", 0o644);
    for name in ["origin", "impure", "uuid", "opaque", "redirect"] {
        set(&from.join("upper"), &format!("trusted.overlay.{name}"), b"y");
    }
    set(&file, "trusted.overlay.origin", b"handle");
    let to = dir.path().join("2");
    clone_upper(&from, &to).unwrap();
    let left: Vec<String> = xattrs(&to.join("upper")).into_keys().collect();
    assert_eq!(left, ["trusted.overlay.opaque", "trusted.overlay.redirect"]);
    assert!(xattrs(&to.join("upper/file")).is_empty());
}

#[test]
fn a_clone_takes_the_place_of_a_half_made_upper_and_never_of_a_whole_one() {
    let (dir, from) = temporary();
    write(&from.join("upper/hosts"), "new", 0o644);
    let to = dir.path().join("2");
    // The first boot of a generation was interrupted while its upper was made.
    fs::create_dir_all(to.join(".tmp-upper")).unwrap();
    clone_upper(&from, &to).unwrap();
    assert_eq!(fs::read_to_string(to.join("upper/hosts")).unwrap(), "new");
    write(&to.join("upper/hosts"), "mine", 0o644);
    let error = clone_upper(&from, &to).unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
    assert_eq!(fs::read_to_string(to.join("upper/hosts")).unwrap(), "mine");
    assert!(!dir.path().join(".tmp-2").exists());
}

#[test]
fn a_new_upper_looks_like_its_lower_and_an_old_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let like = dir.path().join("lower");
    fs::create_dir(&like).unwrap();
    fs::set_permissions(&like, Permissions::from_mode(0o1750)).unwrap();
    if root() {
        std::os::unix::fs::chown(&like, Some(12), Some(34)).unwrap();
    }
    let upper = Upper::below(&dir.path().join("upper/etc/7"));
    make_upper(&upper, Some(&like)).unwrap();
    let made = entry(&upper.upper);
    assert_eq!((made.mode & 0o7777, made.owner), (0o1750, entry(&like).owner));
    assert_eq!(entry(&upper.work).mode & 0o7777, 0o700);
    fs::set_permissions(&upper.upper, Permissions::from_mode(0o711)).unwrap();
    fs::remove_dir(&upper.work).unwrap();
    make_upper(&upper, Some(&like)).unwrap();
    assert_eq!(entry(&upper.upper).mode & 0o7777, 0o711);
    assert!(upper.work.is_dir());
    let free = Upper::below(&dir.path().join("upper/home"));
    make_upper(&free, Some(&dir.path().join("missing"))).unwrap();
    assert_eq!(entry(&free.upper).mode & 0o7777, 0o755);
}

fn listing(top: &Path) -> Vec<String> {
    let names = tree(top).into_keys().map(|path| path.display().to_string());
    names.filter(|path| !path.is_empty()).collect()
}

fn wipe(dir: &Path, keep: &[&str]) -> Vec<String> {
    let keep: Vec<String> = keep.iter().map(|path| (*path).to_owned()).collect();
    wipe_upper(dir, &keep).unwrap();
    listing(&dir.join("upper"))
}

#[test]
fn a_wipe_leaves_the_keep_list_with_the_attributes_of_all_above_it() {
    let (dir, from) = temporary();
    let upper = from.join("upper");
    fill(&upper);
    write(&upper.join("machine-id"), "0123\n", 0o444);
    write(&upper.join("ssh/ssh_host_a"), "key", 0o600);
    write(&upper.join("ssh/ssh_host_a.pub"), "pub", 0o644);
    write(&upper.join("ssh/sshd_config"), "gone", 0o644);
    fs::set_permissions(upper.join("ssh"), Permissions::from_mode(0o711)).unwrap();
    set(&upper.join("ssh"), "user.note", b"kept");
    fs::set_permissions(&upper, Permissions::from_mode(0o751)).unwrap();
    let kept = ["", "machine-id", "ssh", "ssh/ssh_host_a", "ssh/ssh_host_a.pub"];
    let old = kept.map(|path| entry(&upper.join(path)));
    let left = wipe(&from, &["machine-id", "ssh/ssh_host_*", "missing", "no/such/*"]);
    assert_eq!(left, kept[1..]);
    assert_eq!(kept.map(|path| entry(&upper.join(path))), old);
    assert_eq!(fs::read_dir(&from).unwrap().count(), 2, "upper and work alone");
    drop(dir);
}

#[test]
fn a_wipe_of_what_is_not_there_or_of_everything_leaves_an_empty_upper() {
    let (_dir, from) = temporary();
    assert!(wipe(&from, &[]).is_empty());
    fill(&from.join("upper"));
    assert!(wipe(&from, &[]).is_empty());
    fs::remove_dir(from.join("upper")).unwrap();
    wipe_upper(&from, &[]).unwrap();
    assert!(!from.join("upper").exists());
}

#[test]
fn patterns_that_overlap_keep_once() {
    for keep in [
        ["ssh/ssh_host_*", "ssh", "ssh/ssh_host_a"],
        ["ssh", "ssh/ssh_host_a", "ssh/ssh_host_*"],
        ["ssh", "ssh", "s*"],
    ] {
        let (_dir, from) = temporary();
        write(&from.join("upper/ssh/ssh_host_a"), "key", 0o600);
        write(&from.join("upper/ssh/sshd_config"), "kept with its directory", 0o600);
        let left = wipe(&from, &keep);
        assert_eq!(left, ["ssh", "ssh/ssh_host_a", "ssh/sshd_config"], "{keep:?}");
    }
}

#[test]
fn hard_links_among_what_is_kept_stay_links() {
    let (_dir, from) = temporary();
    write(&from.join("upper/a"), "x", 0o600);
    fs::hard_link(from.join("upper/a"), from.join("upper/b")).unwrap();
    wipe(&from, &["a", "b"]);
    assert_eq!(entry(&from.join("upper/a")).links, 2);
}

#[test]
fn a_kept_path_is_not_looked_for_behind_a_symbolic_link() {
    let (dir, from) = temporary();
    write(&dir.path().join("outside/ssh_host_a"), "not ours", 0o600);
    symlink(dir.path().join("outside"), from.join("upper/ssh")).unwrap();
    let left = wipe(&from, &["ssh/ssh_host_*", "ssh/ssh_host_a"]);
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(listing(&dir.path().join("outside")), ["ssh_host_a"]);
    symlink("target", from.join("upper/link")).unwrap();
    assert_eq!(wipe(&from, &["link"]), ["link"]);
}

/// OverlayFS marks each new directory opaque. After a wipe, what the images have there must show again.
#[test]
fn directories_above_kept_paths_no_longer_hide_the_images() {
    if !root() {
        return;
    }
    let (_dir, from) = temporary();
    write(&from.join("upper/ssh/ssh_host_a"), "key", 0o600);
    write(&from.join("upper/own/file"), "x", 0o600);
    for path in ["ssh", "own"] {
        set(&from.join("upper").join(path), "trusted.overlay.opaque", b"y");
    }
    wipe(&from, &["ssh/ssh_host_a", "own"]);
    assert!(xattrs(&from.join("upper/ssh")).is_empty());
    // A directory that is kept itself stays as it was.
    assert_eq!(xattrs(&from.join("upper/own")).len(), 1);
}

/// A wipe that was killed leaves the old upper or the new one, and the next one clears what it left.
#[test]
fn a_wipe_after_an_interrupted_one_leaves_nothing_of_it() {
    for left in [".tmp-upper", ".tmp-wiped"] {
        let (_dir, from) = temporary();
        write(&from.join("upper/a"), "x", 0o600);
        write(&from.join(left).join("secret"), "x", 0o600);
        assert_eq!(wipe(&from, &["a"]), ["a"]);
        assert_eq!(fs::read_dir(&from).unwrap().count(), 2, "upper and work alone");
    }
}
