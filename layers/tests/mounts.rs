//! Boot plans carried out with the real OverlayFS. In a user and mount namespace, layers are directories, bound where
//! an image would be mounted; as root, in a mount namespace, they are real squashfs and EROFS images.
//!
//! An unprivileged OverlayFS mounts with the very options that a boot gives (Linux 6.18): trusted.* extended attributes
//! cannot be set there, so removing a directory of a lower fails with EIO; writing, copy-up and removing files work.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test mounts things and ends with the first surprise"
)]

mod namespace;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use layers::cmdline::BootRequest;
use layers::exec::{Host, HostError, execute, undo};
use layers::generation::Generation;
use layers::host::{LinuxHost, Recorder};
use layers::id::Digest;
use layers::layout::{BootPaths, Layout};
use layers::plan::boot::{BootPlan, plan_boot};
use layers::plan::check::{VALUE_MAX, check_boot};
use layers::plan::{Op, Overlay, Plan, Upper};
use layers::store::lock::Lock;
use layers::store::read::init;
use layers::store::{StoreError, facts};
use layers::superblock::Format;
use layers::sys;
use namespace::Namespace::{Privileged, Unprivileged};

/// A machine in a temporary directory: state file system with trees (and images of them), and where a boot mounts.
struct Machine {
    dir: tempfile::TempDir,
    paths: BootPaths,
    layout: Layout,
}

/// The layers, bottom first, with the top-level directories that they have.
const LAYERS: [(&str, &[&str]); 2] = [("one", &["etc", "usr"]), ("two", &["usr"])];

impl Machine {
    fn new() -> Self {
        Self::in_directory(tempfile::tempdir().unwrap())
    }

    fn in_directory(dir: tempfile::TempDir) -> Self {
        let paths = BootPaths { run: dir.path().join("run"), sysroot: dir.path().join("sysroot") };
        fs::create_dir_all(paths.state()).unwrap();
        fs::create_dir(&paths.sysroot).unwrap();
        init(&paths.state()).unwrap();
        let layout = Layout::new(&paths.state());
        let machine = Self { dir, paths, layout };
        machine.write("base", "usr/bin/sh", "sh of base");
        machine.write("base", "usr/shared", "base");
        machine.write("base", "etc/hosts", "hosts of base");
        machine.write("base", "etc/motd", "motd of base");
        machine.write("base", "var/log/x", "log of base");
        fs::create_dir(machine.tree("base").join("home")).unwrap();
        machine.write("one", "usr/shared", "one");
        machine.write("one", "usr/one", "one");
        machine.write("one", "etc/motd", "motd of one");
        machine.write("two", "usr/shared", "two");
        fs::set_permissions(machine.tree("one").join("etc"), Permissions::from_mode(0o751))
            .unwrap();
        fs::set_permissions(machine.tree("two"), Permissions::from_mode(0o711)).unwrap();
        machine
    }

    fn tree(&self, name: &str) -> PathBuf {
        self.paths.state().join("trees").join(name)
    }

    fn write(&self, tree: &str, path: &str, text: &str) {
        let path = self.tree(tree).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn root(&self, path: &str) -> PathBuf {
        self.paths.sysroot.join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root(path)).unwrap()
    }

    fn digest(name: &str) -> Digest {
        Digest::new([name.len() as u8 + name.as_bytes()[0]; 32])
    }

    fn generation(id: u32, layers: &[(&str, &[&str])]) -> Generation {
        let base = Self::digest("base");
        let mut text = format!(
            "schema = 1\nid = {id}\ncreated = \"t\"\nreason = \"r\"\n\
             [base]\nname = \"debian\"\nversion = \"13\"\ndigest = \"{base}\"\n\
             dirs = [\"etc\", \"usr\", \"var\"]\n"
        );
        for (name, dirs) in layers {
            let digest = Self::digest(name);
            text += &format!(
                "[[layers]]\nname = \"{name}\"\nversion = \"1\"\ndigest = \"{digest}\"\n\
                 dirs = {dirs:?}\nrequested = true\n"
            );
        }
        let names: Vec<&str> = layers.iter().map(|(name, _)| *name).collect();
        Generation::parse(&format!("{text}[sets]\ndefault = {names:?}\n")).unwrap()
    }

    /// The plan of a boot, as the store is now.
    fn plan(&self, cmdline: &str, generation: &Generation, images: bool) -> BootPlan {
        let mut facts = facts::store(&self.layout).unwrap();
        facts.images = if images {
            facts::images(&self.layout, generation)
        } else {
            generation.digests().map(|digest| (digest, Ok(Format::Erofs))).collect()
        };
        let request = BootRequest::parse(cmdline);
        let mut boot = plan_boot(&request, generation, &facts, &self.paths).unwrap();
        check_boot(&boot.plan, &self.paths).unwrap();
        if !images {
            boot.plan.ops.iter_mut().for_each(|op| self.bind_for_image(op));
        }
        boot
    }

    /// Where there is no privilege to mount an image, its tree is bound instead.
    fn bind_for_image(&self, op: &mut Op) {
        if let Op::MountImage { at, .. } = op {
            let from = self.tree(at.file_name().unwrap().to_str().unwrap());
            *op = Op::Bind { from, at: at.clone(), writable: false };
        }
    }

    fn boot(&self, cmdline: &str, generation: &Generation) -> Plan {
        let boot = self.plan(cmdline, generation, false);
        let host = &mut LinuxHost::new();
        execute(&boot.plan, host).unwrap();
        execute(&boot.records, host).unwrap();
        boot.plan
    }

    /// The lines of mountinfo that speak of this machine.
    fn mounts(&self) -> Vec<String> {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = self.dir.path().to_str().unwrap();
        let at = |line: &str| line.split(' ').nth(4).unwrap().starts_with(ours);
        text.lines().filter(|line| at(line)).map(str::to_owned).collect()
    }

    fn mount(&self, path: &Path) -> String {
        let at = path.to_str().unwrap();
        let found = self.mounts().into_iter().find(|line| line.split(' ').nth(4) == Some(at));
        found.unwrap_or_else(|| panic!("nothing is mounted at {at}"))
    }

    /// Everything on the state file system, as names, modes and contents.
    fn state(&self) -> BTreeSet<(PathBuf, u32, Vec<u8>)> {
        let mut found = BTreeSet::new();
        let mut todo = vec![self.layout.top().to_owned()];
        while let Some(path) = todo.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { vec![] };
            if metadata.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            found.insert((path, metadata.mode(), content));
        }
        found
    }

    fn shut_down(&self, plan: &Plan) {
        let left = undo(plan, plan.ops.len(), &mut LinuxHost::new());
        assert!(left.is_empty(), "{left:?}");
        assert!(self.mounts().is_empty(), "{:?}", self.mounts());
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn refused(result: io::Result<()>, error: i32) {
    assert_eq!(result.unwrap_err().raw_os_error(), Some(error));
}

#[test]
fn a_boot_stacks_layers_and_takes_writes_where_they_belong() {
    if !namespace::inside(
        "a_boot_stacks_layers_and_takes_writes_where_they_belong",
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
    if !namespace::inside("the_base_alone_is_bound_read_only", Unprivileged, 1) {
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
    if !namespace::inside("ephemeral_and_frozen_boots_leave_the_state_as_it_is", Unprivileged, 1) {
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
        "a_new_generation_goes_on_from_a_copy_of_etc_and_a_rollback_finds_its_own",
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
    if !namespace::inside("a_boot_that_fails_anywhere_is_undone_whole", Unprivileged, 1) {
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
        namespace::inside("an_operation_that_fails_half_way_leaves_no_mount", Unprivileged, 1);
        return;
    }
    let from = Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/locked"));
    let at = from.join("at");
    if depth == 1 {
        LinuxHost::new().mount_tmpfs(from).unwrap();
        fs::create_dir(&at).unwrap();
        namespace::inside("an_operation_that_fails_half_way_leaves_no_mount", Unprivileged, 2);
        return;
    }
    let error = LinuxHost::new().bind(from, &at, false).unwrap_err();
    assert!(error.to_string().starts_with(&format!("bind {}: ", from.display())), "{error}");
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(text.contains(from.to_str().unwrap()), "{text}");
    assert!(!text.contains(at.to_str().unwrap()), "{text}");
}

#[test]
fn a_missing_directory_is_named() {
    if !namespace::inside("a_missing_directory_is_named", Unprivileged, 1) {
        return;
    }
    let machine = Machine::new();
    let at = machine.dir.path().join("at");
    let whole = Upper::below(&machine.dir.path().join("upper"));
    fs::create_dir_all(&whole.upper).unwrap();
    let missing = |name: &str| machine.dir.path().join(name);
    let lowers = vec![machine.tree("one"), missing("no-lower"), machine.tree("base")];
    for (overlay, name) in [
        (Overlay { source: "x".into(), lowers, upper: None, at: at.clone() }, "no-lower"),
        (
            Overlay {
                source: "x".into(),
                lowers: vec![machine.tree("one")],
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
    if !namespace::inside("every_one_of_300_lowers_is_visible", Unprivileged, 1) {
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
    let overlay = Overlay { source: "layerctl:1".into(), lowers, upper: None, at: at.clone() };
    LinuxHost::new().mount_overlay(&overlay).unwrap();
    assert_eq!(fs::read_dir(&at).unwrap().count(), 301);
    assert_eq!(machine.read("shared"), "0");
    LinuxHost::new().unmount(&at).unwrap();
}

#[test]
fn the_kernel_draws_the_line_for_values_where_the_checker_does() {
    if !namespace::inside(
        "the_kernel_draws_the_line_for_values_where_the_checker_does",
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
        let overlay = Overlay { source: "x".into(), lowers, upper: None, at };
        assert_eq!(sys::overlay(&overlay).is_ok(), fits, "{length}");
    }
}

#[test]
fn one_more_overlay_stands_on_etc() {
    if !namespace::inside("one_more_overlay_stands_on_etc", Unprivileged, 1) {
        return;
    }
    let machine = Machine::new();
    let plan = machine.boot("", &Machine::generation(7, &LAYERS));
    let lowers = vec![machine.root("etc"), machine.tree("two")];
    let at = machine.dir.path().join("container");
    let overlay = Overlay { source: "container".into(), lowers, upper: None, at: at.clone() };
    LinuxHost::new().mount_overlay(&overlay).unwrap();
    assert_eq!(fs::read_to_string(at.join("motd")).unwrap(), "motd of one");
    LinuxHost::new().unmount(&at).unwrap();
    machine.shut_down(&plan);
}

#[test]
fn the_lock_of_a_read_only_state_says_so() {
    if !namespace::inside("the_lock_of_a_read_only_state_says_so", Unprivileged, 1) {
        return;
    }
    let machine = Machine::new();
    let top = machine.layout.top();
    LinuxHost::new().bind(top, top, false).unwrap();
    assert!(
        matches!(Lock::acquire(&machine.layout), Err(StoreError::ReadOnly(path)) if path == top)
    );
}

/// Makes an image of a tree where the store has images.
fn make_image(machine: &Machine, name: &str, format: Format) {
    let (tree, image) = (machine.tree(name), machine.layout.image(&Machine::digest(name)));
    let mut command = match format {
        Format::Squashfs => {
            let mut command = Command::new("mksquashfs");
            command.args([&tree, &image]).args(["-quiet", "-no-progress", "-noappend"]);
            command
        }
        Format::Erofs => {
            let mut command = Command::new("mkfs.erofs");
            command.args(["--quiet".as_ref(), image.as_os_str(), tree.as_os_str()]);
            command
        }
    };
    let made = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}: apt-get install squashfs-tools erofs-utils")
    });
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Loop devices that are backed by files of this machine.
fn loops(machine: &Machine) -> Vec<String> {
    let ours = machine.dir.path().to_str().unwrap().to_owned();
    fs::read_dir("/sys/block")
        .unwrap()
        .filter_map(|entry| {
            fs::read_to_string(entry.unwrap().path().join("loop/backing_file")).ok()
        })
        .filter(|file| file.starts_with(&ours))
        .collect()
}

/// Boots real images of the given formats (base, one, two), twice, and looks at each.
fn boot_images(machine: &Machine, formats: [Format; 3]) {
    for (name, format) in ["base", "one", "two"].into_iter().zip(formats) {
        let image = machine.layout.image(&Machine::digest(name));
        let _ = fs::remove_file(image);
        make_image(machine, name, format);
    }
    for _ in 0..2 {
        let boot = machine.plan("", &Machine::generation(7, &LAYERS), true);
        assert_eq!(boot.layers.len(), 2, "{:?}", boot.skipped);
        execute(&boot.plan, &mut LinuxHost::new()).unwrap();
        assert_eq!(machine.read("usr/shared"), "two", "{formats:?}");
        assert_eq!(machine.read("usr/bin/sh"), "sh of base", "{formats:?}");
        fs::write(machine.root("etc/hosts"), "mine").unwrap();
        refused(fs::write(machine.paths.base().join("x"), "x"), libc::EROFS);
        // Room for one more level: containers on /etc, /var and on the root.
        for lower in [machine.paths.sysroot.clone(), machine.root("etc")] {
            let lowers = vec![lower, machine.tree("two")];
            let at = machine.dir.path().join("container");
            let overlay = Overlay { source: "c".into(), lowers, upper: None, at: at.clone() };
            LinuxHost::new().mount_overlay(&overlay).unwrap();
            LinuxHost::new().unmount(&at).unwrap();
        }
        assert!(!machine.paths.run.join(".stacking").exists(), "the probe is gone");
        machine.shut_down(&boot.plan);
        assert!(loops(machine).is_empty(), "{:?}", loops(machine));
    }
}

#[test]
fn real_images_boot_in_every_mix_of_formats() {
    if !namespace::inside("real_images_boot_in_every_mix_of_formats", Privileged, 1) {
        return;
    }
    let machine = Machine::new();
    let (s, e) = (Format::Squashfs, Format::Erofs);
    for formats in [[s, s, s], [e, e, e], [s, e, e], [e, s, e]] {
        boot_images(&machine, formats);
    }
}

/// EROFS takes no file on tmpfs as its device (ENOTBLK): a loop device carries it then.
#[test]
fn erofs_images_on_a_tmpfs_boot_from_loop_devices() {
    if !namespace::inside("erofs_images_on_a_tmpfs_boot_from_loop_devices", Privileged, 1) {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    LinuxHost::new().mount_tmpfs(outside.path()).unwrap();
    let machine = Machine::in_directory(tempfile::tempdir_in(outside.path()).unwrap());
    boot_images(&machine, [Format::Erofs; 3]);
}

#[test]
fn a_file_that_is_no_image_is_refused_with_its_name_and_leaves_no_loop_device() {
    let test = "a_file_that_is_no_image_is_refused_with_its_name_and_leaves_no_loop_device";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let machine = Machine::new();
    let file = machine.dir.path().join("no.img");
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    for format in [Format::Squashfs, Format::Erofs] {
        let at = machine.paths.base();
        let error = LinuxHost::new().mount_image(&file, format, &at).unwrap_err();
        assert!(matches!(&error, HostError::Io { path, .. } if *path == file), "{error}");
    }
    assert!(machine.mounts().is_empty());
    assert!(loops(&machine).is_empty());
}
