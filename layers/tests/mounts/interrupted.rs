//! Boots that the power cut ends before each of their operations. The next boot ends as one that nothing disturbed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use layers::exec::{Host, execute};
use layers::generation::Generation;
use layers::host::LinuxHost;
use layers::plan::Plan;
use layers::plan::boot::BootPlan;
use layers::policy::Dir;
use layers::store::discard;

use crate::machine::{LAYERS, Machine};
use crate::namespace::{self, Namespace::Privileged};

/// The mark of a directory that hides what is below it.
const OPAQUE: &str = "trusted.overlay.opaque";

/// What a boot does in the initramfs, and then in the new root: the presets are only written down.
fn operations(boot: &BootPlan) -> Plan {
    let presets = boot.presets.iter().flat_map(|presets| presets.record.clone());
    let all = boot.plan.ops.iter().chain(&boot.records.ops).cloned().chain(presets);
    Plan { ops: all.collect() }
}

/// What one kind of boot is made of.
struct Scene {
    cmdline: &'static str,
    generation: Generation,
    /// Makes the machine as it is before that boot.
    prepare: fn(PathBuf) -> Machine,
    /// What must be seen in the root afterwards.
    look: fn(&Machine),
}

impl Scene {
    fn machine(&self, place: &Path) -> Machine {
        fs::create_dir(place).unwrap();
        let machine = (self.prepare)(place.to_owned());
        fs::create_dir_all(machine.layout.generation(self.generation.id)).unwrap();
        machine
    }

    fn plan(&self, machine: &Machine) -> BootPlan {
        machine.plan(self.cmdline, &self.generation, false)
    }

    fn boot(&self, machine: &Machine) {
        boot(machine, self.cmdline, &self.generation, self.look);
    }

    /// Ends a boot before operation `stop`.
    fn cut(&self, machine: &Machine, stop: usize) {
        let mut plan = operations(&self.plan(machine));
        plan.ops.truncate(stop);
        execute(&plan, &mut LinuxHost::new()).unwrap();
        machine.shut_down(&plan);
    }

    /// Goes through all places where the power can go; gives the number of these.
    fn each_stop(&self) -> usize {
        let directory = in_memory();
        let undisturbed = self.machine(&directory.path().join("undisturbed"));
        let count = operations(&self.plan(&undisturbed)).ops.len();
        self.boot(&undisturbed);
        let want = snapshot(&undisturbed);
        for stop in 0..count {
            let machine = self.machine(&directory.path().join(stop.to_string()));
            let before = operations(&self.plan(&machine)).ops[stop].to_string();
            self.cut(&machine, stop);
            self.boot(&machine);
            compare(&snapshot(&machine), &want, &format!("stopped at {stop}, before {before}"));
        }
        sys_mount::unmount(directory.path(), sys_mount::UnmountFlags::DETACH).unwrap();
        count
    }
}

/// A place where flushes take no time.
fn in_memory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    LinuxHost::new().mount_tmpfs(directory.path(), layers::size::Size::default()).unwrap();
    directory
}

/// Boots a generation, looks around, deletes what was taken out, and shuts down.
fn boot(machine: &Machine, cmdline: &str, generation: &Generation, look: fn(&Machine)) {
    fs::create_dir_all(machine.layout.generation(generation.id)).unwrap();
    let boot = machine.plan(cmdline, generation, false);
    execute(&operations(&boot), &mut LinuxHost::new()).unwrap();
    look(machine);
    let shared = Dir::ALL.map(|dir| machine.layout.shared_upper(dir));
    for dir in shared.iter().chain([&machine.layout.etc_upper(Some(generation.id))]) {
        discard::delete(dir).unwrap();
    }
    machine.shut_down(&boot.plan);
}

/// What is kept in a store: modes, device numbers, contents, opaque marks. OverlayFS's working directories are its own.
fn snapshot(machine: &Machine) -> BTreeMap<PathBuf, (u32, u64, Vec<u8>, bool)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![machine.layout.top().to_owned()];
    while let Some(path) = todo.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_file() { fs::read(&path).unwrap() } else { vec![] };
        if metadata.is_dir() && !path.ends_with("work") {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let opaque = rustix::fs::lgetxattr(&path, OPAQUE, &mut [0_u8; 8]).is_ok();
        let path = path.strip_prefix(machine.layout.top()).unwrap().to_owned();
        found.insert(path, (metadata.mode(), metadata.rdev(), content, opaque));
    }
    found
}

fn compare<T: PartialEq + std::fmt::Debug>(
    found: &BTreeMap<PathBuf, T>,
    want: &BTreeMap<PathBuf, T>,
    when: &str,
) {
    let paths = found.keys().chain(want.keys());
    let wrong = paths.filter(|path| found.get(*path) != want.get(*path));
    let wrong: Vec<String> = wrong
        .map(|path| format!("{}: {:?}, not {:?}", path.display(), found.get(path), want.get(path)))
        .collect();
    assert!(wrong.is_empty(), "{when}:\n{}", wrong.join("\n"));
}

/// A machine whose images have a stamp, units and a database, before anything has run.
fn new(place: PathBuf) -> Machine {
    let machine = Machine::in_directory(tempfile::tempdir_in(place).unwrap());
    let root = "root:x:0:0:root:/root:/bin/sh\n";
    machine.write("base", "etc/passwd", root);
    machine.write("base", "etc/.updated", "stamp");
    machine.write("base", "etc/dir/base", "base");
    machine.write("base", "var/.updated", "stamp");
    machine.write("base", "var/lib/dpkg/status", "base");
    machine.write("base", "var/lib/docker/of-the-image", "image");
    machine.write("web", "etc/passwd", &format!("{root}web:x:990:990::/var/www:/sbin/nologin\n"));
    machine.write("web", "etc/dir/web", "web");
    machine.write("web", "usr/lib/systemd/system/web.service", "[Service]");
    machine.write("web", "var/lib/dpkg/status", "base and web");
    machine
}

/// The same after an administrator's work in generation 6.
fn administered(place: PathBuf) -> Machine {
    let machine = new(place);
    boot(&machine, "", &Machine::generation(6, &LAYERS), |machine| {
        let root = |path: &str| machine.root(path);
        for path in ["etc/hosts", "etc/machine-id", "var/log/x", "var/lib/docker/mine", "home/me"] {
            fs::write(root(path), "mine").unwrap();
        }
        fs::write(root("var/lib/dpkg/status"), "mine").unwrap();
        fs::remove_file(root("etc/motd")).unwrap();
        fs::remove_file(root("var/lib/docker/of-the-image")).unwrap();
        fs::remove_dir_all(root("etc/dir")).unwrap();
        fs::create_dir(root("etc/dir")).unwrap();
        fs::write(root("etc/dir/mine"), "mine").unwrap();
        let passwd = machine.read("etc/passwd") + "me:x:1000:1000::/home/me:/bin/sh\n";
        fs::write(root("etc/passwd"), passwd).unwrap();
        for dir in ["etc", "var"] {
            fs::write(root(dir).join(".updated"), "new stamp").unwrap();
        }
    });
    machine
}

fn assert_kept(machine: &Machine) {
    for path in ["var/log/x", "var/lib/docker/mine", "home/me"] {
        assert_eq!(machine.read(path), "mine", "{path}");
    }
    assert!(!machine.root("var/lib/docker/of-the-image").exists());
}

const WEB: [(&str, &[&str]); 1] = [("web", &["etc", "usr", "var"])];

#[test]
fn a_first_boot_of_all_that_is_stopped_anywhere_is_begun_again() {
    let test = "interrupted::a_first_boot_of_all_that_is_stopped_anywhere_is_begun_again";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let scene = Scene {
        cmdline: "",
        generation: Machine::generation(8, &WEB),
        prepare: new,
        look: |machine| {
            for dir in ["etc", "var"] {
                assert!(!machine.root(dir).join(".updated").exists(), "{dir}");
            }
            assert_eq!(machine.read("var/lib/docker/of-the-image"), "image");
        },
    };
    assert!(scene.each_stop() > 20);
}

#[test]
fn the_first_boot_of_a_generation_that_is_stopped_anywhere_is_begun_again() {
    let test =
        "interrupted::the_first_boot_of_a_generation_that_is_stopped_anywhere_is_begun_again";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let scene = Scene {
        cmdline: "",
        generation: Machine::generation(8, &WEB),
        prepare: administered,
        look: |machine| {
            assert_kept(machine);
            assert_eq!(machine.read("etc/hosts"), "mine");
            assert_eq!(machine.read("etc/dir/mine"), "mine");
            assert!(!machine.root("etc/dir/web").exists());
            assert!(!machine.root("etc/.updated").exists());
            assert!(!machine.root("var/.updated").exists());
            assert_eq!(machine.read("var/lib/dpkg/status"), "base and web");
            let passwd = machine.read("etc/passwd");
            assert!(passwd.contains("me:x:1000") && passwd.contains("web:x:990"), "{passwd}");
            // Generation 6 has its own as it was left.
            let six = machine.layout.uppers().join("etc/6/upper");
            assert_eq!(fs::read_to_string(six.join("hosts")).unwrap(), "mine");
            assert_eq!(fs::symlink_metadata(six.join("motd")).unwrap().rdev(), 0);
        },
    };
    assert!(scene.each_stop() > 20);
}

fn assert_emptied(machine: &Machine) {
    assert_eq!(machine.read("etc/machine-id"), "mine", "is on the keep-list");
    assert_eq!(machine.read("etc/hosts"), "hosts of base");
    assert_eq!(machine.read("etc/motd"), "motd of one");
    assert_eq!(machine.read("etc/dir/base"), "base");
    for gone in ["etc/dir/mine", "etc/.updated", "var/.updated", "var/lib/docker/mine", "home/me"] {
        assert!(!machine.root(gone).exists(), "{gone}");
    }
    assert_eq!(machine.read("var/log/x"), "log of base");
    assert_eq!(machine.read("var/lib/docker/of-the-image"), "image");
}

#[test]
fn a_wipe_that_is_stopped_anywhere_is_begun_again() {
    let test = "interrupted::a_wipe_that_is_stopped_anywhere_is_begun_again";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let scene = Scene {
        cmdline: "layers.wipe",
        generation: Machine::generation(6, &LAYERS),
        prepare: administered,
        look: assert_emptied,
    };
    assert!(scene.each_stop() > 20);
}

#[test]
fn a_reset_that_is_stopped_anywhere_is_done_all_the_same() {
    let test = "interrupted::a_reset_that_is_stopped_anywhere_is_done_all_the_same";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let scene = Scene {
        cmdline: "",
        generation: Machine::generation(6, &LAYERS),
        prepare: |place| {
            let machine = administered(place);
            let text = "dirs = [\"etc\", \"var\", \"home\"]\n";
            fs::write(machine.layout.reset(), text).unwrap();
            machine
        },
        look: |machine| {
            assert_emptied(machine);
            assert!(!machine.layout.reset().exists(), "is asked for once");
        },
    };
    assert!(scene.each_stop() > 20);
}

/// The command line that asked for the wipe is gone with the boot that was stopped. Each directory is as it was or
/// emptied, and the units of an emptied /etc are preset again.
#[test]
fn a_wipe_that_is_stopped_and_not_asked_for_again_leaves_all_or_the_keep_list() {
    let test =
        "interrupted::a_wipe_that_is_stopped_and_not_asked_for_again_leaves_all_or_the_keep_list";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let scene = Scene {
        cmdline: "layers.wipe",
        generation: Machine::generation(6, &LAYERS),
        prepare: administered,
        look: |_| {},
    };
    let directory = in_memory();
    let count = {
        let machine = scene.machine(&directory.path().join("whole"));
        operations(&scene.plan(&machine)).ops.len()
    };
    for stop in 0..count {
        let machine = scene.machine(&directory.path().join(stop.to_string()));
        scene.cut(&machine, stop);
        let plan = machine.plan("", &scene.generation, false);
        let emptied = !machine.layout.uppers().join("etc/6/upper/hosts").exists();
        let preset = plan.presets.is_some_and(|presets| !presets.new.is_empty());
        // The last operation writes down that the presets were applied.
        assert_eq!(preset, emptied, "stopped at {stop}");
        boot(&machine, "", &scene.generation, |machine| {
            assert_eq!(machine.read("etc/machine-id"), "mine");
            let kept = |path: &str| fs::read(machine.root(path)).is_ok_and(|text| text == b"mine");
            assert_eq!(kept("etc/hosts"), kept("etc/dir/mine"));
            assert_eq!(kept("var/log/x"), kept("var/lib/dpkg/status"));
            assert!(!kept("var/log/x") || kept("home/me"), "in order");
        });
    }
    sys_mount::unmount(directory.path(), sys_mount::UnmountFlags::DETACH).unwrap();
}
