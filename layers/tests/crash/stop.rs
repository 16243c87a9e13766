//! A store, a verb that is stopped in it, and what is seen afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use layers::attempts::Attempts;
use layers::exec::{HostError, execute};
use layers::generation::Generation;
use layers::host::{LinuxHost, Recorder};
use layers::id::GenerationId;
use layers::kernel::Kernel;
use layers::layout::{BootDir, Layout};
use layers::plan::change::{Request, State, sync_boot};
use layers::plan::check::check_change;
use layers::plan::collect::{cleanup, protected};
use layers::store::facts;
use layers::store::lock::Lock;
use layers::store::partition::{self, Look};
use layers::store::read::{init, read_state};

use crate::verbs::*;

pub(crate) fn request() -> Request {
    Request { time: "2026-11-21T09:00:00Z".into(), asked: "test".into(), once: false }
}

/// The directory that stands for a store's boot partition, where it has one.
pub(crate) fn boot_dir(layout: &Layout) -> BootDir {
    BootDir::new(&layout.top().with_file_name("boot"))
}

/// A store's state, with what is on its boot partition.
pub(crate) fn state_of(layout: &Layout) -> State {
    let mut state = read_state(layout, None).unwrap();
    let dir = boot_dir(layout);
    if dir.top().is_dir() {
        state.boot = Some(partition::read(&dir, Look::Thorough).unwrap());
    }
    state
}

/// Decides and carries out under the lock, as the command does, stopping before an operation if one is given.
pub(crate) fn attempt(layout: &Layout, verb: &Verb, stop: Option<usize>) -> Result<usize, usize> {
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
pub(crate) struct Seen {
    pub(crate) default: Option<(GenerationId, String)>,
    pub(crate) next: Option<String>,
    pub(crate) good: Option<GenerationId>,
    /// The default's.
    pub(crate) attempts: Option<Attempts>,
    pub(crate) pinned: BTreeSet<GenerationId>,
    pub(crate) reset: Option<String>,
}

/// A generation without what depends on how often a change was tried.
pub(crate) fn content(generation: &Generation) -> String {
    let id = GenerationId::FIRST;
    Generation { id, parent: None, ..generation.clone() }.to_string()
}

/// Reads a store and checks what must hold at every moment.
pub(crate) fn look(layout: &Layout, context: &str) -> (Seen, State) {
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
pub(crate) fn bootable(state: &State, context: &str) {
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
pub(crate) fn store(verbs: &[Box<Verb>]) -> (tempfile::TempDir, Layout) {
    store_with(verbs, false)
}

/// As [`store`], with a boot partition.
pub(crate) fn store_with(verbs: &[Box<Verb>], boot: bool) -> (tempfile::TempDir, Layout) {
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
pub(crate) fn files(top: &Path) -> BTreeSet<(PathBuf, u64)> {
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
pub(crate) fn stop_everywhere(
    title: &str,
    before: impl Fn() -> Vec<Box<Verb>>,
    verb: impl Fn() -> Box<Verb>,
) {
    stop_each(title, false, before, verb);
}

/// As [`stop_everywhere`], in a store without a boot partition and in one with.
pub(crate) fn stop_with_boot(
    title: &str,
    before: impl Fn() -> Vec<Box<Verb>>,
    verb: impl Fn() -> Box<Verb>,
) {
    stop_each(title, false, &before, &verb);
    stop_each(&format!("{title} with a boot partition"), true, &before, &verb);
}

pub(crate) fn stop_each(
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
pub(crate) fn clean(layout: &Layout, before: &Seen, context: &str) {
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
