//! What a boot does to an upper before it is mounted: wiping, keeping, binding, and what is deleted afterwards.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test works on files and ends with the first surprise"
)]

mod files;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use files::{entry, fill, listing, node, root, set, temporary, write, xattrs};
use layers::machine_id::MachineId;
use layers::store::{bound, discard, upper};
use rustix::fs::FileType;

fn wipe(dir: &Path, keep: &[&str]) -> Vec<String> {
    let keep: Vec<String> = keep.iter().map(|path| (*path).to_owned()).collect();
    upper::wipe(dir, &keep).unwrap();
    discard::delete(dir).unwrap();
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

/// Else a boot that ends before it has applied the presets anew would leave the units of layers disabled for ever.
#[test]
fn a_wipe_forgets_what_was_preset() {
    let (_dir, from) = temporary();
    write(&from.join("presets"), "", 0o600);
    wipe(&from, &[]);
    assert_eq!(fs::read_dir(&from).unwrap().count(), 2, "upper and work alone");
}

#[test]
fn a_wipe_of_what_is_not_there_or_of_everything_leaves_an_empty_upper() {
    let (_dir, from) = temporary();
    assert!(wipe(&from, &[]).is_empty());
    fill(&from.join("upper"));
    assert!(wipe(&from, &[]).is_empty());
    fs::remove_dir(from.join("upper")).unwrap();
    upper::wipe(&from, &[]).unwrap();
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

#[test]
fn what_a_wipe_took_out_is_deleted_later_and_nothing_without_the_marker() {
    let (_dir, from) = temporary();
    fill(&from.join("upper"));
    // Somebody's directory that only has the name.
    write(&from.join(".tmp-discarded-0/precious"), "x", 0o600);
    upper::wipe(&from, &["hosts".to_owned()]).unwrap();
    assert_eq!(listing(&from.join("upper")), ["hosts"]);
    let taken = from.join(".tmp-discarded-1");
    assert!(taken.join("upper/bin/setuid").exists());
    assert_eq!(discard::pending(&from), std::slice::from_ref(&taken));
    discard::delete(&from).unwrap();
    assert!(!taken.exists());
    assert!(from.join(".tmp-discarded-0/precious").exists());
    assert!(discard::pending(&from).is_empty());
}

/// A wipe that was killed before the exchange leaves the old upper; what it had prepared is deleted.
#[test]
fn a_wipe_that_was_killed_is_begun_again() {
    let (_dir, from) = temporary();
    write(&from.join("upper/a"), "x", 0o600);
    write(&from.join(".tmp-discarded-0/.layerctl-discarded"), "", 0o600);
    write(&from.join(".tmp-discarded-0/upper/half"), "x", 0o600);
    assert_eq!(wipe(&from, &["a"]), ["a"]);
    assert_eq!(fs::read_dir(&from).unwrap().count(), 2, "upper and work alone");
}

#[test]
fn what_the_images_own_goes_out_of_the_upper() {
    let (dir, from) = temporary();
    write(&from.join("upper/lib/dpkg/status"), "old", 0o644);
    write(&from.join("upper/lib/apt/lists"), "kept", 0o644);
    symlink(dir.path(), from.join("upper/link")).unwrap();
    write(&dir.path().join("outside"), "kept", 0o644);
    let owned = ["lib/dpkg", "lib/rpm", "link/outside"].map(str::to_owned);
    upper::drop_owned(&from, &owned).unwrap();
    assert_eq!(listing(&from.join("upper")), ["lib", "lib/apt", "lib/apt/lists", "link"]);
    assert!(dir.path().join("outside").exists());
    discard::delete(&from).unwrap();
    upper::drop_owned(&from, &owned).unwrap();
    assert_eq!(fs::read_dir(&from).unwrap().count(), 2, "nothing is made for nothing");
}

#[test]
fn a_stamp_of_the_images_is_hidden_and_the_upper_s_own_goes() {
    let (dir, from) = temporary();
    let (upper, lower) = (from.join("upper"), dir.path().join("lower"));
    write(&upper.join(".updated"), "new", 0o644);
    fs::create_dir(&lower).unwrap();
    upper::hide_stamp(&upper, std::slice::from_ref(&lower)).unwrap();
    assert!(listing(&upper).is_empty());
    if !root() {
        return;
    }
    write(&lower.join(".updated"), "old", 0o644);
    for _ in 0..2 {
        upper::hide_stamp(&upper, std::slice::from_ref(&lower)).unwrap();
        let stamp = fs::symlink_metadata(upper.join(".updated")).unwrap();
        assert_eq!((stamp.mode() & 0o170_000, stamp.rdev()), (0o020_000, 0));
    }
}

#[test]
fn a_bound_directory_is_made_as_the_images_have_it_with_what_they_have_in_it() {
    let (dir, from) = temporary();
    let [top, bottom] = ["top", "bottom"].map(|name| dir.path().join(name));
    write(&bottom.join("lib/containers/storage/a"), "bottom", 0o600);
    write(&bottom.join("lib/containers/storage/b"), "bottom", 0o640);
    write(&top.join("lib/containers/storage/a"), "top", 0o600);
    fs::set_permissions(top.join("lib"), Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(top.join("lib/containers"), Permissions::from_mode(0o700)).unwrap();
    let lowers = [top, bottom];
    bound::make(&from, "lib/containers", 0o755, &lowers).unwrap();
    let mode = |path: &str| entry(&from.join(path)).mode & 0o7777;
    assert_eq!((mode("upper/lib"), mode("bound/lib/containers")), (0o711, 0o700));
    let text = |path: &str| fs::read_to_string(from.join("bound/lib/containers").join(path));
    assert_eq!(text("storage/a").unwrap(), "top");
    assert_eq!(text("storage/b").unwrap(), "bottom");
    assert!(listing(&from.join("upper/lib/containers")).is_empty(), "a mount point");
    // One that is there is left as it is.
    fs::remove_file(from.join("bound/lib/containers/storage/a")).unwrap();
    bound::make(&from, "lib/containers", 0o755, &lowers).unwrap();
    assert!(text("storage/a").is_err());
    bound::make(&from, "lib/docker", 0o710, &lowers).unwrap();
    assert_eq!(mode("bound/lib/docker"), 0o710);
}

/// A path that is put on the bind list has had its files in the overlay before.
#[test]
fn what_the_upper_has_moves_to_where_it_is_bound() {
    if !root() {
        return;
    }
    let (dir, from) = temporary();
    let (upper, lower) = (from.join("upper"), dir.path().join("lower"));
    for path in ["own/a", "own/deleted", "own/seen/a", "own/hidden/a"] {
        write(&lower.join(path), "of the image", 0o600);
    }
    write(&upper.join("own/a"), "mine", 0o600);
    write(&upper.join("own/seen/b"), "mine", 0o600);
    write(&upper.join("own/hidden/b"), "mine", 0o600);
    set(&upper.join("own/hidden"), "trusted.overlay.opaque", b"y");
    node(&upper.join("own/deleted"), FileType::CharacterDevice);
    bound::make(&from, "own", 0o755, &[lower]).unwrap();
    let own = from.join("bound/own");
    assert_eq!(listing(&own), ["a", "hidden", "hidden/b", "seen", "seen/a", "seen/b"]);
    assert_eq!(fs::read_to_string(own.join("a")).unwrap(), "mine");
    assert!(xattrs(&own.join("hidden")).is_empty());
    assert!(listing(&upper.join("own")).is_empty(), "a mount point");
}

/// The power went after the directory had moved, and before its whiteouts were taken out.
#[test]
fn what_moved_to_where_it_is_bound_is_cleaned_in_the_next_boot() {
    if !root() {
        return;
    }
    let (dir, from) = temporary();
    let (bound, lower) = (from.join("bound/own"), dir.path().join("lower"));
    for path in ["own/deleted", "own/hidden/a"] {
        write(&lower.join(path), "of the image", 0o600);
    }
    write(&bound.join("hidden/b"), "mine", 0o600);
    set(&bound.join("hidden"), "trusted.overlay.opaque", b"y");
    node(&bound.join("deleted"), FileType::CharacterDevice);
    bound::make(&from, "own", 0o755, std::slice::from_ref(&lower)).unwrap();
    assert_eq!(listing(&bound), ["hidden", "hidden/b"]);
    assert!(xattrs(&bound.join("hidden")).is_empty());
    // Later on, such devices are a container's.
    node(&bound.join("deleted"), FileType::CharacterDevice);
    bound::make(&from, "own", 0o755, &[lower]).unwrap();
    assert_eq!(listing(&bound), ["deleted", "hidden", "hidden/b"]);
}

#[test]
fn a_path_that_leads_elsewhere_is_not_bound() {
    let (dir, from) = temporary();
    let upper = from.join("upper");
    fs::create_dir(upper.join("lib")).unwrap();
    symlink(dir.path(), upper.join("lib/docker")).unwrap();
    for path in ["lib/docker", "lib/docker/volumes"] {
        let error = bound::make(&from, path, 0o710, &[]).unwrap_err();
        assert!(error.to_string().contains("ot a directory"), "{error}");
    }
    assert!(!dir.path().join("volumes").exists());
    assert!(!from.join("bound").exists());
}

#[test]
fn a_bound_directory_that_was_deleted_comes_back_empty() {
    if !root() {
        return;
    }
    let (dir, from) = temporary();
    let lower = dir.path().join("lower");
    write(&lower.join("lib/docker/a"), "of the image", 0o600);
    fs::create_dir(from.join("upper/lib")).unwrap();
    node(&from.join("upper/lib/docker"), FileType::CharacterDevice);
    write(&lower.join("lib/libvirt/images/a"), "of the image", 0o600);
    node(&from.join("upper/lib/libvirt"), FileType::CharacterDevice);
    for path in ["lib/docker", "lib/libvirt/images"] {
        bound::make(&from, path, 0o710, std::slice::from_ref(&lower)).unwrap();
        assert!(listing(&from.join("bound").join(path)).is_empty());
        assert!(from.join("upper").join(path).is_dir());
    }
    // What else was deleted with it does not come back.
    assert_eq!(xattrs(&from.join("upper/lib/libvirt"))["trusted.overlay.opaque"], b"y");
    assert!(xattrs(&from.join("upper/lib")).is_empty());
}

#[test]
fn a_wipe_empties_what_is_bound_too() {
    let (_dir, from) = temporary();
    write(&from.join("upper/a"), "x", 0o600);
    write(&from.join("bound/lib/docker/image"), "x", 0o600);
    write(&from.join("bound/lib/own/kept"), "x", 0o600);
    wipe(&from, &["lib/own"]);
    assert_eq!(listing(&from.join("bound")), ["lib", "lib/own", "lib/own/kept"]);
}

#[test]
fn only_whiteouts_over_a_lower_are_forgotten() {
    if !root() {
        return;
    }
    let (dir, from) = temporary();
    let (upper, lower) = (from.join("upper"), dir.path().join("lower"));
    write(&lower.join("kiosk/a"), "x", 0o600);
    write(&lower.join("gone"), "x", 0o600);
    write(&lower.join("mine"), "x", 0o600);
    write(&upper.join("mine"), "changed", 0o600);
    write(&upper.join("kiosk/own"), "x", 0o600);
    set(&upper.join("kiosk"), "trusted.overlay.opaque", b"y");
    node(&upper.join("gone"), FileType::CharacterDevice);
    // A container's layer in somebody's home.
    write(&upper.join("me/storage/x"), "x", 0o600);
    node(&upper.join("me/storage/whiteout"), FileType::CharacterDevice);
    set(&upper.join("me/storage"), "trusted.overlay.opaque", b"y");
    bound::forget_lowers(&upper, &[lower]).unwrap();
    let left =
        ["kiosk", "kiosk/own", "me", "me/storage", "me/storage/whiteout", "me/storage/x", "mine"];
    assert_eq!(listing(&upper), left);
    assert!(xattrs(&upper.join("kiosk")).is_empty());
    assert_eq!(xattrs(&upper.join("me/storage")).len(), 1);
}

#[test]
fn an_ephemeral_upper_begins_with_what_is_kept() {
    let (dir, from) = temporary();
    write(&from.join("upper/machine-id"), "0123\n", 0o444);
    write(&from.join("upper/ssh/ssh_host_a"), "key", 0o600);
    write(&from.join("upper/hosts"), "gone", 0o644);
    let to = dir.path().join("tmpfs/etc/upper");
    let keep = ["machine-id".to_owned(), "ssh/ssh_host_*".to_owned()];
    upper::copy_kept(&from.join("upper"), &to, &keep).unwrap();
    assert_eq!(listing(&to), ["machine-id", "ssh", "ssh/ssh_host_a"]);
}

#[test]
fn a_machine_id_is_made_where_there_is_none_yet() {
    let id = MachineId::derive("4C4C4544-0042-3510-8052-B4C04F4A5931", "a").unwrap();
    let valid = "0123456789abcdef0123456789abcdef\n";
    // Upper, lower, whether one is made.
    let cases = [
        (None, None, true),
        (None, Some(""), true),
        (None, Some("uninitialized\n"), true),
        (Some(""), Some(valid), true),
        (None, Some(valid), false),
        (Some(valid), Some(""), false),
    ];
    for (upper, lower, made) in cases {
        let (dir, from) = temporary();
        let [top, bottom] = [from.join("upper"), dir.path().join("lower")];
        let fill = |top: &Path, text: Option<&str>| {
            text.iter().for_each(|text| write(&top.join("machine-id"), text, 0o444));
        };
        fill(&top, upper);
        fill(&bottom, lower);
        upper::make_machine_id(&top, &[bottom], id).unwrap();
        let found = fs::read_to_string(top.join("machine-id")).unwrap_or_default();
        assert_eq!(found == format!("{id}\n"), made, "{upper:?} {lower:?}");
    }
}
