//! Deriving one /etc from another on real file systems: interrupted, on a full disk, in place, under a real overlay.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test works on files and ends with the first surprise"
)]

#[path = "mounts/namespace.rs"]
mod namespace;
mod sketch;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use layers::etc::Derive;
use layers::etc::report::{NoteKind, Report};
use layers::exec::{Host, HostError};
use layers::host::LinuxHost;
use layers::plan::{Overlay, Upper};
use layers::store::derive::derive;
use namespace::Namespace::{Privileged, Unprivileged};
use sys_mount::{FilesystemType, Mount, UnmountFlags};

const OLD: &str = "file hosts\n    | old\nfile motd\n    | old\n";
const NEW: &str = "file hosts\n    | new\nfile motd\n    | new\nfile .updated\n";
const UPPER: &str = "file hosts\n    | mine\nfile motd\n    | old\nfile own.d/a\n    | a\nfile passwd\n    | root:x:0:0::/:/bin/sh\n";

/// Below `dir`: the views `old` and `new`, the upper of generation 1.
fn prepare(dir: &Path) -> Derive {
    sketch::make(&dir.join("old"), OLD);
    sketch::make(&dir.join("new"), NEW);
    sketch::make(&dir.join("etc/1/upper"), UPPER);
    fs::write(dir.join("etc/1/presets"), "a.service\n").unwrap();
    fs::create_dir(dir.join("2")).unwrap();
    Derive {
        from: dir.join("etc/1"),
        to: dir.join("etc/2"),
        old: Some(dir.join("old")),
        new: dir.join("new"),
        whole: true,
        users: vec![dir.join("missing")],
        report: dir.join("2/etc.json"),
        generation: "2".parse().unwrap(),
        source: Some("1".parse().unwrap()),
        images: "sha256 of images\n".to_owned(),
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The new upper, its siblings and its report are as they must be.
fn assert_derived(d: &Derive) {
    let upper = d.to.join("upper");
    assert_eq!(fs::read_to_string(upper.join("hosts")).unwrap(), "mine\n");
    assert!(!upper.join("motd").exists());
    assert_eq!(fs::symlink_metadata(upper.join(".updated")).unwrap().rdev(), 0);
    assert_eq!(names(&d.to), ["lowers", "presets", "upper", "work"]);
    assert_eq!(fs::read_to_string(d.to.join("lowers")).unwrap(), d.images);
    assert_eq!(fs::read_to_string(d.to.join("presets")).unwrap(), "a.service\n");
    assert_eq!(fs::metadata(d.to.join("work")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(&d.to).unwrap().mode() & 0o7777, 0o700);
    let report = Report::parse(&fs::read_to_string(&d.report).unwrap()).unwrap();
    assert_eq!(report.source, d.source);
    let conflicts: Vec<String> = report.conflicts().map(ToString::to_string).collect();
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert!(conflicts[0].starts_with("/etc/hosts: changed by the administrator and"));
}

#[test]
fn a_derived_upper_is_published_with_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let d = prepare(dir.path());
    let before = sketch::show(&d.from);
    derive(&d).unwrap();
    assert_derived(&d);
    assert_eq!(sketch::show(&d.from), before);
    assert_eq!(names(&dir.path().join("etc")), ["1", "2"]);
}

#[test]
fn an_upper_that_is_there_is_never_replaced_by_another_generations() {
    let dir = tempfile::tempdir().unwrap();
    let d = prepare(dir.path());
    sketch::make(&d.to.join("upper"), "file hosts\n    | of 2\n");
    let before = sketch::show(&dir.path().join("etc"));
    let error = derive(&d).unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
    assert_eq!(sketch::show(&dir.path().join("etc")), before);
}

#[test]
fn an_upper_is_derived_from_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut d = prepare(dir.path());
    (d.to, d.source) = (d.from.clone(), None);
    derive(&d).unwrap();
    assert_derived(&d);
    assert_eq!(names(&dir.path().join("etc")), ["1"]);
    // Again, over the same images: nothing is left to do, and nothing to tell.
    let before = sketch::show(&d.to);
    d.old = Some(d.new.clone());
    derive(&d).unwrap();
    assert_eq!(sketch::show(&d.to), before);
    let report = Report::parse(&fs::read_to_string(&d.report).unwrap()).unwrap();
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

/// Beside an upper that is missing may be what is left of it, or what an administrator saved of it.
#[test]
fn only_what_a_boot_makes_is_replaced() {
    for name in ["upper.bad/hosts", "upper"] {
        let dir = tempfile::tempdir().unwrap();
        let d = prepare(dir.path());
        sketch::make(&d.to, &format!("file {name}\n    | precious\nfile work/x\n"));
        let error = derive(&d).unwrap_err();
        assert!(error.to_string().contains("not empty"), "{error}");
        assert_eq!(fs::read_to_string(d.to.join(name)).unwrap(), "precious\n");
    }
}

/// What the owner of a home directory, or of one above it, can put there.
#[test]
fn nothing_in_a_home_keeps_etc_from_a_new_generation() {
    let long = "x".repeat(5_000);
    for home in ["/var/lib/web/loop/home", "/var/lib/web/away/home", &format!("/home/{long}")] {
        let dir = tempfile::tempdir().unwrap();
        let mut d = prepare(dir.path());
        let root = "root:x:0:0::/:/bin/sh";
        let web = format!("web:x:990:990::{home}:/bin/sh");
        for (place, text) in [
            ("old", format!("{root}\n{web}\n")),
            ("new", format!("{root}\n")),
            ("etc/1/upper", format!("{root}\n{web}\nme:x:1000:1000::/:/bin/sh\n")),
        ] {
            fs::write(dir.path().join(place).join("passwd"), text).unwrap();
        }
        let var = dir.path().join("var");
        fs::create_dir_all(var.join("lib/web")).unwrap();
        fs::create_dir_all(dir.path().join("outside/home")).unwrap();
        std::os::unix::fs::symlink("loop", var.join("lib/web/loop")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("outside"), var.join("lib/web/away")).unwrap();
        d.users = vec![var];
        derive(&d).unwrap();
        let passwd = fs::read_to_string(d.to.join("upper/passwd")).unwrap();
        assert!(passwd.contains("me:x:1000") && !passwd.contains("web"), "{home}: {passwd}");
    }
}

#[test]
fn what_an_interrupted_boot_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let d = prepare(dir.path());
    let etc = dir.path().join("etc");
    // Killed while it copied, and while the upper was made anew.
    sketch::make(&etc.join(".tmp-2"), "file upper/junk\nfile images\n");
    sketch::make(&etc.join("2"), "file .tmp-upper/junk\n");
    fs::write(dir.path().join("2/.tmp-etc.json"), "{").unwrap();
    derive(&d).unwrap();
    assert_derived(&d);
    assert_eq!(names(&etc), ["1", "2"]);
    assert_eq!(names(&dir.path().join("2")), ["etc.json"]);
}

/// Nothing of a failed attempt is seen, the source is whole, and the next attempt succeeds once the cause is gone.
#[test]
fn a_failed_attempt_leaves_nothing() {
    type Break = fn(&mut Derive);
    type Mend = fn(&Derive);
    let breaks: [(Break, Mend); 5] = [
        (
            |d| fs::remove_dir(d.report.parent().unwrap()).unwrap(),
            |d| {
                fs::create_dir(d.report.parent().unwrap()).unwrap();
            },
        ),
        (
            |d| fs::create_dir_all(d.report.join("x")).unwrap(),
            |d| {
                fs::remove_dir_all(&d.report).unwrap();
            },
        ),
        (
            |d| fs::rename(d.from.join("upper"), d.from.join("away")).unwrap(),
            |d| {
                fs::rename(d.from.join("away"), d.from.join("upper")).unwrap();
            },
        ),
        // Longer than any path may be, once it is copied.
        (
            |d| deep(&d.from.join("upper")),
            |d| {
                fs::remove_dir_all(d.from.join("upper/d")).unwrap();
            },
        ),
        (
            |d| fs::create_dir(d.from.join("presets.d")).and_then(|()| swap(d)).unwrap(),
            |d| {
                swap(d).unwrap();
                fs::remove_dir(d.from.join("presets.d")).unwrap();
            },
        ),
    ];
    for (place, (cause, mend)) in breaks.into_iter().enumerate() {
        for in_place in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let mut d = prepare(dir.path());
            if in_place {
                d.to = d.from.clone();
            }
            cause(&mut d);
            let (before, etc) = (names(&d.from), names(&dir.path().join("etc")));
            let error = derive(&d).expect_err(&format!("fault {place}"));
            assert!(matches!(error, HostError::Io { .. }), "{error}");
            assert_eq!((names(&d.from), names(&dir.path().join("etc"))), (before, etc), "{place}");
            mend(&d);
            assert_eq!(sketch::show(&d.from.join("upper")), shown_upper(), "{place}");
            derive(&d).unwrap();
            assert_derived(&d);
        }
    }
}

fn shown_upper() -> String {
    let dir = tempfile::tempdir().unwrap();
    sketch::make(&dir.path().join("upper"), UPPER);
    sketch::show(&dir.path().join("upper"))
}

/// The presets are a directory.
fn swap(d: &Derive) -> io::Result<()> {
    let (one, other) = (d.from.join("presets"), d.from.join("presets.d"));
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    Ok(rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, flags)?)
}

/// Directories in each other, to a path of just under 4096 bytes.
fn deep(top: &Path) {
    let mut path = top.join("d");
    while path.as_os_str().len() + 201 < 4096 {
        fs::create_dir(&path).unwrap();
        path.push("x".repeat(200));
    }
    let rest = 4094 - path.parent().unwrap().as_os_str().len();
    path.set_file_name("y".repeat(rest.min(255)));
    fs::create_dir(&path).unwrap();
}

/// A disk that is full at any point: with each number of inodes, and each size, that is too small.
#[test]
fn a_full_disk_leaves_the_old_upper_whole() {
    if !namespace::inside("a_full_disk_leaves_the_old_upper_whole", Unprivileged, 1) {
        return;
    }
    for in_place in [false, true] {
        for limit in ["nr_inodes", "nr_blocks"] {
            let attempts = (1..200).map(|number| attempt(in_place, limit, number));
            let failed = attempts.take_while(|attempt| *attempt != Attempt::Succeeded);
            let failed = failed.filter(|attempt| *attempt == Attempt::Failed).count();
            assert!((5..150).contains(&failed), "{failed} attempts failed for {limit}");
        }
    }
}

fn tmpfs(at: &Path, limits: &str) {
    Mount::builder().fstype(FilesystemType::from("tmpfs")).data(limits).mount("tmpfs", at).unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// There was not even room for the old upper.
    NoRoom,
    Failed,
    Succeeded,
}

/// An attempt on a tmpfs with a limit; if it fails, nothing came of it.
fn attempt(in_place: bool, limit: &str, number: usize) -> Attempt {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    tmpfs(&small, &format!("{limit}={number}"));
    let filled = std::panic::catch_unwind(|| prepare(&small));
    let attempt = filled.map_or(Attempt::NoRoom, |mut d| {
        if in_place {
            d.to = d.from.clone();
        }
        let before = names(&small.join("etc"));
        let derived = derive(&d);
        match &derived {
            Ok(()) => {
                assert_derived(&d);
                Attempt::Succeeded
            }
            Err(error) => {
                assert!(error.to_string().contains("No space left"), "{error}");
                assert_eq!(names(&small.join("etc")), before);
                assert_eq!(sketch::show(&d.from.join("upper")), shown_upper());
                assert_eq!(names(&d.from), ["presets", "upper"]);
                Attempt::Failed
            }
        }
    });
    sys_mount::unmount(&small, UnmountFlags::empty()).unwrap();
    attempt
}

#[test]
fn an_upper_may_go_to_another_file_system() {
    if !namespace::inside("an_upper_may_go_to_another_file_system", Unprivileged, 1) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut d = prepare(dir.path());
    let tmpfs = dir.path().join("tmpfs");
    LinuxHost::new().mount_tmpfs(&tmpfs, layers::size::Size::default()).unwrap();
    d.to = tmpfs.join("etc");
    derive(&d).unwrap();
    assert_derived(&d);
    assert_eq!(names(&tmpfs), ["etc"]);
}

/// Two stacks of directories, and what an administrator did in /etc on the first.
struct Machine {
    dir: tempfile::TempDir,
    host: LinuxHost<'static>,
}

impl Machine {
    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn overlay(&mut self, at: &str, lowers: &[&str], upper: Option<&str>) {
        let overlay = Overlay {
            source: format!("layerctl:{at}"),
            lowers: lowers.iter().map(|path| self.at(path)).collect(),
            data: Vec::new(),
            upper: upper.map(|path| Upper::below(&self.at(path))),
            at: self.at(at),
        };
        self.host.mount_overlay(&overlay).unwrap();
    }

    fn unmount(&mut self, at: &str) {
        self.host.unmount(&self.at(at)).unwrap();
    }
}

/// What the kernel shows of the new upper over the new images is what was meant.
#[test]
fn a_real_overlay_shows_what_was_reconciled() {
    if !namespace::inside("a_real_overlay_shows_what_was_reconciled", Privileged, 1) {
        return;
    }
    let mut machine = Machine { dir: tempfile::tempdir().unwrap(), host: LinuxHost::new() };
    // An upper of an overlay cannot be on an overlay.
    let top = machine.dir.path().to_owned();
    tmpfs(&top, "mode=0755");
    sketch::make(
        &machine.at("base"),
        "file hosts\n    | old\nfile copied\n    | old\nfile deleted\n    | x\nfile remade.d/a\n    | old\nfile conf.d/a\n    | a\nfile conf.d/b\n    | b\n",
    );
    sketch::make(&machine.at("layer"), "file gone\n    | x\nfile conf.d/of-layer\n    | x\n");
    sketch::make(
        &machine.at("base2"),
        "file hosts\n    | old\nfile copied\n    | new\nfile deleted\n    | x\nfile remade.d/a\n    | old\nfile remade.d/b\n    | new\nfile conf.d/a\n    | a\nfile conf.d/b\n    | new\nfile own\n    | of the image\nfile file-now/x\n    | x\n",
    );
    sketch::make(&machine.at("layer2"), "file mine.d/image\n    | x\nfile dir-now\n    | x\n");
    let upper = Upper::below(&machine.at("1"));
    machine.host.make_upper(&upper, None).unwrap();

    machine.overlay("etc", &["layer", "base"], Some("1"));
    let etc = machine.at("etc");
    let copy_up = |path: &str| {
        fs::set_permissions(etc.join(path), fs::Permissions::from_mode(0o644)).unwrap();
    };
    for path in ["copied", "conf.d/a", "conf.d/b", "conf.d/of-layer", "gone"] {
        copy_up(path);
    }
    fs::write(etc.join("hosts"), "mine\n").unwrap();
    fs::remove_file(etc.join("deleted")).unwrap();
    fs::remove_dir_all(etc.join("remade.d")).unwrap();
    for (path, text) in [
        ("remade.d/a", "mine\n"),
        ("mine.d/mine", "mine\n"),
        ("dir-now/mine", "mine\n"),
        ("file-now", "mine\n"),
        ("own", "of the administrator\n"),
    ] {
        fs::create_dir_all(etc.join(path).parent().unwrap()).unwrap();
        fs::write(etc.join(path), text).unwrap();
    }
    machine.unmount("etc");

    machine.overlay("old", &["layer", "base"], None);
    machine.overlay("new", &["layer2", "base2"], None);
    let d = Derive {
        from: machine.at("1"),
        to: machine.at("2"),
        old: Some(machine.at("old")),
        new: machine.at("new"),
        whole: true,
        users: Vec::new(),
        report: machine.at("report"),
        generation: "2".parse().unwrap(),
        source: Some("1".parse().unwrap()),
        images: String::new(),
    };
    derive(&d).unwrap();
    machine.overlay("etc", &["layer2", "base2"], Some("2"));
    assert_eq!(
        sketch::show(&etc),
        "file conf.d/a\n    | a\nfile conf.d/b\n    | new\nfile copied\n    | new\nfile dir-now\n    | x\n\
         file dir-now.layerctl-saved/mine\n    | mine\nfile file-now/x\n    | x\nfile file-now.layerctl-saved\n    | mine\n\
         file hosts\n    | mine\nfile mine.d/image\n    | x\nfile mine.d/mine\n    | mine\nfile own\n    | of the administrator\n\
         file remade.d/a\n    | mine\n"
    );
    machine.unmount("etc");
    let report = Report::parse(&fs::read_to_string(machine.at("report")).unwrap()).unwrap();
    let told: Vec<_> = report.notes.iter().map(|note| (note.path.as_str(), note.kind)).collect();
    assert_eq!(
        told,
        [
            ("/etc/dir-now", NoteKind::KeptAside),
            ("/etc/file-now", NoteKind::KeptAside),
            ("/etc/own", NoteKind::ChangedOnBothSides),
            ("/etc/remade.d", NoteKind::ChangedOnBothSides),
        ]
    );
    for at in ["old", "new"] {
        machine.unmount(at);
    }
}
