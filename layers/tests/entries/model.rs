//! A store with its boot partition in memory, and what happens to both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use layers::boot_partition::{BootPartition, FileFacts};
use layers::entry::{Counters, EntryName, NAME_MAX, Said};
use layers::generation::Generation;
use layers::id::{Digest, GenerationId};
use layers::kernel::{Blob, Kernel, KernelFile, Part};
use layers::layout::{BootDir, Layout};
use layers::manifest::{Kind, Manifest};
use layers::plan::change::{
    Decision, ImageFile, KargsEdit, NewKernel, Refusal, Request, State, change_kargs, import_base,
    mark_good, rollback, sync_boot,
};
use layers::plan::collect::cleanup;
use layers::plan::{BootName, CopyToBoot, Op};
use proptest::prelude::*;

/// Bytes of a cluster of the model.
pub(crate) const CLUSTER: u64 = 4096;

/// Clusters that are taken by directories, before anything is ours.
pub(crate) const DIRECTORIES: u64 = 5;

/// What happens.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A base of this version with one of a few kernels, or with none.
    Import(u8, Option<u8>),
    Kargs(u8),
    Rollback(Option<u32>),
    Try(u32),
    Cleanup(usize),
    /// The boot loader starts its first entry, and what that starts is marked good, or not.
    Boot(bool),
    Sync,
    /// An entry's text is cut short.
    Tear(prop::sample::Index),
    /// A file of the partition is lost or has other bytes.
    Lose(prop::sample::Index, bool),
    /// A generation's record cannot be read any more.
    Damage(u32),
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (1..6_u8, proptest::option::weighted(0.95, 0..4_u8))
            .prop_map(|(version, kernel)| Event::Import(version, kernel)),
        4 => (0..9_u8).prop_map(Event::Kargs),
        3 => proptest::option::of(1..20_u32).prop_map(Event::Rollback),
        1 => (1..20_u32).prop_map(Event::Try),
        3 => (0..4_usize).prop_map(Event::Cleanup),
        6 => any::<bool>().prop_map(Event::Boot),
        1 => Just(Event::Sync),
        1 => index().prop_map(Event::Tear),
        1 => (index(), any::<bool>()).prop_map(|(which, gone)| Event::Lose(which, gone)),
        1 => (1..20_u32).prop_map(Event::Damage),
    ]
}

pub(crate) fn blob(kind: u8, number: u8) -> Blob {
    let size = u64::from(number + 1) * 10_000 + u64::from(kind);
    Blob { digest: Digest::new([kind * 16 + number; 32]), size }
}

pub(crate) fn base(version: u8, kernel: Option<u8>) -> ImageFile {
    let manifest = Manifest {
        size: 4096,
        dirs: vec!["usr".into()],
        marks_good: version.is_multiple_of(2),
        // Other kernels are another build.
        ..Manifest::plain(
            Kind::Base,
            "z".parse().unwrap(),
            version.to_string().parse().unwrap(),
            Digest::new([version * 8 + kernel.map_or(0, |kernel| kernel + 1); 32]),
        )
    };
    let kernel = kernel.map(|number| NewKernel {
        kernel: Kernel {
            version: format!("6.{number}"),
            linux: blob(1, number),
            // Two kernels share an initrd: a file has more users than one.
            initrd: blob(2, number / 2),
        },
        linux: "/work/kernel".into(),
        initrd: "/work/initrd".into(),
    });
    ImageFile { path: "/media/z.img".into(), manifest, signed: None, kernel }
}

pub(crate) fn id(number: u32) -> GenerationId {
    number.to_string().parse().unwrap()
}

pub(crate) fn decide(
    event: &Event,
    state: &State,
    layout: &Layout,
) -> Option<Result<Decision, Refusal>> {
    let once = matches!(event, Event::Try(_));
    let request = &Request { time: "t".into(), asked: "what was asked".into(), once };
    Some(match event {
        Event::Import(version, kernel) => {
            import_base(state, layout, &base(*version, *kernel), None, request)
        }
        Event::Kargs(number) => {
            let append_if_missing = vec![format!("arg{number}=\"a b\"")];
            let edit = KargsEdit { append_if_missing, ..KargsEdit::default() };
            change_kargs(state, layout, &edit, request)
        }
        Event::Rollback(number) => rollback(state, layout, number.map(id), request),
        Event::Try(number) => rollback(state, layout, Some(id(*number)), request),
        Event::Cleanup(keep) => cleanup(state, layout, *keep, request),
        Event::Boot(true) => mark_good(state, layout, state.booted?, request),
        Event::Sync => {
            let mut state = state.clone();
            look(&mut state);
            sync_boot(&state, layout, request)
        }
        _ => return None,
    })
}

/// The model: a state with its partition, and what is beside it.
pub(crate) struct Model {
    pub(crate) state: State,
    pub(crate) layout: Layout,
    pub(crate) capacity: u64,
    /// Files of the partition whose bytes are not what their names say.
    pub(crate) bad: BTreeSet<KernelFile>,
    /// Files that an accident took.
    pub(crate) lost: BTreeSet<KernelFile>,
}

/// A look at every byte, as `boot sync` takes one.
pub(crate) fn look(state: &mut State) {
    for facts in state.boot.as_mut().unwrap().files.values_mut() {
        facts.sound = Some(facts.sound != Some(false));
    }
}

impl Model {
    pub(crate) fn new(capacity: u64) -> Self {
        let boot = BootPartition {
            dir: BootDir::new(Path::new("/efi")),
            files: BTreeMap::new(),
            entries: BTreeMap::new(),
            foreign: BTreeSet::new(),
            missing_directories: 3,
            free: 0,
            cluster: CLUSTER,
            machine_id: Some("4098b3f648d74c13b1f04ccfba7798e8".into()),
            state: Some("6d3376e4-fc93-4509-95ec-a21d68011da2".into()),
            one_shot: None,
        };
        let state = State { boot: Some(boot), ..State::default() };
        let layout = Layout::new(Path::new("/state"));
        let mut model =
            Self { state, layout, capacity, bad: BTreeSet::new(), lost: BTreeSet::new() };
        model.measure();
        model
    }

    pub(crate) fn boot(&self) -> &BootPartition {
        self.state.boot.as_ref().unwrap()
    }

    pub(crate) fn boot_mut(&mut self) -> &mut BootPartition {
        self.state.boot.as_mut().unwrap()
    }

    /// What is free; nothing may take more than there is.
    pub(crate) fn measure(&mut self) {
        let boot = self.boot();
        let files = boot.files.values().map(|facts| facts.size);
        let entries = boot.entries.values().map(|text| text.len() as u64);
        let taken: u64 = files.chain(entries).map(|length| boot.space(length)).sum();
        let directories = DIRECTORIES * CLUSTER;
        let free = self.capacity.checked_sub(taken + directories);
        self.boot_mut().free = free.unwrap_or_else(|| panic!("the partition is full"));
    }

    pub(crate) fn happen(&mut self, event: &Event) {
        match event {
            Event::Boot(_) => self.start(),
            Event::Tear(which) if !self.boot().entries.is_empty() => {
                let boot = self.boot_mut();
                let place = which.index(boot.entries.len());
                let text = boot.entries.values_mut().nth(place).unwrap();
                text.truncate(text.len() / 2);
            }
            Event::Lose(which, gone) if !self.boot().files.is_empty() => {
                let place = which.index(self.boot().files.len());
                let file = *self.boot().files.keys().nth(place).unwrap();
                match gone {
                    true => drop(self.boot_mut().files.remove(&file)),
                    false => drop(self.bad.insert(file)),
                }
                self.lost.insert(file);
            }
            Event::Damage(number) if self.state.pointers.default != Some(id(*number)) => {
                let gone = self.state.generations.remove(&id(*number));
                let why = "cannot be read".to_owned();
                self.state.damaged.extend(gone.map(|generation| (generation.id, why)));
            }
            _ => {}
        }
        self.measure();
    }

    /// What a boot loader with counting does, then init: the first entry by UAPI.1's order.
    pub(crate) fn start(&mut self) {
        let mut menu: Vec<(EntryName, Said)> =
            self.boot().sound_entries().map(|(name, said)| (*name, said)).collect();
        menu.sort_by_key(|(name, said)| {
            let bad = name.counters.is_some_and(|counters| counters.left == 0);
            let version: u32 = said.version.as_ref().unwrap().parse().unwrap();
            (bad, said.sort_key.clone(), std::cmp::Reverse(version))
        });
        let Some((name, _)) = menu.first().cloned() else { return };
        if let Some(Counters { left, done }) = name.counters {
            let text = self.boot_mut().entries.remove(&name).unwrap();
            let counters =
                Counters { left: left.saturating_sub(1), done: Some(done.unwrap_or(0) + 1) };
            let name = EntryName { counters: Some(counters), ..name };
            self.boot_mut().entries.insert(name, text);
        }
        let pointers = &mut self.state.pointers;
        let pointed = pointers.next.take().or(pointers.default);
        let Some(id) = (if name.default { pointed } else { Some(name.id) }) else { return };
        if !self.state.generations.contains_key(&id) {
            return;
        }
        if let Some(left) = self.state.tries.get_mut(&id) {
            *left = left.count_off().unwrap_or(*left);
        }
        self.state.pointers.ran = Some(id);
        self.state.booted = Some(id);
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        let record = |text: &str| text.trim_end().parse::<GenerationId>().unwrap();
        let layout = self.layout.clone();
        match op {
            Op::StageImage { to, digest, size, .. } => {
                let file = [Part::Linux, Part::Initrd]
                    .map(|part| KernelFile { part, digest: *digest })
                    .into_iter()
                    .find(|file| layout.kernel_file(file) == *to);
                match file {
                    Some(file) => drop(self.state.kernels.insert(file, *size)),
                    None => drop(self.state.images.insert(*digest, *size)),
                }
            }
            Op::PublishGeneration { text, .. } => {
                let generation = Generation::parse(text).unwrap();
                assert_eq!(generation.check(), Ok(()));
                self.state.generations.insert(generation.id, generation);
            }
            Op::WriteFile { path, text } if *path == layout.serial() => {
                self.state.serial = Some(record(text));
            }
            Op::WriteFile { path, text } if *path == layout.default() => {
                self.state.pointers.default = Some(record(text));
            }
            Op::WriteFile { path, text } if *path == layout.next() => {
                self.state.pointers.next = Some(record(text));
            }
            Op::WriteFile { path, text } if *path == layout.good() => {
                self.state.pointers.good = Some(record(text));
            }
            Op::WriteFile { path, text } if path.starts_with(layout.tries()) => {
                let id = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
                self.state.tries.insert(id, text.parse().unwrap());
            }
            Op::WriteFile { text, .. } => {
                let manifest = Manifest::parse(text).unwrap();
                self.state.manifests.insert(manifest.digest, manifest);
            }
            Op::Remove { path } => self.remove(path),
            Op::AppendLine { .. } => {}
            Op::CopyToBoot(CopyToBoot { from, file, size, .. }) => {
                assert_eq!(*from, layout.kernel_file(file));
                assert_eq!(self.state.kernels.get(file), Some(size), "the store has it");
                self.boot_mut().files.insert(*file, FileFacts { size: *size, sound: None });
                self.bad.remove(file);
                self.lost.remove(file);
                self.boot_mut().missing_directories = 0;
            }
            Op::WriteEntry { name, text, .. } => {
                assert!(name.fits(text) && name.to_string().len() <= NAME_MAX);
                let old = self.boot_mut().entries.insert(*name, text.clone());
                assert_eq!(old, None, "{name} is written over");
            }
            Op::RemoveFromBoot { name: BootName::Entry(name), .. } => {
                assert!(self.boot_mut().entries.remove(name).is_some(), "{name}");
            }
            Op::RemoveFromBoot { name: BootName::File(file), .. } => {
                assert!(self.boot_mut().files.remove(file).is_some(), "{file:?}");
            }
            other => panic!("no change does this: {other}"),
        }
        self.measure();
    }

    pub(crate) fn remove(&mut self, path: &Path) {
        let text = path.file_name().unwrap().to_str().unwrap();
        let state = &mut self.state;
        let id = || text.parse::<GenerationId>().unwrap();
        match path.parent().unwrap() {
            _ if path == self.layout.next() => state.pointers.next = None,
            inside if inside == self.layout.generations() => {
                state.generations.remove(&id()).unwrap();
            }
            inside if inside == self.layout.tries() => {
                state.tries.remove(&id()).unwrap();
            }
            _ => {
                let (digest, ending) = text.split_once('.').unwrap();
                let digest = digest.parse().unwrap();
                let file = |part| KernelFile { part, digest };
                match ending {
                    "img" => drop(state.images.remove(&digest).unwrap()),
                    "toml" => drop(state.manifests.remove(&digest).unwrap()),
                    "kernel" => drop(state.kernels.remove(&file(Part::Linux)).unwrap()),
                    "initrd" => drop(state.kernels.remove(&file(Part::Initrd)).unwrap()),
                    other => panic!("{other}"),
                }
            }
        }
    }

    /// What holds between any two operations.
    pub(crate) fn check(&self, had_default: bool) {
        for (name, said) in self.boot().sound_entries() {
            for path in &said.files {
                let file = BootDir::named(path).unwrap();
                assert!(
                    self.boot().files.contains_key(&file) || self.lost.contains(&file),
                    "{name} names {path}, which is gone"
                );
            }
            let (id, state) = (name.id, &self.state);
            let known = state.ids().contains(&id) || state.serial >= Some(id) && name.default;
            assert!(known, "{name} starts a generation that is gone");
        }
        assert!(!had_default || self.has_default(), "nothing starts by default");
    }

    pub(crate) fn has_default(&self) -> bool {
        self.boot().sound_entries().any(|(name, _)| name.default)
    }

    /// What holds once a change is through.
    pub(crate) fn check_in_line(&self) {
        let state = &self.state;
        let default = state.pointers.default.unwrap();
        if state.generations[&default].kernel.is_none() {
            return;
        }
        let entries: Vec<(&EntryName, Said)> = self.boot().sound_entries().collect();
        let torn = self.boot().entries.iter().find(|(name, text)| {
            !name.fits(text) && (name.default || !state.damaged.contains_key(&name.id))
        });
        assert_eq!(torn, None, "a torn entry is left");
        let defaults: Vec<_> = entries.iter().filter(|(name, _)| name.default).collect();
        assert_eq!(defaults.len(), 1);
        assert_eq!(defaults[0].0.id, default);
        assert!(defaults[0].1.option("layers.generation").is_none());
        for (id, generation) in &state.generations {
            let own: Vec<_> =
                entries.iter().filter(|(name, _)| !name.default && name.id == *id).collect();
            let Some(kernel) = &generation.kernel else {
                assert!(own.is_empty());
                continue;
            };
            let stored = |(file, size): &(KernelFile, u64)| {
                state.kernels.get(file) == Some(size) && !self.lost.contains(file)
            };
            if !kernel.files().iter().all(stored) {
                continue;
            }
            assert_eq!(own.len(), 1, "generation {id}");
            let (name, said) = own[0];
            assert_eq!(said.option("layers.generation"), Some(id.to_string().as_str()));
            assert_eq!(said.option("panic"), Some("10"));
            for option in &generation.options {
                assert!(said.options.contains(option), "{option}");
            }
            let newest = state.generations.keys().rev().find(|other| **other != default).copied();
            let good = state.pointers.good.or(newest) == Some(*id);
            let rank = if good { "layerctl-good" } else { "layerctl-other" };
            assert_eq!(said.sort_key.as_deref(), Some(rank));
            assert!(name.counters.is_none() || state.tries.contains_key(id));
        }
    }
}
