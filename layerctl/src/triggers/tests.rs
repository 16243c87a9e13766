//! Compositions over a base made of busybox, as root, with triggers of its own.

#![expect(clippy::disallowed_methods, reason = "makes trees and images")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use layers::manifest::{Kind, Manifest};
use layers::store::inspect::OpenImage;
use layers::store::stage;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::{Stack, StackImage, Table, compose};
use crate::cli::Place;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::Error;
use crate::ui::Ui;

fn context() -> Context {
    let environment = Environment { epoch: None, ..Environment::read() };
    // Not this machine's own store: nor are this machine's triggers meant.
    let place = Place { root: Some("/nowhere".into()), ..Place::default() };
    Context::new(Ui::new(true, false), environment, place)
}

/// A tree that becomes an image, and what was made of it.
struct Scene {
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let scene = Self { directory };
        for name in ["dev", "proc", "run", "tmp", "var/lib/dpkg/triggers", "etc"] {
            fs::create_dir_all(scene.at("base").join(name)).unwrap();
        }
        scene.file("base", "bin/busybox", "");
        fs::copy("/bin/busybox", scene.at("base/bin/busybox")).unwrap();
        symlink("busybox", scene.at("base/bin/sh")).unwrap();
        scene.file("base", "etc/index", "a\n");
        scene.file("base", "var/lib/dpkg/status", "Package: base\nArchitecture: all\n\n");
        scene
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join(path)
    }

    fn file(&self, tree: &str, path: &str, text: &str) {
        let path = self.at(tree).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A program of the base: a script of its shell.
    fn script(&self, name: &str, text: &str) {
        self.file("base", &format!("usr/bin/{name}"), &format!("#!/bin/sh\nset -e\n{text}\n"));
        let path = self.at("base/usr/bin").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn image(&self, tree: &str, kind: Kind) -> StackImage {
        let path = self.at(&format!("{tree}.img"));
        let _ = fs::remove_file(&path);
        let made = Command::new("mkfs.erofs")
            .args(["--quiet", "-T1700000000", "-U00000000-0000-4000-8000-000000000000"])
            .args([&path, &self.at(tree)])
            .output();
        assert!(made.unwrap().status.success());
        let manifest = Manifest {
            architecture: crate::admission::native_architecture(),
            size: fs::metadata(&path).unwrap().len(),
            ..Manifest::plain(
                kind,
                tree.parse().unwrap(),
                "1".parse().unwrap(),
                stage::hash(&path, &mut |_| {}).unwrap(),
            )
        };
        StackImage::new(manifest, path)
    }

    fn stack(&self, layers: &[&str]) -> Stack {
        let layers = layers.iter().map(|name| self.image(name, Kind::Layer)).collect();
        Stack { base: self.image("base", Kind::Base), layers }
    }

    /// Composes in a new directory; gives the image's files and text.
    fn compose(&self, layers: &[&str]) -> Result<Option<Made>, Error> {
        let work = tempfile::tempdir_in(self.directory.path()).unwrap();
        let stack = self.stack(layers);
        let made = compose(&context(), &Table::of(&context())?, &stack, work.path())?;
        let left = fs::read_dir(work.path()).unwrap().count();
        let made = made.image();
        assert_eq!(left, usize::from(made.is_some()), "something is left behind");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.directory.path().to_str().unwrap()), "{mounts}");
        Ok(made.map(|made| {
            assert_eq!(made.manifest.kind, Kind::Trigger);
            let inputs = stack.inputs(&Table::built_in().unwrap());
            assert_eq!(made.manifest.title(), format!("trigger {}", inputs.short()));
            let image = OpenImage::open(&made.path, made.manifest.format).unwrap();
            let mut files = Vec::new();
            list(image.root(), image.root(), &mut files);
            files.sort_unstable();
            Made {
                files,
                deletes: made.manifest.deletes.clone(),
                bytes: fs::read(&made.path).unwrap(),
            }
        }))
    }
}

#[derive(Debug)]
struct Made {
    /// Path and text of each regular file, path alone of all else but directories.
    files: Vec<String>,
    deletes: Vec<String>,
    bytes: Vec<u8>,
}

fn list(root: &Path, directory: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => list(root, &path, files),
            kind if kind.is_file() => {
                files.push(format!("{name}: {}", fs::read_to_string(&path).unwrap()));
            }
            _ => files.push(name),
        }
    }
}

/// The drop-in by which a base or layer asks for a trigger.
fn trigger(name: &str, rest: &str) -> String {
    format!(
        "[[trigger]]\nname = \"{name}\"\nwhen = [\"/usr/share/parts/*\"]\nprogram = \"{name}\"\n{rest}\n"
    )
}

const TABLE: &str = "usr/lib/layerctl/triggers.d/own.toml";

#[test]
fn what_a_trigger_says_that_it_writes_is_kept_and_nothing_else() {
    let scene = Scene::new();
    let script = "busybox cat /etc/index /usr/share/parts/* >/etc/new && busybox mv /etc/new /etc/index
        echo $SOURCE_DATE_EPOCH >/var/log; echo x >/made/by; busybox rm /etc/old; echo told >/etc/same";
    scene.script("index", script);
    scene.file("base", "etc/old", "old");
    scene.file("base", "etc/same", "told\n");
    fs::create_dir(scene.at("base/made")).unwrap();
    let writes = "writes = [\"/etc/index\", \"/etc/old\", \"/etc/same\", \"/made/*\"]";
    scene.file("base", TABLE, &trigger("index", writes));
    scene.file("one", "usr/share/parts/1", "one\n");
    scene.file("two", "usr/share/parts/2", "two\n");
    let made = scene.compose(&["one", "two"]).unwrap().unwrap();
    assert_eq!(made.files, ["etc/index: a\none\ntwo\n", "etc/old", "made/by: x\n"]);
    assert_eq!(made.deletes, ["/etc/old"]);
    let again = scene.compose(&["one", "two"]).unwrap().unwrap();
    assert!(again.bytes == made.bytes, "the same inputs made other bytes");
    // The base alone has what the base's own build made of it; a layer without parts changes nothing.
    scene.file("three", "usr/share/other", "three\n");
    assert!(scene.compose(&[]).unwrap().is_none());
    assert!(scene.compose(&["three"]).unwrap().is_none());
}

#[test]
fn a_trigger_that_changes_nothing_makes_no_image() {
    let scene = Scene::new();
    scene.script("index", "echo a >/etc/index; echo >/etc/other");
    scene.file("base", TABLE, &trigger("index", "writes = [\"/etc/index\"]"));
    scene.file("one", "usr/share/parts/1", "one\n");
    assert!(scene.compose(&["one"]).unwrap().is_none());
}

#[test]
fn the_last_words_of_a_trigger_that_fails_are_told() {
    let scene = Scene::new();
    scene.script("index", "echo before; echo no such thing >&2; exit 3");
    scene.script("late", "echo late >/etc/late");
    let late = trigger("late", "writes = [\"/etc/late\"]");
    scene.file("base", TABLE, &(trigger("index", "") + &late));
    scene.file("one", "usr/share/parts/1", "one\n");
    let error = scene.compose(&["one"]).unwrap_err();
    assert_eq!(error.to_string(), "the trigger index failed: /usr/bin/index: no such thing");
    assert!(error.hint().unwrap().contains("optional = true for index in a file in /etc/layerctl"));
    // A layer's table is on top of the base's.
    scene.file("one", TABLE, &trigger("index", "optional = true"));
    assert_eq!(scene.compose(&["one"]).unwrap().unwrap().files, ["etc/late: late\n"]);
    scene.file("one", TABLE, "[[trigger]]\nname = 7\n");
    let error = scene.compose(&["one"]).unwrap_err().to_string();
    assert!(error.starts_with(&format!("/{TABLE} of one line 2: ")), "{error}");
}

#[test]
fn layers_without_each_other_make_one_database_of_packages() {
    let scene = Scene::new();
    let fragment = |name: &str| format!("usr/lib/layerctl/layers/{name}/dpkg-status");
    let stanza = |name: &str| format!("Package: {name}\nArchitecture: all\n");
    scene.file("one", &fragment("one"), &stanza("one"));
    scene.file("one", "var/lib/dpkg/info/one.triggers", "interest-noawait /usr/share/parts\n");
    scene.file("two", &fragment("two"), &stanza("two"));
    scene.file("two", "usr/lib/layerctl/layers/two/dpkg-removed", "base\n");
    let made = scene.compose(&["one", "two"]).unwrap().unwrap();
    assert_eq!(
        made.files,
        [
            format!("var/lib/dpkg/status: {}\n{}\n", stanza("one"), stanza("two")),
            "var/lib/dpkg/triggers/File: /usr/share/parts one/noawait\n".to_owned(),
        ]
    );
}

#[test]
fn a_choice_goes_with_the_file_that_a_layer_takes_away() {
    let scene = Scene::new();
    scene.script("update-alternatives", "echo \"$@\" >>/var/lib/dpkg/alternatives/told");
    let state = "auto\n/usr/bin/editor\n\n/bin/vi\n1\n/bin/nano\n2\n\n";
    scene.file("base", "var/lib/dpkg/alternatives/editor", state);
    // /bin of this base is a link, as on most.
    fs::rename(scene.at("base/bin"), scene.at("base/usr/bin/x")).unwrap();
    for name in ["busybox", "sh"] {
        fs::rename(scene.at("base/usr/bin/x").join(name), scene.at("base/usr/bin").join(name))
            .unwrap();
    }
    fs::remove_dir(scene.at("base/usr/bin/x")).unwrap();
    symlink("usr/bin", scene.at("base/bin")).unwrap();
    for name in ["vi", "nano"] {
        scene.file("base", &format!("usr/bin/{name}"), name);
    }
    scene.file("one", "usr/lib/layerctl/layers/one/dpkg-removed", "vi\n");
    fs::create_dir_all(scene.at("one/usr/bin")).unwrap();
    mknodat(CWD, scene.at("one/usr/bin/vi"), FileType::CharacterDevice, Mode::RUSR, 0).unwrap();
    let fragment = "[[alternative]]\nname = \"editor\"\nlink = \"/usr/bin/editor\"\n\
        choices = [{ path = \"/usr/bin/ed\", priority = 3 }]\n";
    scene.file("two", "usr/lib/layerctl/layers/two/alternatives", fragment);
    let made = scene.compose(&["one", "two"]).unwrap().unwrap();
    let told =
        made.files.iter().find_map(|file| file.strip_prefix("var/lib/dpkg/alternatives/told: "));
    assert_eq!(
        told,
        Some("--remove editor /bin/vi\n--install /usr/bin/editor editor /usr/bin/ed 3\n")
    );
    scene.file("two", "usr/lib/layerctl/layers/two/alternatives", "[[alternative]]\n");
    let error = scene.compose(&["one", "two"]).unwrap_err().to_string();
    assert!(
        error.starts_with("/usr/lib/layerctl/layers/two/alternatives of layer two cannot be used"),
        "{error}"
    );
}

#[test]
fn users_are_made_by_the_bases_program_with_the_numbers_that_files_have() {
    let scene = Scene::new();
    scene.script("systemd-sysusers", "for line; do echo \"$line\" >>/etc/passwd; done");
    scene.file("base", "etc/passwd", "root:x:0:0::/:/bin/sh\n");
    let fragment = |name: &str| format!("usr/lib/layerctl/layers/{name}/accounts");
    scene.file("one", &fragment("one"), "u one 500\n");
    scene.file("two", &fragment("two"), "u two 500\n");
    scene.file("two", "srv/two", "");
    chown(scene.at("two/srv/two"), Some(500), Some(500)).unwrap();
    let made = scene.compose(&["one", "two"]).unwrap().unwrap();
    assert_eq!(made.files, ["etc/passwd: root:x:0:0::/:/bin/sh\n--inline\nu two 500\nu one -\n"]);
    scene.file("one", "srv/one", "");
    chown(scene.at("one/srv/one"), Some(500), None).unwrap();
    let error = scene.compose(&["one", "two"]).unwrap_err().to_string();
    assert!(error.contains("user number 500 is one in layer one and two in layer two"), "{error}");
    assert_eq!(fs::metadata(scene.at("one/srv/one")).unwrap().uid(), 500);
}

#[test]
fn links_in_a_layer_lead_nowhere_else() {
    let scene = Scene::new();
    let outside = scene.at("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("dpkg-status"), "Package: stolen\nArchitecture: all\n").unwrap();
    fs::create_dir_all(scene.at("one/usr/lib/layerctl/layers")).unwrap();
    symlink(&outside, scene.at("one/usr/lib/layerctl/layers/one")).unwrap();
    scene.file("one", "usr/lib/layerctl/layers/two/dpkg-status", "Package: own\n");
    let made = scene.compose(&["one"]).unwrap().unwrap();
    let text = made.files.concat();
    assert!(text.contains("Package: own") && !text.contains("stolen"), "{text}");
}

#[test]
fn nothing_runs_for_another_machine() {
    let scene = Scene::new();
    scene.script("index", "exit 1");
    scene.file("base", TABLE, &trigger("index", ""));
    scene.file("one", "usr/share/parts/1", "one\n");
    let mut stack = scene.stack(&["one"]);
    stack.base.manifest.architecture = "s390x".to_owned();
    let made = compose(&context(), &Table::of(&context()).unwrap(), &stack, scene.directory.path());
    assert_eq!(made.unwrap(), layers::plan::change::Made::Skipped, "another machine may");
}
