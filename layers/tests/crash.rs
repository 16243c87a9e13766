//! Every verb, stopped before each of its operations, on a real store: what is read afterwards is the old state or the
//! new one, the same change tried again succeeds, and cleanup finds whatever was left.
//!
//! The order that this rests on, for a change that makes a generation: images and manifests (nothing names them yet),
//! the serial (from here on the number is used up), the record (whole, but nothing points to it), `boot/next` away,
//! `boot/default` (the change), the log. So a stop leaves at most images and a record that nobody asked for; cleanup
//! removes them. For cleanup: records first, then uppers and images, so that no record ever names an image that is gone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test works on files and ends with the first surprise"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use layers::exec::{HostError, execute};
use layers::generation::Generation;
use layers::host::{LinuxHost, Recorder};
use layers::id::{GenerationId, Name, SetName};
use layers::layout::Layout;
use layers::manifest::{Kind, Manifest, SCHEMA};
use layers::plan::change::{
    Decision, ImageFile, Install, Refusal, Request, State, create_set, delete_set, import_base,
    install, pin, rollback, uninstall, unpin,
};
use layers::plan::check::check_change;
use layers::plan::collect::{cleanup, protected};
use layers::policy::Dir;
use layers::store::lock::Lock;
use layers::store::read::{init, read_state};
use layers::store::{facts, publish, stage};

/// Images with real superblocks, made once.
static IMAGES: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    for name in ["base", "base2", "htop", "htop2", "jq", "app", "libfoo"] {
        let tree = dir.path().join(format!("{name}.d"));
        fs::create_dir_all(tree.join("usr/share")).unwrap();
        fs::write(tree.join("usr/share").join(name), name).unwrap();
        let made = Command::new("mksquashfs")
            .args([&tree, &dir.path().join(format!("{name}.img"))])
            .args(["-comp", "gzip", "-quiet", "-no-progress", "-noappend"])
            .output()
            .expect("mksquashfs is not installed: apt-get install squashfs-tools");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    dir
});

fn image(file: &str, name: &str, version: &str, kind: Kind, requires: &[&str]) -> ImageFile {
    let path = IMAGES.path().join(format!("{file}.img"));
    let superblock = stage::superblock(&path).unwrap().unwrap();
    let manifest = Manifest {
        schema: SCHEMA,
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        kind,
        architecture: "any".into(),
        format: superblock.format,
        size: fs::metadata(&path).unwrap().len(),
        digest: stage::hash(&path, &mut |_| {}).unwrap(),
        dirs: vec!["usr".into()],
        kernels: Vec::new(),
        marks_good: false,
        requires: requires.iter().map(|name| name.parse().unwrap()).collect(),
        required: false,
        deletes: Vec::new(),
    };
    ImageFile { path, manifest, kernel: None }
}

type Verb = dyn Fn(&State, &Layout, &Request) -> Result<Decision, Refusal>;

fn verb(
    decide: impl Fn(&State, &Layout, &Request) -> Result<Decision, Refusal> + 'static,
) -> Box<Verb> {
    Box::new(decide)
}

fn import(file: &'static str, version: &'static str) -> Box<Verb> {
    verb(move |state, layout, request| {
        import_base(state, layout, &image(file, "debian", version, Kind::Base, &[]), request)
    })
}

fn add(files: &'static [(&str, &str, &str, &[&str])], replace: bool) -> Box<Verb> {
    verb(move |state, layout, request| {
        let files = files
            .iter()
            .map(|(file, name, version, requires)| {
                image(file, name, version, Kind::Layer, requires)
            })
            .collect();
        install(state, layout, &Install { files, replace, ..Install::default() }, request)
    })
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn id(number: u32) -> GenerationId {
    number.to_string().parse().unwrap()
}

fn make_set(set: &'static str, members: &'static [&str]) -> Box<Verb> {
    verb(move |state, layout, request| {
        let members: Vec<Name> = members.iter().map(|member| name(member)).collect();
        create_set(state, layout, &set.parse::<SetName>().unwrap(), &members, request)
    })
}

fn request() -> Request {
    Request { time: "2026-11-21T09:00:00Z".into(), asked: "test".into(), once: false }
}

/// Decides and carries out under the lock, as the command does, stopping before an operation if one is given.
fn attempt(layout: &Layout, verb: &Verb, stop: Option<usize>) -> Result<usize, usize> {
    let _lock = Lock::acquire(layout).unwrap();
    let state = read_state(layout, None).unwrap();
    let decision = verb(&state, layout, &request()).unwrap();
    check_change(&decision.plan, layout).unwrap();
    let mut host = LinuxHost::new();
    let mut recorder = Recorder::over(&mut host);
    if let Some(stop) = stop {
        recorder = recorder.stop_before(stop);
    }
    match execute(&decision.plan, &mut recorder) {
        Ok(()) => Ok(decision.plan.ops.len()),
        Err(failure) => {
            assert!(matches!(failure.source, HostError::Stopped(_)), "{failure}");
            Err(failure.done)
        }
    }
}

/// What people and the next boot see of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    default: Option<(GenerationId, String)>,
    next: Option<GenerationId>,
    pinned: BTreeSet<GenerationId>,
}

/// A generation without what depends on how often a change was tried.
fn content(generation: &Generation) -> String {
    let id = GenerationId::FIRST;
    Generation { id, parent: None, ..generation.clone() }.to_string()
}

/// Reads a store and checks what must hold at every moment.
fn look(layout: &Layout, context: &str) -> (Seen, State) {
    let state = read_state(layout, None).unwrap();
    assert!(state.damaged.is_empty(), "{context}: {:?}", state.damaged);
    assert!(state.damaged_pointers.is_empty(), "{context}: {:?}", state.damaged_pointers);
    for generation in state.generations.values() {
        assert!(state.serial >= Some(generation.id), "{context}: serial");
        let mut known = facts::store(layout);
        facts::generation(layout, generation, &mut known).unwrap();
        for (digest, found) in known.images {
            assert!(found.is_ok(), "{context}: generation {}: {digest} {found:?}", generation.id);
            assert!(state.is_whole(&digest), "{context}: {digest}");
        }
    }
    for kept in protected(&state) {
        assert!(state.generations.contains_key(&kept), "{context}: generation {kept} is gone");
    }
    let seen = Seen {
        default: state.pointers.default.map(|id| (id, content(&state.generations[&id]))),
        next: state.pointers.next,
        pinned: state.pinned.clone(),
    };
    (seen, state)
}

/// A store after `verbs`, each of them whole.
fn store(verbs: &[Box<Verb>]) -> (tempfile::TempDir, Layout) {
    let state = tempfile::tempdir().unwrap();
    init(state.path()).unwrap();
    let layout = Layout::new(state.path());
    for verb in verbs {
        attempt(&layout, verb, None).unwrap();
    }
    (state, layout)
}

/// Every file below a directory, with its length.
fn files(top: &Path) -> BTreeSet<(PathBuf, u64)> {
    let mut found = BTreeSet::new();
    let mut todo = vec![top.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let length = fs::metadata(&path).unwrap().len();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert((path.strip_prefix(top).unwrap().to_owned(), length));
            }
        }
    }
    found
}

/// Stops `verb` before each operation in a fresh store, and looks.
fn stop_everywhere(title: &str, before: impl Fn() -> Vec<Box<Verb>>, verb: impl Fn() -> Box<Verb>) {
    let (_whole, layout) = store(&before());
    let (old, _) = look(&layout, title);
    let count = attempt(&layout, &verb(), None).unwrap();
    let (new, _) = look(&layout, title);
    for stop in 0..=count {
        let context = format!("{title}, stopped before {stop} of {count}");
        let (_state, layout) = store(&before());
        let done = attempt(&layout, &verb(), Some(stop));
        assert_eq!(done, if stop < count { Err(stop) } else { Ok(count) }, "{context}");
        let (seen, _) = look(&layout, &context);
        // A generation to try once goes just before the pointer moves: the default boots, old or new.
        let next = seen.next.or(old.next.filter(|_| seen.default == old.default));
        let seen = Seen { next, ..seen };
        assert!(seen == old || seen == new, "{context}: neither old nor new: {seen:?}");
        if seen == old && old != new {
            attempt(&layout, &verb(), None).unwrap();
        }
        let (again, _) = look(&layout, &context);
        let text = |seen: &Seen| seen.default.clone().map(|(_, text)| text);
        assert_eq!(text(&again), text(&new), "{context}: tried again");
        assert_eq!((again.next, &again.pinned), (new.next, &new.pinned), "{context}: tried again");
        clean(&layout, &again, &context);
    }
}

/// Cleans up, and compares with what the generations that are left name.
fn clean(layout: &Layout, before: &Seen, context: &str) {
    let gone = verb(|state, layout, request| cleanup(state, layout, 2, request));
    attempt(layout, &gone, None).unwrap();
    let (after, state) = look(layout, context);
    assert_eq!(after, *before, "{context}: cleaned up");
    assert!(state.leftovers.is_empty(), "{context}: {:?}", state.leftovers);
    let named: BTreeSet<_> = state.generations.values().flat_map(|g| g.digests()).collect();
    assert_eq!(state.images.keys().copied().collect::<BTreeSet<_>>(), named, "{context}");
    assert_eq!(state.manifests.keys().copied().collect::<BTreeSet<_>>(), named, "{context}");
    assert_eq!(attempt(layout, &gone, None), Ok(0), "{context}: nothing left to clean up");
}

fn start() -> Vec<Box<Verb>> {
    vec![import("base", "13"), add(&[("htop", "htop", "3.4", &[])], false)]
}

fn three() -> Vec<Box<Verb>> {
    let mut verbs = start();
    verbs.push(add(&[("jq", "jq", "1.7", &[])], false));
    verbs
}

#[test]
fn first_base_import() {
    stop_everywhere("first import", Vec::new, || import("base", "13"));
}

#[test]
fn later_base_import() {
    stop_everywhere("later import", start, || import("base2", "14"));
}

#[test]
fn install_two_files() {
    stop_everywhere("install", start, || {
        add(&[("app", "app", "5", &["libfoo"]), ("libfoo", "libfoo", "2", &[])], false)
    });
}

#[test]
fn install_in_place_of_another() {
    stop_everywhere("replace", three, || add(&[("htop2", "htop", "3.5", &[])], true));
}

#[test]
fn install_over_a_generation_to_try_once() {
    let before = || {
        let mut verbs = three();
        // As the next boot would find it; no verb of the command writes it.
        verbs.push(verb(|_, layout, _| {
            publish::file(&layout.next(), &id(1).record()).unwrap();
            Ok(Decision::unchanged("next".into()))
        }));
        verbs
    };
    stop_everywhere("install over next", before, || add(&[("app", "app", "5", &[])], false));
    stop_everywhere("rollback over next", before, || {
        verb(|state, layout, request| rollback(state, layout, None, request))
    });
}

#[test]
fn uninstall_a_layer() {
    stop_everywhere("uninstall", three, || {
        verb(|state, layout, request| uninstall(state, layout, &[name("htop")], request))
    });
}

#[test]
fn sets_are_created_and_deleted() {
    stop_everywhere("set create", three, || make_set("web", &["jq"]));
    let before = || {
        let mut verbs = three();
        verbs.push(make_set("web", &["jq"]));
        verbs
    };
    stop_everywhere("set delete", before, || {
        verb(|state, layout, request| delete_set(state, layout, &"web".parse().unwrap(), request))
    });
}

#[test]
fn pointers_and_pins_move() {
    stop_everywhere("rollback", three, || {
        verb(|state, layout, request| rollback(state, layout, None, request))
    });
    stop_everywhere("pin", three, || {
        verb(|state, layout, request| pin(state, layout, id(1), request))
    });
    let before = || {
        let mut verbs = three();
        verbs.push(verb(|state, layout, request| pin(state, layout, id(1), request)));
        verbs
    };
    stop_everywhere("unpin", before, || {
        verb(|state, layout, request| unpin(state, layout, id(1), request))
    });
}

#[test]
fn a_cleanup_that_stops_never_takes_what_is_named() {
    let before = || {
        let mut verbs = three();
        verbs.push(import("base2", "14"));
        verbs.push(verb(|state, layout, request| {
            uninstall(state, layout, &[name("htop"), name("jq")], request)
        }));
        verbs.push(verb(|_, layout, _| {
            for number in [1, 3, 5] {
                fs::create_dir_all(layout.etc_upper(Some(id(number))).join("upper/a")).unwrap();
            }
            fs::write(layout.store().join(".tmp-x"), "x").unwrap();
            fs::create_dir_all(layout.shared_upper(Dir::Var).join(".tmp-wiped/a")).unwrap();
            Ok(Decision::unchanged("uppers".into()))
        }));
        verbs
    };
    let gone = || verb(|state, layout, request| cleanup(state, layout, 0, request));
    stop_everywhere("cleanup", before, gone);
    let (whole, layout) = store(&before());
    let count = attempt(&layout, &gone(), None).unwrap();
    assert!(count > 10, "{count} operations: the case has lost its point");
    let all = files(whole.path());
    let (new, _) = look(&layout, "cleanup");
    for stop in 0..count {
        let (state, layout) = store(&before());
        attempt(&layout, &gone(), Some(stop)).unwrap_err();
        assert_eq!(look(&layout, "cleanup").0, new, "{stop}");
        attempt(&layout, &gone(), None).unwrap();
        let again = files(state.path());
        // But for the log and the lock, all is as if it had not been stopped.
        let held = |files: &BTreeSet<(PathBuf, u64)>| -> BTreeSet<(PathBuf, u64)> {
            let told = |path: &Path| path.ends_with("log") || path.ends_with("lock");
            files.iter().filter(|(path, _)| !told(path)).cloned().collect()
        };
        assert_eq!(held(&again), held(&all), "{stop}");
    }
}

#[test]
fn an_operation_that_fails_half_way_is_the_same_as_one_that_was_not_begun() {
    let (_state, layout) = store(&start());
    let (old, _) = look(&layout, "old");
    let replaced = verb(|state, layout, request| {
        let mut file = image("jq", "jq", "1.7", Kind::Layer, &[]);
        // The file changed after it was looked at.
        file.path = IMAGES.path().join("app.img");
        install(state, layout, &Install { files: vec![file], ..Install::default() }, request)
    });
    let state = read_state(&layout, None).unwrap();
    let decision = replaced(&state, &layout, &request()).unwrap();
    let failure = execute(&decision.plan, &mut LinuxHost::new()).unwrap_err();
    assert!(matches!(failure.source, HostError::Digest { .. }), "{failure}");
    let (seen, state) = look(&layout, "failed");
    assert_eq!(seen, old);
    assert!(state.leftovers.is_empty(), "{:?}", state.leftovers);
}
