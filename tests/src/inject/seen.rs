//! What people and the next boot see of a store, and of what a verb makes beside it.
#![expect(clippy::disallowed_methods, reason = "looks at links and at what is in the way")]

use super::InjectError;
use crate::files;
use layers::boot_partition::BootPartition;
use layers::entry::Said;
use layers::generation::Generation;
use layers::id::GenerationId;
use layers::layout::{BootDir, Layout};
use layers::plan::change::State;
use layers::plan::collect::protected;
use layers::store::partition::{self, Look};
use layers::store::{StoreError, facts, read, stage};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What is seen, part by part: the part's name, what it looks like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen(pub(super) BTreeMap<String, String>);

impl Seen {
    /// Looks at the place: the store at `state`, and what is in `out`.
    ///
    /// The inner error says what must not be seen at any moment: a store that cannot be read, a generation without an image.
    pub(super) fn look(place: &Path) -> Result<Result<Self, String>, InjectError> {
        let mut seen = Self::default();
        for line in listing(&place.join("out"), ".layerctl-")?.lines() {
            // A file is old or new by itself.
            let (name, text) = line.split_once(' ').unwrap_or((line, ""));
            seen.put(&format!("out/{name}"), text.to_owned());
        }
        let layout = Layout::new(&place.join("state"));
        if !files::exists(&layout.schema()) {
            seen.put("store", "none".to_owned());
            return Ok(Ok(seen));
        }
        seen.put("store", "there".to_owned());
        let mut state = match read::read_state(&layout, None) {
            Ok(state) => state,
            Err(error) => return Ok(Err(format!("the store cannot be read: {error}"))),
        };
        match boot_partition(place) {
            Ok(boot) => state.boot = boot,
            Err(error) => return Ok(Err(format!("the boot partition cannot be read: {error}"))),
        }
        seen.look_into(&layout, &state)
    }

    fn put(&mut self, part: &str, text: String) {
        self.0.insert(part.to_owned(), text);
    }

    fn look_into(
        mut self,
        layout: &Layout,
        state: &State,
    ) -> Result<Result<Self, String>, InjectError> {
        if let Some(wrong) = wrong(layout, state).or_else(|| unbootable(state)) {
            return Ok(Err(wrong));
        }
        let pointers = &state.pointers;
        // An index that cannot be made costs no change, and a root shows the same without.
        let shown = |id: GenerationId| {
            let generation = state.generations.get(&id)?;
            Some(Generation { indexes: Vec::new(), ..generation.clone() })
        };
        let default = pointers.default.and_then(shown);
        self.put("default", default.as_ref().map(content).unwrap_or_default());
        let next = pointers.next.and_then(shown);
        self.put("next", next.as_ref().map(content).unwrap_or_default());
        self.put("good", format!("{:?}", pointers.good));
        self.put("pinned", format!("{:?}", state.pinned));
        self.put("reset", text(&layout.reset()));
        if let Some(generation) = &default {
            for digest in generation.digests() {
                self.put(&format!("manifest {digest}"), text(&layout.manifest(&digest)));
            }
            self.put("attempts", text(&layout.tries_of(generation.id)));
            self.put("notes", text(&layout.etc_report(generation.id)));
        }
        // By what points to it: a number depends on how often the change was tried.
        let owners = [("default", pointers.default), ("next", pointers.next)]
            .map(|(name, id)| (name.to_owned(), id));
        let pinned = state.pinned.iter().map(|id| (format!("pinned {id}"), Some(*id)));
        for (name, id) in owners.into_iter().chain(pinned) {
            if let Some(id) = id {
                let upper = layout.etc_upper(Some(id)).join("upper");
                self.put(&format!("etc of {name}"), listing(&upper, ".tmp-")?);
            }
        }
        Ok(Ok(self))
    }

    /// How this differs from another, for people.
    pub(super) fn difference(&self, other: &Self) -> String {
        let names = self.0.keys().chain(other.0.keys());
        let mut differing: Vec<_> =
            names.filter(|name| self.0.get(*name) != other.0.get(*name)).collect();
        differing.sort_unstable();
        differing.dedup();
        let part = |name: &&String| {
            let show = |seen: &Self| seen.0.get(*name).cloned().unwrap_or_else(|| "-".to_owned());
            format!("{name}: {:?}, not {:?}", show(self), show(other))
        };
        differing.iter().map(part).collect::<Vec<_>>().join("; ")
    }
}

/// What is on the boot partition of a place that has one.
pub(super) fn boot_partition(place: &Path) -> Result<Option<BootPartition>, StoreError> {
    let dir = BootDir::new(&place.join("boot"));
    if !files::exists(&dir.entries()) {
        return Ok(None);
    }
    partition::read(&dir, Look::Thorough).map(Some)
}

/// Which entry of a boot partition would start what is not there, or what is missing that starts the default.
fn unbootable(state: &State) -> Option<String> {
    let partition = state.boot.as_ref()?;
    for (name, said) in partition.sound_entries() {
        for path in &said.files {
            let file = BootDir::named(path).and_then(|file| partition.files.get(&file));
            if file.is_none_or(|facts| facts.sound != Some(true)) {
                return Some(format!("entry {name} names {path}, which is not there or not whole"));
            }
        }
    }
    let default = state.pointers.default.and_then(|id| state.generations.get(&id))?;
    let wanted = default.kernel.as_ref()?.files().map(|(file, _)| file);
    let names = |said: &Said| {
        let named: Vec<_> = said.files.iter().filter_map(|path| BootDir::named(path)).collect();
        wanted.iter().all(|file| named.contains(file))
    };
    let starts = partition.sound_entries().any(|(_, said)| names(&said));
    (!starts).then(|| "no entry starts the kernel of the default generation".to_owned())
}

/// What must hold at every moment, and does not.
fn wrong(layout: &Layout, state: &State) -> Option<String> {
    if !state.damaged.is_empty() || !state.damaged_pointers.is_empty() {
        return Some(format!("damaged: {:?} {:?}", state.damaged, state.damaged_pointers));
    }
    if let Some(id) = protected(state).iter().find(|id| !state.generations.contains_key(id)) {
        return Some(format!("generation {id} is gone"));
    }
    for generation in state.generations.values() {
        if state.serial < Some(generation.id) {
            return Some(format!("generation {} is above the serial", generation.id));
        }
        for digest in generation.digests() {
            if !state.is_whole(&digest) {
                return Some(format!("generation {}: image {digest} is missing", generation.id));
            }
            match stage::hash(&layout.image(&digest), &mut |_| {}) {
                Ok(is) if is == digest => {}
                other => return Some(format!("image {digest} has other bytes: {other:?}")),
            }
        }
        let mut known = facts::store(layout);
        if let Err(error) = facts::generation(layout, generation, &mut known) {
            return Some(format!("generation {}: {error}", generation.id));
        }
        if let Some((digest, Err(why))) = known.images.iter().find(|(_, found)| found.is_err()) {
            return Some(format!("generation {}: image {digest} {why}", generation.id));
        }
    }
    None
}

/// A generation without what depends on how often a change was tried.
fn content(generation: &Generation) -> String {
    let id = GenerationId::FIRST;
    Generation { id, parent: None, ..generation.clone() }.to_string()
}

fn text(path: &Path) -> String {
    files::read_text(path).unwrap_or_else(|_| "-".to_owned())
}

/// The files of a tree with what is in them; without names that start with `but`, and without what OverlayFS notes.
fn listing(top: &Path, but: &str) -> Result<String, InjectError> {
    if !files::exists(top) {
        return Ok("-".to_owned());
    }
    let mut lines = String::new();
    for path in files::walk(top)? {
        let shown = path.strip_prefix(top).unwrap_or(&path);
        let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(but);
        if shown.iter().any(hidden) {
            continue;
        }
        let content = if files::is_file(&path) {
            stage::hash(&path, &mut |_| {}).map_or_else(|e| e.to_string(), |hash| hash.short())
        } else if files::is_dir(&path) {
            "directory".to_owned()
        } else {
            fs::read_link(&path).map_or_else(|_| "device".to_owned(), |to| to.display().to_string())
        };
        lines += &format!("{} {content}\n", shown.display());
    }
    Ok(lines)
}
