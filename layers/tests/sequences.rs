//! Any sequence of changes and boots, on a model of a store in memory: each decision is carried out operation by
//! operation, and what must hold at every moment is checked after each of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

use std::path::Path;

use layers::generation::Generation;
use layers::id::{Digest, GenerationId, Name};
use layers::layout::Layout;
use layers::manifest::{Kind, Manifest};
use layers::plan::Op;
use layers::plan::change::{
    Decision, ImageFile, Install, Refusal, Request, State, create_set, delete_set, import_base,
    install, mark_good, pin, rollback, uninstall, unpin,
};
use layers::plan::check::check_change;
use layers::plan::collect::{cleanup, protected};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// What happens to a store.
#[derive(Debug, Clone)]
enum Event {
    Import {
        version: u8,
    },
    Install {
        files: Vec<(&'static str, u8, Vec<&'static str>)>,
        replace: bool,
        set: Option<&'static str>,
    },
    InstallName(&'static str),
    Uninstall(Vec<&'static str>),
    CreateSet(&'static str, Vec<&'static str>),
    DeleteSet(&'static str),
    Rollback(Option<u32>),
    Pin(u32),
    Unpin(u32),
    Cleanup(usize),
    /// The machine starts and runs what the pointers say.
    Boot {
        running: bool,
    },
    /// What runs is marked good.
    MarkGood,
    /// A generation is to be tried once.
    Try(u32),
    /// An image is cut short or lost, as a careless administrator or a bad disk does it.
    Lose(usize, bool),
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn event() -> impl Strategy<Value = Event> {
    let names = || subsequence(NAMES.to_vec(), 1..=2);
    let file = (select(NAMES.to_vec()), 1..4_u8, subsequence(NAMES.to_vec(), 0..=1));
    let set = || select(vec!["web", "x"]);
    prop_oneof![
        1 => (1..4_u8).prop_map(|version| Event::Import { version }),
        6 => (vec(file, 1..3), any::<bool>(), proptest::option::weighted(0.2, set()))
            .prop_map(|(files, replace, set)| Event::Install { files, replace, set }),
        2 => select(NAMES.to_vec()).prop_map(Event::InstallName),
        3 => names().prop_map(Event::Uninstall),
        1 => (set(), names()).prop_map(|(set, names)| Event::CreateSet(set, names)),
        1 => set().prop_map(Event::DeleteSet),
        3 => proptest::option::of(1..30_u32).prop_map(Event::Rollback),
        1 => (1..30_u32).prop_map(Event::Pin),
        1 => (1..30_u32).prop_map(Event::Unpin),
        3 => (0..4_usize).prop_map(Event::Cleanup),
        4 => any::<bool>().prop_map(|running| Event::Boot { running }),
        2 => Just(Event::MarkGood),
        1 => (1..30_u32).prop_map(Event::Try),
        1 => (0..9_usize, any::<bool>()).prop_map(|(which, gone)| Event::Lose(which, gone)),
    ]
}

fn id(number: u32) -> GenerationId {
    number.to_string().parse().unwrap()
}

fn names(texts: &[&str]) -> Vec<Name> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn image(name: &str, version: u8, kind: Kind, requires: &[&str]) -> ImageFile {
    let mut bytes = [version; 32];
    bytes[0] = name.as_bytes()[0];
    // Other needs are another build.
    bytes[1] = requires.first().map_or(0, |need| need.as_bytes()[0]);
    let manifest = Manifest {
        size: 4096,
        dirs: vec!["usr".into()],
        marks_good: kind == Kind::Base && version.is_multiple_of(2),
        requires: names(requires)
            .into_iter()
            .filter(|need| need.as_str() != name)
            .map(Into::into)
            .collect(),
        ..Manifest::plain(
            kind,
            name.parse().unwrap(),
            version.to_string().parse().unwrap(),
            Digest::new(bytes),
        )
    };
    ImageFile { path: format!("/media/{name}.img").into(), manifest, signed: None, kernel: None }
}

fn decide(event: &Event, state: &State, layout: &Layout) -> Result<Decision, Refusal> {
    let once = matches!(event, Event::Try(_));
    let request = &Request { time: "t".into(), asked: format!("{event:?}"), once };
    match event {
        Event::Import { version } => {
            import_base(state, layout, &image("z", *version, Kind::Base, &[]), None, request)
        }
        Event::Install { files, replace, set } => {
            let files = files
                .iter()
                .map(|(name, version, requires)| image(name, *version, Kind::Layer, requires))
                .collect();
            let set = set.map(|set| set.parse().unwrap());
            let asked = Install { files, replace: *replace, set, ..Install::default() };
            install(state, layout, &asked, request)
        }
        Event::InstallName(name) => {
            let asked = Install { names: names(&[name]), ..Install::default() };
            install(state, layout, &asked, request)
        }
        Event::Uninstall(layers) => uninstall(state, layout, &names(layers), request),
        Event::CreateSet(set, layers) => {
            create_set(state, layout, &set.parse().unwrap(), &names(layers), request)
        }
        Event::DeleteSet(set) => delete_set(state, layout, &set.parse().unwrap(), request),
        Event::Rollback(number) => rollback(state, layout, number.map(id), request),
        Event::Pin(number) => pin(state, layout, id(*number), request),
        Event::Unpin(number) => unpin(state, layout, id(*number), request),
        Event::Cleanup(keep) => cleanup(state, layout, *keep, request),
        Event::Try(number) => rollback(state, layout, Some(id(*number)), request),
        Event::MarkGood => match state.booted {
            Some(id) => mark_good(state, layout, id, request),
            None => Ok(Decision::unchanged("nobody knows what runs".into())),
        },
        Event::Boot { .. } | Event::Lose(..) => {
            Ok(Decision::unchanged("no change of layerctl's".into()))
        }
    }
}

/// What an event that is no change does to a store.
fn happen(event: &Event, state: &mut State) {
    match event {
        Event::Boot { running } => {
            let pointers = &mut state.pointers;
            let Some(id) = pointers.next.or(pointers.default) else { return };
            if let Some(left) = state.tries.get_mut(&id) {
                *left = left.count_off().unwrap_or(*left);
            }
            pointers.next = None;
            pointers.ran = Some(id);
            // From elsewhere, with --root, nobody knows what runs.
            state.booted = running.then_some(id);
            state.etc_uppers.insert(id);
        }
        Event::Lose(which, gone) => {
            let Some(digest) = state.images.keys().nth(*which).copied() else { return };
            if *gone {
                state.images.remove(&digest);
            } else {
                state.images.insert(digest, 1);
            }
        }
        _ => {}
    }
}

/// Carries out one operation on the model.
fn apply(op: &Op, state: &mut State, layout: &Layout) {
    let record = |text: &str| text.trim_end().parse::<GenerationId>().unwrap();
    match op {
        Op::StageImage { to, digest, size, .. } => {
            assert_eq!(*to, layout.image(digest));
            state.images.insert(*digest, *size);
        }
        Op::PublishGeneration { dir, text } => {
            let generation = Generation::parse(text).unwrap();
            assert_eq!(*dir, layout.generation(generation.id));
            assert!(state.serial >= Some(generation.id), "the serial comes first");
            let id = generation.id;
            assert!(state.generations.insert(id, generation).is_none(), "{id} is used again");
        }
        Op::WriteFile { path, text } if *path == layout.serial() => {
            assert!(state.serial < Some(record(text)), "numbers only grow");
            state.serial = Some(record(text));
        }
        Op::WriteFile { path, text } if *path == layout.default() => {
            state.pointers.default = Some(record(text));
        }
        Op::WriteFile { path, text } if *path == layout.next() => {
            state.pointers.next = Some(record(text));
        }
        Op::WriteFile { path, text } if *path == layout.good() => {
            state.pointers.good = Some(record(text));
        }
        Op::WriteFile { path, text } if path.starts_with(layout.tries()) => {
            let id = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            state.tries.insert(id, text.parse().unwrap());
        }
        Op::WriteFile { path, text } if path.starts_with(layout.pins()) => {
            state.pinned.insert(record(text));
        }
        Op::WriteFile { path, text } => {
            let manifest = Manifest::parse(text).unwrap();
            assert_eq!(*path, layout.manifest(&manifest.digest));
            state.manifests.insert(manifest.digest, manifest);
        }
        Op::Remove { path } => remove(path, state, layout),
        Op::AppendLine { path, .. } => assert_eq!(*path, layout.log()),
        other => panic!("no change does this: {other}"),
    }
}

fn remove(path: &Path, state: &mut State, layout: &Layout) {
    let text = path.file_name().unwrap().to_str().unwrap();
    let inside = path.parent().unwrap();
    if path == layout.next() {
        state.pointers.next = None;
    } else if inside == layout.generations() {
        let id = text.parse().unwrap();
        assert!(!protected(state).contains(&id), "generation {id} is protected");
        state.generations.remove(&id).unwrap();
    } else if inside == layout.pins() {
        state.pinned.remove(&text.parse().unwrap());
    } else if inside == layout.tries() {
        assert!(state.tries.remove(&text.parse().unwrap()).is_some());
    } else if inside == layout.etc_uppers() {
        let id = text.parse().unwrap();
        assert!(!protected(state).contains(&id), "/etc of generation {id} is protected");
        assert!(state.etc_uppers.remove(&id));
    } else if let Some(digest) = text.strip_suffix(".img") {
        state.images.remove(&digest.parse().unwrap()).unwrap();
    } else {
        let digest = text.strip_suffix(".toml").unwrap().parse().unwrap();
        state.manifests.remove(&digest).unwrap();
    }
}

/// Images that generations name and that are not whole: those that were lost.
fn lacking(state: &State) -> usize {
    let named = state.generations.values().flat_map(|generation| generation.digests());
    named.filter(|digest| !state.is_whole(digest)).count()
}

fn check(state: &State, lost: usize) -> usize {
    let lacks = lacking(state);
    assert!(lacks <= lost, "an image that a generation names went away");
    for (what, id) in [
        ("default", state.pointers.default),
        ("next", state.pointers.next),
        ("good", state.pointers.good),
        ("ran", state.pointers.ran),
        ("booted", state.booted),
    ] {
        let there = id.is_none_or(|id| state.generations.contains_key(&id));
        assert!(there, "{what} names {id:?}, which is gone");
    }
    lacks
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        // The smallest failing sequence is printed; a case that matters belongs among the change cases.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_sequence_of_changes_and_boots_breaks_a_store(events in vec(event(), 1..25)) {
        let layout = Layout::new(Path::new("/state"));
        let mut state = State::default();
        let first = Event::Import { version: 1 };
        for event in std::iter::once(&first).chain(&events) {
            happen(event, &mut state);
            let mut lost = check(&state, usize::MAX);
            let Ok(decision) = decide(event, &state, &layout) else { continue };
            prop_assert_eq!(check_change(&decision.plan, &layout), Ok(()));
            let before = state.pointers.default;
            for op in &decision.plan.ops {
                apply(op, &mut state, &layout);
                lost = check(&state, lost);
            }
            if state.pointers.default != before {
                let generation = state.start().unwrap();
                prop_assert!(generation.digests().all(|digest| state.is_whole(&digest)));
                prop_assert_eq!(generation.check(), Ok(()));
            }
            // The same again has nothing more to do, unless it asks for something else by now.
            if !decision.is_unchanged() && !matches!(event, Event::Rollback(None) | Event::Uninstall(_) | Event::DeleteSet(_)) {
                let again = decide(event, &state, &layout);
                prop_assert!(again.is_ok_and(|again| again.is_unchanged()), "{:?}", event);
            }
        }
    }

    /// A decision that is carried out in part, up to any operation, leaves a store on which the next one works.
    #[test]
    fn no_interruption_breaks_a_store(events in vec((event(), any::<prop::sample::Index>()), 1..25)) {
        let layout = Layout::new(Path::new("/state"));
        let mut state = State::default();
        for (event, stop) in &events {
            happen(event, &mut state);
            let mut lost = check(&state, usize::MAX);
            let Ok(decision) = decide(event, &state, &layout) else { continue };
            prop_assert_eq!(check_change(&decision.plan, &layout), Ok(()));
            for op in &decision.plan.ops[..stop.index(decision.plan.ops.len() + 1)] {
                apply(op, &mut state, &layout);
                lost = check(&state, lost);
            }
        }
        // Whatever happened: with the lost images back, the generation that boots can be chosen, and a base imported.
        for generation in state.generations.values() {
            state.images.extend(generation.digests().map(|digest| (digest, 4096)));
        }
        let newest = state.generations.keys().next_back().copied();
        if let (Some(newest), true) = (newest, state.start().is_err()) {
            let decision = decide(&Event::Rollback(Some(newest.get())), &state, &layout).unwrap();
            decision.plan.ops.iter().for_each(|op| apply(op, &mut state, &layout));
        }
        let decided = decide(&Event::Import { version: 9 }, &state, &layout);
        prop_assert!(decided.is_ok_and(|decision| !decision.is_unchanged()));
    }
}
