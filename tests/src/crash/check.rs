//! What must hold on a disk after a crash. What does not is said in words.

use super::device::LoopDevice;
use super::hands::Hands;
use super::recording::{Recording, Stretch};
use super::scene::Scene;
use super::snapshot::Snapshot;
use super::verbs::{ASKED, Act, CLEANUP, FIRST_IMPORT, PROBE, SCRIPT, TIME, Verb, VerbError};
use crate::vm::Filesystem;
use layers::generation::Generation;
use layers::id::GenerationId;
use layers::kernel::Kernel;
use layers::layout::Layout;
use layers::plan::change::State;
use layers::plan::collect::protected;
use layers::store::verify::{self, Verdict};
use layers::store::{StoreError, facts, log, read};
use std::collections::BTreeSet;
use std::path::Path;

/// A state to check: where it is mounted, and what was going on.
pub(super) struct Case<'a> {
    pub(super) filesystem: Filesystem,
    pub(super) device: &'a LoopDevice,
    pub(super) at: &'a Path,
    pub(super) scene: &'a Scene,
    pub(super) recording: &'a Recording,
    pub(super) stretch: &'a Stretch,
    pub(super) verb: &'a Verb,
    /// The request before which the power went.
    pub(super) end: usize,
}

impl Case<'_> {
    /// Mounts the device, so that the kernel replays the journal; looks; makes changes; unmounts.
    pub(super) fn check(&self) -> Result<(), String> {
        let mounted = self
            .device
            .mount(self.filesystem, self.at)
            .map_err(|e| format!("the file system cannot be mounted: {e}"))?;
        let layout = Layout::new(self.at);
        let (found, core) = self.look(&layout)?;
        self.go_on(&layout, &found, &core)?;
        mounted.unmount().map_err(|e| format!("it cannot be unmounted: {e}"))
    }

    /// What is there is what was there after an operation that may have been the last.
    fn look(&self, layout: &Layout) -> Result<(Snapshot, String), String> {
        let found = Snapshot::of(layout).map_err(|e| format!("the store cannot be read: {e}"))?;
        let allowed = self.recording.allowed(self.end);
        if found.is_among(&allowed) {
            return Ok((found, core(layout)?));
        }
        let nearest = allowed.iter().map(|other| found.difference(other));
        let nearest = nearest.min_by_key(|text| text.lines().count()).unwrap_or_default();
        Err(format!(
            "the store is as after none of {} operations; the nearest differs:\n{nearest}",
            allowed.len()
        ))
    }

    /// The verb that was cut short succeeds when it is tried again; then another does; then cleanup finds the rest.
    fn go_on(&self, layout: &Layout, found: &Snapshot, core: &str) -> Result<(), String> {
        let again =
            |why: VerbError| format!("{} fails when it is tried again: {why}", self.stretch.verb);
        if self.has_to_be_tried_again(found, core) {
            self.run(self.verb).map_err(again)?;
            let core = self::core(layout)?;
            if core != self.stretch.core.1 {
                return Err(format!(
                    "tried again, {} leads to\n{core}\ninstead of\n{}",
                    self.stretch.verb, self.stretch.core.1
                ));
            }
        }
        let next = |verb: &Verb| {
            self.run(verb).map_err(|why| format!("the next {} fails: {why}", verb.name))
        };
        if read::pointers(layout).0.default.is_none() {
            next(&FIRST_IMPORT)?;
        }
        next(&PROBE)?;
        logged(layout)?;
        match self.run(&CLEANUP) {
            Ok(()) | Err(VerbError::Unchanged) => clean(layout),
            Err(why) => Err(format!("the next cleanup fails: {why}")),
        }
    }

    fn run(&self, verb: &Verb) -> Result<(), VerbError> {
        verb.run(self.scene, self.at, Hands::Careful, &mut || Ok::<_, VerbError>(()))
    }

    /// A change that people do not see yet can be asked for again; a boot is done again from its beginning only where it
    /// has not left anything, since init decides from what it finds.
    fn has_to_be_tried_again(&self, found: &Snapshot, core: &str) -> bool {
        let (before, after) = &self.stretch.core;
        match self.verb.act {
            Act::Init => true,
            Act::Change(_) => core == before && before != after,
            Act::Boot(_) => self.recording.before(self.stretch) == Some(found),
        }
    }
}

/// The entry of the script with this name, as the product does it.
pub(super) fn verb_named(name: &str) -> Option<&'static Verb> {
    SCRIPT.iter().chain(super::verbs::CONTROL).find(|verb| verb.name == name)
}

/// What people and the next boot see of a store, as text; what must hold at every moment is checked on the way.
pub(super) fn core(layout: &Layout) -> Result<String, String> {
    let broken = |why: &dyn std::fmt::Display| format!("the store cannot be read: {why}");
    match read::open(layout.top().parent().unwrap_or(layout.top())) {
        Ok(_) => {}
        // Init has not come to its end.
        Err(StoreError::Missing(_)) => return Ok("no store".to_owned()),
        Err(why) => return Err(broken(&why)),
    }
    let state = read::read_state(layout, None).map_err(|why| broken(&why))?;
    if let Some((id, why)) = state.damaged.iter().next() {
        return Err(format!("generation {id} is damaged: {why}"));
    }
    if let Some((path, why)) = state.damaged_pointers.first() {
        return Err(format!("{} {why}", path.display()));
    }
    images(layout, &state)?;
    if let Some(id) = protected(&state).into_iter().find(|id| !state.generations.contains_key(id)) {
        return Err(format!("something points to generation {id}, which is not there"));
    }
    for id in state.tries.keys() {
        if let Some(Err(why)) = read::attempts(layout, *id) {
            return Err(format!("the attempts of generation {id}: the record {why}"));
        }
    }
    let reset = match read::reset(layout) {
        Some(Err(why)) => return Err(format!("boot/reset {why}")),
        reset => reset.and_then(Result::ok).map(|reset| reset.to_string()),
    };
    let content =
        |id: Option<GenerationId>| id.and_then(|id| state.generations.get(&id)).map(content);
    let pointers = &state.pointers;
    Ok(format!(
        "default {:?}\nnext {:?}\ngood {:?}\npinned {:?}\nreset {reset:?}",
        content(pointers.default),
        content(pointers.next),
        pointers.good,
        state.pinned,
    ))
}

/// A generation without what depends on how often a change was tried.
fn content(generation: &Generation) -> String {
    Generation { id: GenerationId::FIRST, parent: None, ..generation.clone() }.to_string()
}

/// Every image under its final name has the bytes that the name tells, and no generation lacks one.
fn images(layout: &Layout, state: &State) -> Result<(), String> {
    for digest in verify::all(state) {
        match verify::image(layout, &digest, &mut |_| {}) {
            Verdict::Good => {}
            other => return Err(format!("image {digest}: {other:?}")),
        }
    }
    for kernel in verify::all_kernels(state) {
        match verify::kernel(layout, &kernel, &mut |_| {}) {
            Verdict::Good => {}
            other => return Err(format!("{} {}: {other:?}", kernel.part.name(), kernel.digest)),
        }
    }
    if let Some((digest, why)) = verify::bad_manifests(layout, state).first_key_value() {
        return Err(format!("the manifest of {digest} {why}"));
    }
    for generation in state.generations.values() {
        if state.serial < Some(generation.id) {
            return Err(format!("generation {} could be made a second time", generation.id));
        }
        let mut known = facts::store(layout);
        facts::generation(layout, generation, &mut known).map_err(|e| e.to_string())?;
        if let Some((digest, Err(why))) = known.images.iter().find(|(_, found)| found.is_err()) {
            return Err(format!("generation {}: image {digest} {why}", generation.id));
        }
    }
    Ok(())
}

/// What a crash left of a line does not take the next one with it.
fn logged(layout: &Layout) -> Result<(), String> {
    let changes = log::changes(layout).map_err(|why| why.to_string())?;
    match changes.last() {
        Some([time, generation, asked]) if time == TIME && generation != "-" && asked == ASKED => {
            Ok(())
        }
        other => Err(format!("the log ends with {other:?} after a change")),
    }
}

/// Nothing is left that no generation names.
fn clean(layout: &Layout) -> Result<(), String> {
    core(layout)?;
    let state = read::read_state(layout, None).map_err(|why| why.to_string())?;
    if let Some(path) = state.leftovers.first() {
        return Err(format!("cleanup leaves {}", path.display()));
    }
    let named: BTreeSet<_> = state.generations.values().flat_map(Generation::digests).collect();
    let stray =
        state.images.keys().chain(state.manifests.keys()).find(|digest| !named.contains(digest));
    if let Some(digest) = stray {
        return Err(format!("cleanup leaves what is of {digest}"));
    }
    let kernels = state.generations.values().filter_map(|generation| generation.kernel.as_ref());
    let named: BTreeSet<_> = kernels.flat_map(Kernel::files).map(|(file, _)| file).collect();
    let stray = state.kernels.keys().find(|file| !named.contains(file));
    stray.map_or(Ok(()), |file| {
        Err(format!("cleanup leaves the {} {}", file.part.name(), file.digest))
    })
}
