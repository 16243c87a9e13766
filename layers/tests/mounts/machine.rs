//! A machine in a temporary directory.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use layers::cmdline::BootRequest;
use layers::exec::{Host, execute};
use layers::generation::Generation;
use layers::host::LinuxHost;
use layers::id::Digest;
use layers::layout::{BootPaths, Layout};
use layers::plan::boot::{BootPlan, plan_boot};
use layers::plan::check::check_boot;
use layers::plan::{Access, Op, Plan};
use layers::store::facts;
use layers::store::read::init;
use layers::superblock::Format;

/// A machine in a temporary directory: state file system with trees (and images of them), and where a boot mounts.
pub(crate) struct Machine {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) paths: BootPaths,
    pub(crate) layout: Layout,
}

/// The layers, bottom first, with the top-level directories that they have.
pub(crate) const LAYERS: [(&str, &[&str]); 2] = [("one", &["etc", "usr"]), ("two", &["usr"])];

impl Machine {
    pub(crate) fn new() -> Self {
        Self::in_directory(tempfile::tempdir().unwrap())
    }

    pub(crate) fn in_directory(dir: tempfile::TempDir) -> Self {
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

    pub(crate) fn tree(&self, name: &str) -> PathBuf {
        self.paths.state().join("trees").join(name)
    }

    pub(crate) fn write(&self, tree: &str, path: &str, text: &str) {
        let path = self.tree(tree).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn root(&self, path: &str) -> PathBuf {
        self.paths.sysroot.join(path)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root(path)).unwrap()
    }

    pub(crate) fn digest(name: &str) -> Digest {
        Digest::new([name.len() as u8 + name.as_bytes()[0]; 32])
    }

    pub(crate) fn generation(id: u32, layers: &[(&str, &[&str])]) -> Generation {
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
    pub(crate) fn plan(&self, cmdline: &str, generation: &Generation, images: bool) -> BootPlan {
        let mut facts = facts::store(&self.layout);
        facts::generation(&self.layout, generation, &mut facts).unwrap();
        if !images {
            facts.images.values_mut().for_each(|image| *image = Ok(Format::Erofs));
        }
        let request = BootRequest::parse(cmdline);
        let mut boot = plan_boot(&request, generation, &facts, &self.paths).unwrap();
        check_boot(&boot.plan, &self.paths).unwrap();
        if !images {
            boot.plan.ops.iter_mut().for_each(|op| self.bind_for_image(op));
        }
        boot
    }

    /// Where there is no privilege to mount an image, its tree is bound instead.
    pub(crate) fn bind_for_image(&self, op: &mut Op) {
        if let Op::MountImage { image, at, .. } = op {
            let trees = fs::read_dir(self.tree("")).unwrap().map(|entry| entry.unwrap());
            let is_of = |name: &str| self.layout.image(&Self::digest(name)) == *image;
            let from = trees.filter(|tree| is_of(tree.file_name().to_str().unwrap()));
            let from = from.map(|tree| tree.path()).next().unwrap();
            *op = Op::Bind { from, at: at.clone(), access: Access::ReadOnly };
        }
    }

    pub(crate) fn boot(&self, cmdline: &str, generation: &Generation) -> Plan {
        // Where the report of its /etc goes.
        fs::create_dir_all(self.layout.generation(generation.id)).unwrap();
        let boot = self.plan(cmdline, generation, false);
        let host = &mut LinuxHost::new();
        execute(&boot.plan, host).unwrap();
        execute(&boot.records, host).unwrap();
        boot.plan
    }

    /// The lines of mountinfo that speak of this machine.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = self.dir.path().to_str().unwrap();
        let at = |line: &str| line.split(' ').nth(4).unwrap().starts_with(ours);
        text.lines().filter(|line| at(line)).map(str::to_owned).collect()
    }

    pub(crate) fn mount(&self, path: &Path) -> String {
        let at = path.to_str().unwrap();
        let found = self.mounts().into_iter().find(|line| line.split(' ').nth(4) == Some(at));
        found.unwrap_or_else(|| panic!("nothing is mounted at {at}"))
    }

    /// Everything on the state file system, as names, modes and contents.
    pub(crate) fn state(&self) -> BTreeSet<(PathBuf, u32, Vec<u8>)> {
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

    /// Unmounts what a plan mounted, as a system does that has run: nothing of it is taken back.
    pub(crate) fn shut_down(&self, plan: &Plan) {
        let gone: Vec<&Path> = plan.ops.iter().filter_map(|op| op.unmounts()).collect();
        let points = plan.ops.iter().rev().filter_map(|op| op.mount_point());
        let points = points.filter(|at| !gone.contains(at));
        points.for_each(|at| LinuxHost::new().unmount(at).unwrap());
        assert!(self.mounts().is_empty(), "{:?}", self.mounts());
    }
}

/// Asserts that a call was refused with an error number.
pub(crate) fn refused(result: io::Result<()>, error: i32) {
    assert_eq!(result.unwrap_err().raw_os_error(), Some(error));
}
