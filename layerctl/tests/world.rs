//! A directory of its own for each test, with trees, images and a store, and a way to type commands there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use insta::Settings;
use insta::internals::SettingsBindDropGuard;
use tempfile::TempDir;

/// The time of all that the tests make: 2026-01-01.
const EPOCH: &str = "1767225600";

/// The directories of a base that stay empty.
const MOUNT_POINTS: [&str; 6] = ["dev", "home", "proc", "run", "sys", "tmp"];

/// One test's surroundings.
pub(crate) struct World {
    directory: TempDir,
    _filters: SettingsBindDropGuard,
}

impl World {
    /// An empty directory with an empty `state`.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("state")).unwrap();
        let mut settings = Settings::clone_current();
        settings.set_prepend_module_to_snapshot(true);
        for (pattern, name) in [
            (directory.path().to_str().unwrap(), "[here]"),
            (r"\b[0-9a-f]{64}\b", "[sha256]"),
            (r"\b[0-9a-f]{12}\b", "[digest]"),
            (r"-[0-9a-f]{8}((\+\d+(-\d+)?)?\.conf)", "-[hash]$1"),
            (r"\d+ bytes", "[n] bytes"),
            (r"the images need \d+", "the images need [n]"),
            (r"the file has \d+", "the file has [n]"),
            (r"size = \d+", "size = [n]"),
            (r#""free": \d+"#, r#""free": [n]"#),
            (r#""download": [1-9]\d*"#, r#""download": [n]"#),
            (r"\(process \d+\)", "(process [pid])"),
            (r"(/tmp/|/)\.tmp-?[A-Za-z0-9]{6}\b", "/[temporary]"),
        ] {
            settings.add_filter(pattern, name);
        }
        Self { directory, _filters: settings.bind_to_scope() }
    }

    /// A world whose store has a base.
    pub(crate) fn with_base() -> Self {
        let world = Self::new();
        world.base_tree("base");
        world.done("init");
        world.done("base import base");
        world
    }

    /// A world whose store has a base and the layers `htop 3.4` and `tree 2.2`, one change after the other.
    pub(crate) fn with_layers() -> Self {
        let world = Self::with_base();
        world.layer("htop", "3.4", "");
        world.layer("tree", "2.2", "");
        world.done("install htop_3.4.img");
        world.done("install tree_2.2.img");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, with the directories above it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Sets an extended attribute.
    pub(crate) fn mark(&self, path: &str, name: &str, value: &[u8]) {
        let path = self.path(path);
        rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    }

    /// Writes what the initrd reports when a generation booted and all is well.
    pub(crate) fn report(&self, generation: &str) {
        let report = layers::report::BootReport {
            schema: layers::report::SCHEMA,
            cmdline: String::new(),
            generation: generation.parse().unwrap(),
            layers: Vec::new(),
            skipped: Vec::new(),
            problems: Vec::new(),
            writable: Vec::new(),
            verify: layers::trust::Verify::Off,
            unsigned: Vec::new(),
            index: None,
            failed: Vec::new(),
            steps: Vec::new(),
        };
        self.write("boot.json", serde_json::to_string(&report).unwrap());
    }

    /// Sets permission bits.
    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The smallest tree that is a base.
    pub(crate) fn base_tree(&self, name: &str) {
        for directory in MOUNT_POINTS {
            fs::create_dir_all(self.path(name).join(directory)).unwrap();
        }
        self.write(&format!("{name}/etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
        self.write(&format!("{name}/var/lib/misc/x"), "");
        self.write(&format!("{name}/usr/lib/systemd/systemd"), "");
        self.write(&format!("{name}/usr/lib/os-release"), "ID=debian\nVERSION_ID=\"13\"\n");
    }

    /// A tree that is a base with a kernel which has all that is needed built in, and an init program for its initrd.
    pub(crate) fn kernel_tree(&self, name: &str, version: &str) {
        self.base_tree(name);
        let modules = format!("{name}/usr/lib/modules/{version}");
        let builtin = ["overlay", "loop", "squashfs", "erofs", "virtio_blk", "ext4"];
        let lines = builtin.map(|module| format!("kernel/{module}.ko\n")).concat();
        self.write(&format!("{modules}/modules.builtin"), lines);
        self.write(&format!("{modules}/modules.dep"), "");
        self.write(&format!("{modules}/vmlinuz"), format!("kernel {version}\n"));
        self.write(&format!("{name}/usr/lib/layerctl/layers-init"), static_program());
    }

    /// A tree `NAME-VERSION` with one program in it.
    pub(crate) fn layer_tree(&self, name: &str, version: &str) -> String {
        let tree = format!("{name}-{version}");
        self.write(&format!("{tree}/usr/bin/{name}"), format!("{name} {version}\n"));
        tree
    }

    /// A layer image `NAME_VERSION.img` with its manifest.
    pub(crate) fn layer(&self, name: &str, version: &str, options: &str) {
        let tree = self.layer_tree(name, version);
        self.done(&format!(
            "build {tree} --name {name} --version {version} -o {name}_{version}.img {options}"
        ));
    }

    /// Runs a program here; it must succeed.
    pub(crate) fn shell(&self, script: &str) -> String {
        let output = Command::new("sh")
            .args(["-euc", script])
            .current_dir(self.directory.path())
            .env("PATH", path_with_layerctl())
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The command, on the store `state`, before it is started.
    pub(crate) fn command(&self, line: &str) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::cargo_bin("layerctl").unwrap();
        command.current_dir(self.directory.path()).args(["--root", "state"]).args(words(line));
        command.env("SOURCE_DATE_EPOCH", EPOCH).timeout(std::time::Duration::from_secs(60));
        command
    }

    /// What each of the lines gives: standard output, standard error, exit code.
    pub(crate) fn run(&self, lines: &[&str]) -> String {
        let mut text = String::new();
        for line in lines {
            let output = self.command(line).output().unwrap();
            text += &render(line, &output);
        }
        text
    }

    /// Types a command that must succeed.
    pub(crate) fn done(&self, line: &str) {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{}", render(line, &output));
    }

    /// Every file below a directory, by its path in it.
    pub(crate) fn files(&self, directory: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let top = self.path(directory);
        let inside = |path: PathBuf| path.strip_prefix(&top).unwrap().to_owned();
        let found = tree(&top).into_iter().filter(|(path, _)| path.is_file());
        found.map(|(path, (_, content))| (inside(path), content)).collect()
    }

    /// What a line gives that must fail with exit code 1 and leave the store as it was.
    pub(crate) fn refused(&self, line: &str) -> String {
        let before = self.store();
        let output = self.command(line).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", render(line, &output));
        assert_eq!(before, self.store(), "{line}");
        render(line, &output)
    }

    /// Every path of the store with its mode, length and content; all but the lock file, which holds a process number.
    pub(crate) fn store(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        tree(&self.path("state"))
    }

    /// The store's image files.
    pub(crate) fn images(&self) -> Vec<PathBuf> {
        let store = fs::read_dir(self.path("state/layerctl/store")).unwrap();
        let mut images: Vec<PathBuf> = store.map(|entry| entry.unwrap().path()).collect();
        images.retain(|path| path.extension().is_some_and(|ending| ending == "img"));
        images.sort();
        images
    }

    /// The store's image of the layer `name`, by the manifest that the build wrote.
    pub(crate) fn image(&self, manifest: &str) -> PathBuf {
        let text = String::from_utf8(self.read(manifest)).unwrap();
        let digest = text.lines().find_map(|line| line.strip_prefix("digest = ")).unwrap();
        self.path(&format!("state/layerctl/store/{}.img", digest.trim_matches('"')))
    }
}

/// The shortest file that is a static program: an ELF header without any program header.
fn static_program() -> Vec<u8> {
    let (mut elf, zeros) = (b"\x7fELF\x02\x01\x01".to_vec(), [0_u8; 25]);
    elf.extend(zeros);
    // Where its table of program headers is, how long one is, and that there is none.
    elf.extend(64_u64.to_le_bytes());
    elf.extend([0; 14]);
    elf.extend(56_u16.to_le_bytes());
    elf.extend([0; 8]);
    elf
}

/// A file tree's paths with mode and content.
fn tree(top: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![top.to_owned()];
    while let Some(path) = todo.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        assert!(!kind.is_fifo() && !kind.is_socket(), "{}", path.display());
        if kind.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        if path.file_name().is_some_and(|name| name == "lock") {
            continue;
        }
        let content = if kind.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        found.insert(path, (metadata.mode(), content));
    }
    found
}

/// Parts a line into words; single quotes keep blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in line.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// A call as a terminal would show it, with the two streams apart.
pub(crate) fn render(line: &str, output: &Output) -> String {
    let mut text = format!("$ layerctl {line}\n");
    for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let content = String::from_utf8_lossy(bytes);
        if !content.is_empty() {
            let _ = writeln!(text, "--- {stream}\n{}", content.trim_end_matches('\n'));
        }
    }
    match output.status.code() {
        Some(code) => writeln!(text, "--- exit {code}\n").unwrap(),
        None => writeln!(text, "--- {}\n", output.status).unwrap(),
    }
    text
}

/// The search path with the layerctl under test in front.
fn path_with_layerctl() -> String {
    let program = assert_cmd::cargo::cargo_bin("layerctl");
    format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap())
}
