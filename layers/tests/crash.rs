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

use layers::attempts::Attempts;
use layers::exec::{HostError, execute};
use layers::generation::Generation;
use layers::host::{LinuxHost, Recorder};
use layers::id::{GenerationId, Name, SetName};
use layers::kernel::{Blob, Kernel};
use layers::layout::{BootDir, Layout};
use layers::manifest::{Kind, Manifest, SCHEMA};
use layers::plan::change::{
    Decision, ImageFile, Install, KargsEdit, NewKernel, Refusal, Request, State, apply_policy,
    cancel_reset, change_kargs, create_set, delete_set, import_base, install, mark_good, pin,
    reset, rollback, sync_boot, uninstall, unpin,
};
use layers::plan::check::check_change;
use layers::plan::collect::{cleanup, protected};
use layers::policy::{Dir, Mode, Policy};
use layers::reset::Reset;
use layers::store::lock::Lock;
use layers::store::partition::{self, Look};
use layers::store::read::{self, init, read_state};
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

/// A base that marks boots good, with a kernel and its initrd.
fn import_whole(file: &'static str, version: &'static str) -> Box<Verb> {
    verb(move |state, layout, request| {
        let mut base = image(file, "debian", version, Kind::Base, &[]);
        base.manifest.marks_good = true;
        base.manifest.kernels = vec![version.to_owned()];
        let part = |what: &str| {
            let path = IMAGES.path().join(format!("{what}-{version}"));
            fs::write(&path, format!("{what} {version}")).unwrap();
            let digest = stage::hash(&path, &mut |_| {}).unwrap();
            (Blob { digest, size: fs::metadata(&path).unwrap().len() }, path)
        };
        let ((linux, linux_path), (initrd, initrd_path)) = (part("linux"), part("initrd"));
        let kernel = Kernel { version: version.to_owned(), linux, initrd };
        base.kernel = Some(NewKernel { kernel, linux: linux_path, initrd: initrd_path });
        import_base(state, layout, &base, request)
    })
}

fn once(
    decide: impl Fn(&State, &Layout, &Request) -> Result<Decision, Refusal> + 'static,
) -> Box<Verb> {
    verb(move |state, layout, request| {
        decide(state, layout, &Request { once: true, ..request.clone() })
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

/// The directory that stands for a store's boot partition, where it has one.
fn boot_dir(layout: &Layout) -> BootDir {
    BootDir::new(&layout.top().with_file_name("boot"))
}

/// A store's state, with what is on its boot partition.
fn state_of(layout: &Layout) -> State {
    let mut state = read_state(layout, None).unwrap();
    let dir = boot_dir(layout);
    if dir.top().is_dir() {
        state.boot = Some(partition::read(&dir, Look::Thorough).unwrap());
    }
    state
}

/// Decides and carries out under the lock, as the command does, stopping before an operation if one is given.
fn attempt(layout: &Layout, verb: &Verb, stop: Option<usize>) -> Result<usize, usize> {
    let _lock = Lock::acquire(layout).unwrap();
    let state = state_of(layout);
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
    next: Option<String>,
    good: Option<GenerationId>,
    /// The default's.
    attempts: Option<Attempts>,
    pinned: BTreeSet<GenerationId>,
    reset: Option<String>,
}

/// A generation without what depends on how often a change was tried.
fn content(generation: &Generation) -> String {
    let id = GenerationId::FIRST;
    Generation { id, parent: None, ..generation.clone() }.to_string()
}

/// Reads a store and checks what must hold at every moment.
fn look(layout: &Layout, context: &str) -> (Seen, State) {
    let state = state_of(layout);
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
        for (file, size) in generation.kernel.iter().flat_map(Kernel::files) {
            assert_eq!(state.kernels.get(&file), Some(&size), "{context}: {file:?}");
        }
    }
    bootable(&state, context);
    for kept in protected(&state) {
        assert!(state.generations.contains_key(&kept), "{context}: generation {kept} is gone");
    }
    let seen = Seen {
        default: state.pointers.default.map(|id| (id, content(&state.generations[&id]))),
        next: state.pointers.next.map(|id| content(&state.generations[&id])),
        good: state.pointers.good,
        attempts: state.pointers.default.and_then(|id| state.tries.get(&id).copied()),
        pinned: state.pinned.clone(),
        reset: fs::read_to_string(layout.reset()).ok(),
    };
    (seen, state)
}

/// Every entry on the boot partition that a boot loader would take has its kernel and its initrd there, whole; and where
/// the default generation has a kernel, there is an entry that starts it.
fn bootable(state: &State, context: &str) {
    let Some(partition) = &state.boot else { return };
    for (name, said) in partition.sound_entries() {
        assert!(!said.files.is_empty(), "{context}: {name} names no file");
        for path in &said.files {
            let file = BootDir::named(path).unwrap();
            let found = partition.files.get(&file);
            let sound = found.is_some_and(|found| found.sound == Some(true));
            assert!(sound, "{context}: {name} names {path}, which is not there or not whole");
        }
    }
    let default = state.pointers.default.map(|id| &state.generations[&id]);
    let Some(kernel) = default.and_then(|default| default.kernel.as_ref()) else { return };
    let linux = kernel.files()[0].0;
    let starts = |files: &[String]| files.iter().any(|path| BootDir::named(path) == Some(linux));
    let mut entries = partition.sound_entries();
    assert!(entries.any(|(_, said)| starts(&said.files)), "{context}: no entry starts the default");
}

/// A store after `verbs`, each of them whole.
fn store(verbs: &[Box<Verb>]) -> (tempfile::TempDir, Layout) {
    store_with(verbs, false)
}

/// As [`store`], with a boot partition.
fn store_with(verbs: &[Box<Verb>], boot: bool) -> (tempfile::TempDir, Layout) {
    let state = tempfile::tempdir().unwrap();
    init(state.path()).unwrap();
    if boot {
        fs::create_dir(state.path().join("boot")).unwrap();
    }
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
    stop_each(title, false, before, verb);
}

/// As [`stop_everywhere`], in a store without a boot partition and in one with.
fn stop_with_boot(title: &str, before: impl Fn() -> Vec<Box<Verb>>, verb: impl Fn() -> Box<Verb>) {
    stop_each(title, false, &before, &verb);
    stop_each(&format!("{title} with a boot partition"), true, &before, &verb);
}

fn stop_each(
    title: &str,
    boot: bool,
    before: impl Fn() -> Vec<Box<Verb>>,
    verb: impl Fn() -> Box<Verb>,
) {
    let (_whole, layout) = store_with(&before(), boot);
    let (old, _) = look(&layout, title);
    let count = attempt(&layout, &verb(), None).unwrap();
    assert!(count > 0, "{title}: there is nothing to stop");
    let (new, _) = look(&layout, title);
    for stop in 0..=count {
        let context = format!("{title}, stopped before {stop} of {count}");
        let (_state, layout) = store_with(&before(), boot);
        let done = attempt(&layout, &verb(), Some(stop));
        assert_eq!(done, if stop < count { Err(stop) } else { Ok(count) }, "{context}");
        let (seen, _) = look(&layout, &context);
        // A generation to try once goes just before the pointer moves: the default boots, old or new.
        let next = seen.next.clone().or(old.next.clone().filter(|_| seen.default == old.default));
        // So do attempts, before their generation is the good one: without any, it has all of them.
        let attempts = seen.attempts.or(old.attempts.filter(|_| seen.good == old.good));
        let seen = Seen { next, attempts, ..seen };
        assert!(seen == old || seen == new, "{context}: neither old nor new: {seen:?}");
        if seen == old && old != new {
            attempt(&layout, &verb(), None).unwrap();
        }
        let (again, _) = look(&layout, &context);
        let unnumbered = |seen: &Seen| {
            let default = seen.default.clone().map(|(_, text)| (GenerationId::FIRST, text));
            Seen { default, ..seen.clone() }
        };
        assert_eq!(unnumbered(&again), unnumbered(&new), "{context}: tried again");
        if boot {
            // It is for what a stop leaves there; what has to be there is looked at each time.
            let mend = self::verb(sync_boot);
            attempt(&layout, &mend, None).unwrap();
            assert_eq!(attempt(&layout, &mend, None), Ok(0), "{context}: nothing left to mend");
        }
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
    let kernels = state.generations.values().flat_map(|generation| &generation.kernel);
    let kernels: BTreeSet<_> = kernels.flat_map(Kernel::files).map(|(file, _)| file).collect();
    assert_eq!(state.kernels.keys().copied().collect::<BTreeSet<_>>(), kernels, "{context}");
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

/// A store whose generations have kernels and attempts.
fn whole() -> Vec<Box<Verb>> {
    vec![import_whole("base", "13"), add(&[("htop", "htop", "3.4", &[])], false)]
}

fn go_back(target: Option<u32>) -> Box<Verb> {
    verb(move |state, layout, request| rollback(state, layout, target.map(id), request))
}

fn try_once(target: u32) -> Box<Verb> {
    once(move |state, layout, request| rollback(state, layout, Some(id(target)), request))
}

fn good(number: u32) -> Box<Verb> {
    verb(move |state, layout, request| mark_good(state, layout, id(number), request))
}

/// As a boot leaves them that counts starts.
fn attempts_left(number: u32, left: u8) -> Box<Verb> {
    verb(move |_, layout, _| {
        publish::file(&layout.tries_of(id(number)), &Attempts(left).record()).unwrap();
        Ok(Decision::unchanged("attempts".into()))
    })
}

#[test]
fn bases_bring_kernels_and_attempts() {
    stop_with_boot("first import", Vec::new, || import_whole("base", "13"));
    stop_with_boot("later import", whole, || import_whole("base2", "14"));
    stop_with_boot("install", whole, || add(&[("jq", "jq", "1.7", &[])], false));
    stop_with_boot("uninstall", whole, || {
        verb(|state, layout, request| uninstall(state, layout, &[name("htop")], request))
    });
}

#[test]
fn kernel_arguments_change() {
    stop_with_boot("kargs", whole, || {
        verb(|state, layout, request| {
            let edit = KargsEdit { append: vec!["quiet".into()], ..KargsEdit::default() };
            change_kargs(state, layout, &edit, request)
        })
    });
}

#[test]
fn generations_are_tried_and_marked_good() {
    stop_with_boot("try once", whole, || try_once(1));
    stop_with_boot("install once", whole, || {
        once(|state, layout, request| {
            let files = vec![image("jq", "jq", "1.7", Kind::Layer, &[])];
            install(state, layout, &Install { files, ..Install::default() }, request)
        })
    });
    let tried = || {
        let mut verbs = whole();
        verbs.push(try_once(1));
        verbs
    };
    stop_with_boot("install over a try", tried, || add(&[("jq", "jq", "1.7", &[])], false));
    stop_with_boot("mark good", whole, || good(2));
    let used_up = || {
        let mut verbs = whole();
        verbs.extend([good(2), import_whole("base2", "14"), attempts_left(3, 0), go_back(Some(2))]);
        verbs
    };
    stop_with_boot("rollback to one that is used up", used_up, || go_back(Some(3)));
    stop_with_boot("rollback to another kernel", used_up, || go_back(Some(1)));
    stop_with_boot("another one is good", used_up, || good(3));
}

#[test]
fn a_boot_partition_is_mended() {
    let torn = || {
        let mut verbs = whole();
        verbs.push(import_whole("base2", "14"));
        verbs.push(verb(|_, layout, _| {
            let dir = boot_dir(layout);
            for file in fs::read_dir(dir.files()).unwrap() {
                fs::write(file.unwrap().path(), "torn").unwrap();
            }
            Ok(Decision::unchanged("torn".into()))
        }));
        verbs
    };
    // What it finds is not what must hold at every moment: only its end is.
    let (_whole, layout) = store_with(&torn(), true);
    let count = attempt(&layout, &verb(sync_boot), None).unwrap();
    look(&layout, "sync");
    for stop in 0..count {
        let (_state, layout) = store_with(&torn(), true);
        attempt(&layout, &verb(sync_boot), Some(stop)).unwrap_err();
        attempt(&layout, &verb(sync_boot), None).unwrap();
        look(&layout, &format!("sync, stopped before {stop} of {count}"));
        assert_eq!(attempt(&layout, &verb(sync_boot), None), Ok(0), "{stop}");
    }
}

#[test]
fn policies_and_resets() {
    stop_everywhere("policy apply", three, || {
        verb(|state, layout, request| {
            let mut policy = Policy::default();
            policy.home.mode = Mode::Ephemeral;
            let state = State { policy: Some(policy), ..state.clone() };
            apply_policy(&state, layout, request)
        })
    });
    let ask = |dirs: &'static [Dir]| {
        verb(move |state, layout, request| {
            let asked = Reset { dirs: dirs.to_vec(), keep: Vec::new() };
            reset(state, layout, &asked, read::reset(layout).as_ref(), request)
        })
    };
    stop_everywhere("reset", three, || ask(&[Dir::Var]));
    let asked = || {
        let mut verbs = three();
        verbs.push(ask(&[Dir::Var]));
        verbs
    };
    stop_everywhere("another reset", asked, || ask(&[Dir::Etc, Dir::Home]));
    stop_everywhere("reset --cancel", asked, || {
        verb(|state, layout, request| {
            cancel_reset(state, layout, read::reset(layout).as_ref(), request)
        })
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
