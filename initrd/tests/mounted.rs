//! Boots that really mount: images, uppers and the fallback between candidates, as root, in a mount namespace.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test mounts things and panics where something is wrong"
)]

#[path = "../../layers/tests/mounts/namespace.rs"]
#[allow(dead_code, reason = "another test's")]
mod namespace;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use initrd::boot::{Booted, Effects, FindInit, Machine, boot};
use layers::{
    cmdline::BootRequest,
    host::LinuxHost,
    id::{Digest, GenerationId},
    layout::{BootPaths, Layout},
    policy::Mode,
    store::{read, stage},
};
use namespace::Namespace::Privileged;

/// A state file system with generations 1 and 2 over two bases; 2 is the default.
struct Disk {
    directory: tempfile::TempDir,
    paths: BootPaths,
    layout: Layout,
}

impl Disk {
    /// `more` is what the second base has besides.
    fn new(more: &[(&str, usize)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let paths = BootPaths {
            run: directory.path().join("run"),
            sysroot: directory.path().join("sysroot"),
        };
        fs::create_dir_all(paths.state()).unwrap();
        fs::create_dir(&paths.sysroot).unwrap();
        read::init(&paths.state()).unwrap();
        let layout = Layout::new(&paths.state());
        let disk = Self { directory, paths, layout };
        disk.generation(1, disk.base("one", &[]));
        disk.generation(2, disk.base("two", more));
        fs::write(disk.layout.default(), "0000000002\n").unwrap();
        disk
    }

    fn base(&self, name: &str, more: &[(&str, usize)]) -> Digest {
        let tree = self.directory.path().join(name);
        for top in ["etc", "home", "var/lib", "usr", "run"] {
            fs::create_dir_all(tree.join(top)).unwrap();
        }
        fs::write(tree.join("etc/hosts"), name).unwrap();
        for (path, size) in more {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![b'x'; *size]).unwrap();
        }
        let file = tree.with_extension("img");
        let mut command = Command::new("mksquashfs");
        let made = command.arg(&tree).arg(&file).args(["-quiet", "-no-progress"]).status();
        assert!(made.expect("mksquashfs of squashfs-tools is needed").success());
        let digest = stage::hash(&file, &mut |_| {}).unwrap();
        fs::rename(&file, self.layout.image(&digest)).unwrap();
        digest
    }

    fn generation(&self, id: u32, base: Digest) {
        let text = format!(
            "schema = 1\nid = {id}\ncreated = \"2026-01-01T00:00:00Z\"\nreason = \"test\"\nsets.default = []\n\
             [base]\nname = \"debian\"\nversion = \"13\"\ndigest = \"{base}\"\ndirs = [\"etc\", \"usr\", \"var\"]\n"
        );
        let directory = self.layout.generation(number(id));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("generation.toml"), text).unwrap();
    }

    /// Boots, lets `work` be done in the root, and shuts down.
    fn boot(&self, cmdline: &str, find_init: &FindInit<'_>, work: impl FnOnce(&Self, &Booted)) {
        let request = BootRequest::parse(cmdline);
        let machine = Machine { cmdline: cmdline.to_owned(), ..Machine::default() };
        let host = &mut LinuxHost::new();
        let effects = &mut Effects { host, load_driver: &mut |_| {}, find_init };
        let booted = boot(&request, &machine, &self.paths, effects).unwrap();
        work(self, &booted);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        let ours: Vec<&str> =
            points.filter(|at| Path::new(at).starts_with(self.directory.path())).collect();
        for at in ours.into_iter().rev() {
            sys_mount::unmount(at, sys_mount::UnmountFlags::empty()).unwrap();
        }
    }

    fn root(&self, path: &str) -> PathBuf {
        self.paths.sysroot.join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root(path)).unwrap()
    }
}

fn number(id: u32) -> GenerationId {
    id.to_string().parse().unwrap()
}

fn init(_: &Path) -> Result<PathBuf, String> {
    Ok(PathBuf::from("/sbin/init"))
}

/// Not in the root of the second base.
fn init_of_one(root: &Path) -> Result<PathBuf, String> {
    match fs::read_to_string(root.join("usr/two")) {
        Ok(_) => Err("there is no init".to_owned()),
        Err(_) => init(root),
    }
}

/// /var/lib/docker is a link to a larger disk on many machines.
#[test]
fn what_cannot_be_bound_costs_a_new_generation_nothing_else() {
    if !namespace::inside("what_cannot_be_bound_costs_a_new_generation_nothing_else", Privileged, 1)
    {
        return;
    }
    let disk = Disk::new(&[]);
    disk.boot("layers.generation=1", &init, |disk, _| {
        fs::write(disk.root("etc/own"), "mine").unwrap();
    });
    let var = disk.layout.uppers().join("var/upper/lib");
    fs::remove_dir(var.join("docker")).unwrap();
    symlink("/srv/docker", var.join("docker")).unwrap();
    let bound = disk.layout.uppers().join("var/bound/lib");
    fs::remove_dir(bound.join("docker")).unwrap();
    // This one fails only when it is made.
    fs::remove_dir(bound.join("rancher")).unwrap();
    fs::write(bound.join("rancher"), "").unwrap();
    for _ in 0..2 {
        disk.boot("", &init, |disk, booted| {
            assert_eq!(booted.report.generation, number(2));
            let problems = &booted.report.problems;
            assert_eq!(problems.len(), 2, "{problems:?}");
            for (problem, name) in problems.iter().zip(["docker", "rancher"]) {
                assert!(problem.contains(&format!("/var/lib/{name} is part of the")), "{problem}");
            }
            assert!(booted.report.writable.iter().all(|one| one.mode == Mode::Persistent));
            assert_eq!(disk.read("etc/own"), "mine");
        });
    }
}

#[test]
fn a_generation_that_did_not_boot_starts_from_the_etc_of_the_day_on_which_it_does() {
    let test = "a_generation_that_did_not_boot_starts_from_the_etc_of_the_day_on_which_it_does";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let disk = Disk::new(&[("usr/two", 1)]);
    disk.boot("layers.generation=1", &init, |disk, _| {
        fs::write(disk.root("etc/own"), "early").unwrap();
    });
    disk.boot("", &init_of_one, |disk, booted| {
        assert_eq!(booted.report.generation, number(1));
        fs::write(disk.root("etc/own"), "late").unwrap();
    });
    assert!(!disk.layout.etc_upper(Some(number(2))).exists());
    disk.boot("", &init, |disk, booted| {
        assert_eq!(booted.report.generation, number(2));
        assert_eq!(disk.read("etc/own"), "late");
        fs::write(disk.root("etc/own"), "of two").unwrap();
    });
    // One that has run keeps its own when it does not boot.
    disk.boot("", &init_of_one, |disk, booted| {
        assert_eq!(booted.report.generation, number(1));
        assert_eq!(disk.read("etc/own"), "late");
    });
    disk.boot("", &init, |disk, _| assert_eq!(disk.read("etc/own"), "of two"));
}

#[test]
fn what_does_not_fit_into_memory_is_not_bound_and_the_boot_goes_on() {
    let test = "what_does_not_fit_into_memory_is_not_bound_and_the_boot_goes_on";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let disk = Disk::new(&[("var/lib/docker/large", 4 << 20)]);
    disk.boot("layers.ephemeral layers.ephemeral.size=1M", &init, |disk, booted| {
        assert_eq!(booted.report.generation, number(2), "{:?}", booted.report.failed);
        let problems = booted.report.problems.join("\n");
        assert!(problems.contains("/var/lib/docker is part of the overlay"), "{problems}");
        assert_eq!(disk.read("var/lib/docker/large").len(), 4 << 20);
    });
}

/// /etc is brought in line where it is, and the plan is made again: what that told is not lost.
#[test]
fn an_etc_that_is_in_line_is_not_derived_a_second_time() {
    if !namespace::inside("an_etc_that_is_in_line_is_not_derived_a_second_time", Privileged, 1) {
        return;
    }
    let disk = Disk::new(&[("etc/conf/file", 1)]);
    let shared = "writable.etc.scope = \"shared\"\n";
    for id in [1, 2] {
        let file = disk.layout.generation_file(number(id));
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("sets.default", &format!("{shared}sets.default"))).unwrap();
    }
    disk.boot("layers.generation=1", &init, |disk, _| {
        fs::write(disk.root("etc/conf"), "a file, where two has a directory").unwrap();
    });
    let bound = disk.layout.uppers().join("var/bound/lib/rancher");
    fs::remove_dir(&bound).unwrap();
    fs::write(&bound, "").unwrap();
    disk.boot("", &init, |disk, booted| {
        assert_eq!(booted.report.generation, number(2));
        assert_eq!(booted.report.problems.len(), 1, "{:?}", booted.report.problems);
        assert_eq!(disk.read("etc/conf.layerctl-saved"), "a file, where two has a directory");
        assert_eq!(disk.read("etc/conf/file"), "x");
    });
    let report = fs::read_to_string(disk.layout.etc_report(number(2))).unwrap();
    assert!(report.contains("conf.layerctl-saved"), "{report}");
}
