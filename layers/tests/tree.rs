//! Uppers on a real file system: what a copy keeps and drops, and how new ones are made.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test works on files and ends with the first surprise"
)]

mod files;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use files::{entry, fill, root, set, temporary, tree, write, xattrs};
use layers::plan::Upper;
use layers::store::tree::{Links, copy_tree, make_upper};

#[test]
fn a_clone_is_the_same_in_everything() {
    let (dir, from) = temporary();
    fill(&from.join("upper"));
    let to = dir.path().join("2");
    fs::create_dir(&to).unwrap();
    copy_tree(&from.join("upper"), &to.join("upper"), &mut Links::new()).unwrap();
    let (old, new) = (tree(&from.join("upper")), tree(&to.join("upper")));
    assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    for (path, entry) in &old {
        assert_eq!(&new[path], entry, "{}", path.display());
    }
    let inode = |path: &str| fs::metadata(to.join("upper").join(path)).unwrap().ino();
    assert_eq!(inode("hosts"), inode("deep/hosts"));
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
    fs::create_dir(&to).unwrap();
    copy_tree(&from.join("upper"), &to.join("upper"), &mut Links::new()).unwrap();
    let left: Vec<String> = xattrs(&to.join("upper")).into_keys().collect();
    assert_eq!(left, ["trusted.overlay.opaque", "trusted.overlay.redirect"]);
    assert!(xattrs(&to.join("upper/file")).is_empty());
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
