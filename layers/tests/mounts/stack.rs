//! Plans on layers that are directories, in a user and mount namespace.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use layers::exec::{Host, execute, undo};
use layers::host::{LinuxHost, Recorder};
use layers::plan::check::VALUE_MAX;
use layers::plan::{Overlay, Upper};
use layers::store::StoreError;
use layers::store::lock::Lock;
use layers::sys;

use crate::machine::{LAYERS, Machine, refused};
use crate::namespace::{self, Namespace::Unprivileged};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_boot_stacks_layers_and_takes_writes_where_they_belong() {
    if !namespace::inside(
        "stack::a_boot_stacks_layers_and_takes_writes_where_they_belong",
        Unprivileged,
        1,
    ) {
        return;
    }
    let machine = Machine::new();
    let seven = Machine::generation(7, &LAYERS);
    let plan = machine.boot("", &seven);
    assert_eq!(machine.read("usr/shared"), "two");
    assert_eq!(machine.read("usr/one"), "one");
    assert_eq!(machine.read("usr/bin/sh"), "sh of base");
    assert_eq!(machine.read("etc/motd"), "motd of one");
    // The merged root takes its mode from the topmost layer, /etc from the topmost one that has it.
    assert_eq!((mode(&machine.paths.sysroot), mode(&machine.root("etc"))), (0o711, 0o751));
    refused(fs::write(machine.root("usr/new"), "x"), libc::EROFS);
    refused(fs::write(machine.root("usr/shared"), "x"), libc::EROFS);
    refused(fs::write(machine.paths.base().join("usr/shared"), "x"), libc::EROFS);
    for path in ["etc/hosts", "etc/new", "var/log/x", "home/me"] {
        fs::write(machine.root(path), "mine").unwrap();
    }
    fs::remove_file(machine.root("etc/motd")).unwrap();
    let upper = |dir: &str| machine.layout.uppers().join(dir).join("upper");
    assert_eq!(fs::read_to_string(upper("etc/7").join("hosts")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(upper("var").join("log/x")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(upper("home").join("me")).unwrap(), "mine");
    assert_eq!(fs::symlink_metadata(upper("etc/7").join("motd")).unwrap().rdev(), 0);
    assert_eq!(
        fs::read_to_string(machine.tree("base").join("etc/hosts")).unwrap(),
        "hosts of base"
    );
    let root = machine.mount(&machine.paths.sysroot);
    assert!(root.contains(" ro,") && root.contains(" overlay layerctl:7 ro,"), "{root}");
    for (dir, source) in
        [("etc", "overlay layerctl:7:etc"), ("var", "overlay layerctl:7:var"), ("home", "")]
    {
        let line = machine.mount(&machine.root(dir));
        assert!(line.contains(" rw,nosuid,nodev,") && line.contains(source), "{line}");
    }
    assert_eq!(fs::read_to_string(machine.layout.ran()).unwrap(), "0000000007\n");
    machine.shut_down(&plan);
    // The next boot finds it all.
    let plan = machine.boot("", &seven);
    assert_eq!(
        (machine.read("etc/hosts"), machine.read("home/me")),
        ("mine".into(), "mine".into())
    );
    assert!(!machine.root("etc/motd").exists());
    machine.shut_down(&plan);
}

#[test]
fn the_base_alone_is_bound_read_only() {
    if !namespace::inside("stack::the_base_alone_is_bound_read_only", Unprivileged, 1) {
        return;
    }
    let machine = Machine::new();
    let plan = machine.boot("layers.set=none", &Machine::generation(7, &LAYERS));
    assert_eq!(machine.read("usr/shared"), "base");
    refused(fs::write(machine.root("usr/shared"), "x"), libc::EROFS);
    fs::write(machine.root("etc/hosts"), "mine").unwrap();
    machine.shut_down(&plan);
}

#[test]
fn ephemeral_and_frozen_boots_leave_the_state_as_it_is() {
    if !namespace::inside(
        "stack::ephemeral_and_frozen_boots_leave_the_state_as_it_is",
        Unprivileged,
        1,
    ) {
        return;
    }
    let machine = Machine::new();
    let seven = Machine::generation(7, &LAYERS);
    let plan = machine.boot("", &seven);
    for path in ["etc/hosts", "var/log/x", "home/me"] {
        fs::write(machine.root(path), "kept").unwrap();
    }
    fs::remove_file(machine.root("etc/motd")).unwrap();
    fs::set_permissions(machine.root("var"), Permissions::from_mode(0o750)).unwrap();
    machine.shut_down(&plan);
    let before = machine.state();
    for (cmdline, hosts, motd, home, var) in [
        ("layers.ephemeral", "hosts of base", true, false, 0o755),
        ("layers.frozen", "kept", false, true, 0o750),
        ("layers.frozen=etc,home layers.ephemeral=var", "kept", false, true, 0o755),
    ] {
        let plan = machine.boot(cmdline, &seven);
        assert_eq!(machine.read("etc/hosts"), hosts, "{cmdline}");
        assert_eq!(machine.root("etc/motd").exists(), motd, "{cmdline}");
        assert_eq!(machine.root("home/me").exists(), home, "{cmdline}");
        assert_eq!(mode(&machine.root("var")), var, "{cmdline}");
        for path in ["etc/hosts", "etc/new", "var/log/x", "var/new", "home/me", "home/new"] {
            fs::write(machine.root(path), "gone").unwrap();
            assert_eq!(machine.read(path), "gone", "{cmdline}");
        }
        machine.shut_down(&plan);
        assert_eq!(machine.state(), before, "{cmdline}");
    }
}

#[test]
fn a_new_generation_goes_on_from_a_copy_of_etc_and_a_rollback_finds_its_own() {
    if !namespace::inside(
        "stack::a_new_generation_goes_on_from_a_copy_of_etc_and_a_rollback_finds_its_own",
        Unprivileged,
        1,
    ) {
        return;
    }
    let machine = Machine::new();
    let six = Machine::generation(6, &[]);
    let seven = Machine::generation(7, &LAYERS);
    let plan = machine.boot("", &six);
    fs::write(machine.root("etc/hosts"), "of six").unwrap();
    fs::write(machine.root("var/shared"), "of six").unwrap();
    machine.shut_down(&plan);
    let plan = machine.boot("", &seven);
    assert_eq!(machine.read("etc/hosts"), "of six");
    fs::write(machine.root("etc/hosts"), "of seven").unwrap();
    machine.shut_down(&plan);
    let plan = machine.boot("", &six);
    assert_eq!(
        (machine.read("etc/hosts"), machine.read("var/shared")),
        ("of six".into(), "of six".into())
    );
    machine.shut_down(&plan);
    let plan = machine.boot("layers.wipe", &seven);
    assert_eq!(machine.read("etc/hosts"), "hosts of base");
    assert!(!machine.root("var/shared").exists());
    machine.shut_down(&plan);
}

#[test]
fn a_boot_that_fails_anywhere_is_undone_whole() {
    if !namespace::inside("stack::a_boot_that_fails_anywhere_is_undone_whole", Unprivileged, 1) {
        return;
    }
    let machine = Machine::new();
    let plan = machine.plan("layers.ephemeral=var", &Machine::generation(7, &LAYERS), false).plan;
    for stop in 0..=plan.ops.len() {
        let mut host = LinuxHost::new();
        let mut recorder = Recorder::over(&mut host).stop_before(stop);
        let done = execute(&plan, &mut recorder).map_or_else(|failure| failure.done, |()| stop);
        let left = undo(&plan, done, &mut recorder);
        assert!(left.is_empty(), "{stop}: {left:?}");
        assert!(machine.mounts().is_empty(), "{stop}: {:?}", machine.mounts());
    }
}

#[test]
fn an_operation_that_fails_half_way_leaves_no_mount() {
    // In the second user namespace the flags of the first one's mounts are locked: a bind works, its remount does not.
    let depth = namespace::depth();
    if depth == 0 {
        namespace::inside(
            "stack::an_operation_that_fails_half_way_leaves_no_mount",
            Unprivileged,
            1,
        );
        return;
    }
    let from = Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/locked"));
    let at = from.join("at");
    if depth == 1 {
        LinuxHost::new().mount_tmpfs(from, layers::size::Size::default()).unwrap();
        fs::create_dir(&at).unwrap();
        namespace::inside(
            "stack::an_operation_that_fails_half_way_leaves_no_mount",
            Unprivileged,
            2,
        );
        return;
    }
    let error = LinuxHost::new().bind(from, &at, layers::plan::Access::ReadOnly).unwrap_err();
    assert!(error.to_string().starts_with(&format!("bind {}: ", from.display())), "{error}");
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(text.contains(from.to_str().unwrap()), "{text}");
    assert!(!text.contains(at.to_str().unwrap()), "{text}");
}

#[test]
fn a_missing_directory_is_named() {
    if !namespace::inside("stack::a_missing_directory_is_named", Unprivileged, 1) {
        return;
    }
    let machine = Machine::new();
    let at = machine.dir.path().join("at");
    let whole = Upper::below(&machine.dir.path().join("upper"));
    fs::create_dir_all(&whole.upper).unwrap();
    let missing = |name: &str| machine.dir.path().join(name);
    let lowers = vec![machine.tree("one"), missing("no-lower"), machine.tree("base")];
    for (overlay, name) in [
        (
            Overlay { source: "x".into(), lowers, data: Vec::new(), upper: None, at: at.clone() },
            "no-lower",
        ),
        (
            Overlay {
                source: "x".into(),
                lowers: vec![machine.tree("one")],
                data: Vec::new(),
                upper: Some(whole),
                at,
            },
            "upper/work",
        ),
    ] {
        let error = LinuxHost::new().mount_overlay(&overlay).unwrap_err().to_string();
        let name = missing(name);
        assert!(error.contains(name.to_str().unwrap()), "{error}");
        assert!(error.contains("No such file or directory"), "{error}");
    }
    assert!(machine.mounts().is_empty());
}

#[test]
fn every_one_of_300_lowers_is_visible() {
    if !namespace::inside("stack::every_one_of_300_lowers_is_visible", Unprivileged, 1) {
        return;
    }
    let machine = Machine::new();
    let lowers: Vec<PathBuf> = (0..300)
        .map(|number| {
            machine.write(&format!("many/{number}"), &format!("file{number}"), "x");
            machine.write(&format!("many/{number}"), "shared", &number.to_string());
            machine.tree(&format!("many/{number}"))
        })
        .collect();
    let at = machine.paths.sysroot.clone();
    let overlay = Overlay {
        source: "layerctl:1".into(),
        lowers,
        data: Vec::new(),
        upper: None,
        at: at.clone(),
    };
    LinuxHost::new().mount_overlay(&overlay).unwrap();
    assert_eq!(fs::read_dir(&at).unwrap().count(), 301);
    assert_eq!(machine.read("shared"), "0");
    LinuxHost::new().unmount(&at).unwrap();
}

#[test]
fn the_kernel_draws_the_line_for_values_where_the_checker_does() {
    if !namespace::inside(
        "stack::the_kernel_draws_the_line_for_values_where_the_checker_does",
        Unprivileged,
        1,
    ) {
        return;
    }
    let machine = Machine::new();
    for (length, fits) in [(VALUE_MAX, true), (VALUE_MAX + 1, false)] {
        let mut long = machine.dir.path().join("x");
        while long.as_os_str().len() + 101 < length {
            long.push("l".repeat(100));
        }
        long.push("l".repeat(length - long.as_os_str().len() - 1));
        assert_eq!(long.as_os_str().len(), length);
        fs::create_dir_all(&long).unwrap();
        let lowers = vec![long, machine.tree("base")];
        let at = machine.paths.sysroot.clone();
        let overlay = Overlay { source: "x".into(), lowers, data: Vec::new(), upper: None, at };
        assert_eq!(sys::overlay(&overlay).is_ok(), fits, "{length}");
    }
}

#[test]
fn one_more_overlay_stands_on_etc() {
    if !namespace::inside("stack::one_more_overlay_stands_on_etc", Unprivileged, 1) {
        return;
    }
    let machine = Machine::new();
    let plan = machine.boot("", &Machine::generation(7, &LAYERS));
    let lowers = vec![machine.root("etc"), machine.tree("two")];
    let at = machine.dir.path().join("container");
    let overlay = Overlay {
        source: "container".into(),
        lowers,
        data: Vec::new(),
        upper: None,
        at: at.clone(),
    };
    LinuxHost::new().mount_overlay(&overlay).unwrap();
    assert_eq!(fs::read_to_string(at.join("motd")).unwrap(), "motd of one");
    LinuxHost::new().unmount(&at).unwrap();
    machine.shut_down(&plan);
}

#[test]
fn the_lock_of_a_read_only_state_says_so() {
    if !namespace::inside("stack::the_lock_of_a_read_only_state_says_so", Unprivileged, 1) {
        return;
    }
    let machine = Machine::new();
    let top = machine.layout.top();
    LinuxHost::new().bind(top, top, layers::plan::Access::ReadOnly).unwrap();
    assert!(
        matches!(Lock::acquire(&machine.layout), Err(StoreError::ReadOnly(path)) if path == top)
    );
}
