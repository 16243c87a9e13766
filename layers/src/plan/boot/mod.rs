//! What a boot does: which generations it may try, which layers of one it takes, and what it mounts where.

use std::collections::BTreeSet;
use std::path::PathBuf;

use thiserror::Error;

use super::{Access, Op, Overlay, Plan};
use crate::attempts::Attempts;
use crate::cmdline::{BootRequest, GenerationChoice};
use crate::generation::{Generation, Layer};
use crate::id::{Digest, GenerationId, Name};
use crate::layout::{BootPaths, Layout};
use crate::lowers::LowerImages;
use crate::policy::{Dir, Mode};
use crate::report::{FailedCandidate, Skipped, WritableMount};
use crate::superblock::Format;
use index::Merged;
use stack::Stack;
use writable::Writable;

mod facts;
mod index;
mod presets;
mod selection;
mod stack;
mod top;
mod writable;

pub use facts::{BootFacts, EtcOrigin, EtcSource, EtcUppers, Pointers, UpperFacts, etc_origin};
pub use presets::Presets;

/// Why a generation is not booted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Its base image is missing or no image.
    #[error("base image {digest} {why}", digest = .digest.short())]
    Base {
        /// The image.
        digest: Digest,
        /// What is wrong with it.
        why: String,
    },
    /// A layer that may not be left out cannot be used.
    #[error("layer {name} {why}, and {needed}")]
    Layer {
        /// The layer.
        name: Name,
        /// What is wrong with it.
        why: String,
        /// Who insists on it.
        needed: String,
    },
    /// A part of it that must be signed is not, or not as it must be.
    #[error("{what} {why}")]
    Untrusted {
        /// The base or the layer.
        what: String,
        /// What is wrong with it, as the end of a sentence.
        why: String,
    },
    /// The base has no modules for the kernel that runs.
    #[error("base has no modules for the running kernel {running}, only for {}", .has.join(", "))]
    Kernel {
        /// The kernel that runs.
        running: String,
        /// Those that the base has modules for.
        has: Vec<String>,
    },
}

/// A boot's plan, and what the report says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    /// What to write down before anything is mounted: whatever this start comes to, it was one.
    pub claims: Plan,
    /// What to do before the root can be entered.
    pub plan: Plan,
    /// What to write down once the root has proved to be one that can be entered.
    pub records: Plan,
    /// Layers that will be mounted, bottom first.
    pub layers: Vec<Name>,
    /// All images that will be mounted for it, topmost first.
    pub images: LowerImages,
    /// Layers that were selected and are left out.
    pub skipped: Vec<Skipped>,
    /// What could not be honoured, one line each.
    pub problems: Vec<String>,
    /// Where writes will go.
    pub writable: Vec<WritableMount>,
    /// The base and the layers that are mounted without anybody's signature.
    pub unsigned: Vec<Name>,
    /// The index that the root is seen through.
    pub index: Option<Digest>,
    /// Whether anything that is written was to be kept, whatever came of it.
    pub keeps: bool,
    /// What new units are to be enabled as the presets have it, once the root is entered.
    pub presets: Option<Presets>,
}

impl BootPlan {
    /// All that is done, in order.
    pub fn whole(&self) -> Plan {
        let parts = [&self.claims, &self.plan, &self.records];
        Plan { ops: parts.into_iter().flat_map(|part| part.ops.iter().cloned()).collect() }
    }
}

/// The generations that a boot can choose among.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// The pointers.
    pub pointers: Pointers,
    /// Those that the store has, readable or not.
    pub ids: BTreeSet<GenerationId>,
    /// The one that the default was made from, if the default's record can be read.
    pub parent: Option<GenerationId>,
    /// Those that were started as often as they may be and never marked good.
    pub used_up: BTreeSet<GenerationId>,
}

impl Choices {
    /// What `layers.generation=previous` and a rollback without a number mean: the generation that the default one was
    /// made from, else the newest that is older.
    pub fn previous(&self) -> Option<GenerationId> {
        let default = self.pointers.default?;
        let parent = self.parent.filter(|parent| self.ids.contains(parent));
        parent.or_else(|| self.ids.range(..default).next_back().copied())
    }

    /// Whether `id` has no start left. One that was marked good needs none.
    fn is_used_up(&self, id: GenerationId) -> bool {
        self.used_up.contains(&id) && self.pointers.good != Some(id)
    }
}

/// The generations that a boot may try, in order: the one asked for, then next, default, good, then the others newest
/// first. Those whose attempts are used up come last, unless they are asked for: better one of them than none.
pub fn candidates(request: &BootRequest, choices: &Choices) -> Vec<GenerationId> {
    let asked = match request.generation {
        GenerationChoice::Default => None,
        GenerationChoice::Id(id) => Some(id),
        GenerationChoice::Previous => choices.previous(),
    };
    let pointers = &choices.pointers;
    let mut order: Vec<GenerationId> = Vec::new();
    let newest_first = || choices.ids.iter().rev().copied();
    let fresh = |id: &GenerationId| !choices.is_used_up(*id);
    let first = [asked, pointers.next, pointers.default.filter(fresh), pointers.good];
    let last = pointers.default.into_iter().chain(newest_first());
    for id in first.into_iter().flatten().chain(newest_first().filter(fresh)).chain(last) {
        if !order.contains(&id) {
            order.push(id);
        }
    }
    order
}

/// The default generation where a boot passes it over, because its attempts are used up.
pub fn passed_over(request: &BootRequest, choices: &Choices) -> Option<FailedCandidate> {
    let id = choices.pointers.default.filter(|id| choices.is_used_up(*id))?;
    let why = "its attempts are used up, and it was never marked good".to_owned();
    (candidates(request, choices).first() != Some(&id)).then_some(FailedCandidate { id, why })
}

/// What to say when the generation that the command line asks for is not there.
pub fn missing_choice(request: &BootRequest, choices: &Choices) -> Option<String> {
    match request.generation {
        GenerationChoice::Id(id) if !choices.ids.contains(&id) => {
            Some(format!("layers.generation: there is no generation {id}"))
        }
        GenerationChoice::Previous if choices.previous().is_none() => {
            Some("layers.generation: there is no generation before the default one".to_owned())
        }
        _ => None,
    }
}

/// Decides how `generation` boots, or why it does not.
pub fn plan_boot(
    request: &BootRequest,
    generation: &Generation,
    facts: &BootFacts,
    paths: &BootPaths,
) -> Result<BootPlan, Refusal> {
    check_kernel(generation, facts)?;
    let base = generation.base.digest;
    let base_format =
        usable(facts, &base).map_err(|why| match facts.untrusted.contains(&base) {
            true => Refusal::Untrusted { what: format!("base {}", generation.base.name), why },
            false => Refusal::Base { digest: base, why },
        })?;
    let mut problems = request.problems.clone();
    let mut selection = selection::select(request, generation, &mut problems);
    let layers = selection.take_usable(facts)?;

    let layout = Layout::new(&paths.state());
    let mount = |digest: &Digest, format, at| mount(facts, &layout, digest, format, at);
    let mut ops = vec![mount(&base, base_format, paths.base())];
    ops.extend(
        layers
            .iter()
            .map(|(layer, format)| mount(&layer.digest, *format, paths.layer(&layer.name))),
    );
    let top = top::trigger(generation, &layers, facts, &mut problems);
    ops.extend(top.iter().map(|top| mount(&top.digest, top.format, paths.trigger())));
    let unsigned = unsigned(generation, &layers, facts);
    let stack = Stack::new(generation, &layers, top.as_ref(), facts, paths);
    let index = index::choose(&stack, &mut problems);
    ops.extend(index.iter().map(|index| mount(&index.digest, index.format, paths.index())));
    ops.push(root(&stack, index.as_ref(), paths));

    let mut plan = Writable {
        request,
        generation,
        facts,
        layout: &layout,
        stack,
        ops,
        records: Vec::new(),
        problems,
        tmpfs: false,
    };
    let writable = plan.all();
    let presets = presets::plan(&mut plan, &writable);
    let persists = |dir: Dir| writable.iter().any(|w| w.dir == dir && w.mode == Mode::Persistent);
    let images = plan.stack.images;
    let mut records = plan.records;
    records.extend(self::records(generation.id, persists(Dir::Etc), facts, &layout, request));

    Ok(BootPlan {
        claims: Plan { ops: claims(generation.id, facts, &layout, request) },
        plan: Plan { ops: plan.ops },
        records: Plan { ops: records },
        layers: layers.iter().map(|(layer, _)| layer.name.clone()).collect(),
        images,
        skipped: selection.skipped,
        problems: plan.problems,
        writable,
        unsigned,
        index: index.map(|index| index.digest),
        keeps: Dir::ALL
            .into_iter()
            .any(|dir| request.mode(dir, &generation.writable) == Mode::Persistent),
        presets,
    })
}

fn check_kernel(generation: &Generation, facts: &BootFacts) -> Result<(), Refusal> {
    match &facts.kernel {
        // A base without any modules may have a kernel with everything built in.
        Some(running)
            if !generation.base.kernels.is_empty()
                && !generation.base.kernels.contains(running) =>
        {
            Err(Refusal::Kernel { running: running.clone(), has: generation.base.kernels.clone() })
        }
        _ => Ok(()),
    }
}

fn usable(facts: &BootFacts, digest: &Digest) -> Result<Format, String> {
    facts.images.get(digest).cloned().unwrap_or_else(|| Err("is missing from the store".to_owned()))
}

/// The operation that mounts an image of the store, with what covers it if it is signed.
fn mount(facts: &BootFacts, layout: &Layout, digest: &Digest, format: Format, at: PathBuf) -> Op {
    let cover = facts.covers.get(digest).cloned();
    Op::MountImage { image: layout.image(digest), format, cover, at }
}

/// The names of what is mounted and not signed.
fn unsigned(generation: &Generation, layers: &[(&Layer, Format)], facts: &BootFacts) -> Vec<Name> {
    let base = [(&generation.base.name, &generation.base.digest)];
    let layers = layers.iter().map(|(layer, _)| (&layer.name, &layer.digest));
    let images = base.into_iter().chain(layers);
    images
        .filter(|(_, digest)| !facts.covers.contains_key(*digest))
        .map(|(name, _)| name.clone())
        .collect()
}

fn root(stack: &Stack<'_>, index: Option<&Merged>, paths: &BootPaths) -> Op {
    let images = stack.places();
    let (lowers, data) = match (index, images.as_slice()) {
        (Some(index), _) => (vec![paths.index()], index.data.clone()),
        // A read-only overlay needs two lowers or more; one image alone is shown as it is.
        (None, [only]) => {
            let at = paths.sysroot.clone();
            return Op::Bind { from: only.clone(), at, access: Access::ReadOnly };
        }
        (None, _) => (images, Vec::new()),
    };
    Op::MountOverlay(Overlay {
        source: format!("layerctl:{}", stack.generation.id),
        lowers,
        data,
        upper: None,
        at: paths.sysroot.clone(),
    })
}

/// What a start takes for itself before anything else is done: one of the generation's attempts, and what was to be tried
/// once. A kernel that dies in the middle of it has had both.
fn claims(id: GenerationId, facts: &BootFacts, layout: &Layout, request: &BootRequest) -> Vec<Op> {
    if facts.read_only.is_some() || request.writes_nothing() {
        return Vec::new();
    }
    let mut ops = Vec::new();
    let counted = facts.attempts.filter(|_| facts.pointers.good != Some(id));
    if let Some(left) = counted.and_then(Attempts::count_off) {
        ops.push(Op::Overwrite { path: layout.tries_of(id), text: left.record() });
    }
    if facts.pointers.next.is_some() {
        ops.push(Op::Remove { path: layout.next() });
    }
    ops
}

/// What a boot leaves behind in `boot/`: nothing when the same generation ran before.
fn records(
    id: GenerationId,
    etc_persists: bool,
    facts: &BootFacts,
    layout: &Layout,
    request: &BootRequest,
) -> Vec<Op> {
    if facts.read_only.is_some() || request.writes_nothing() {
        return Vec::new();
    }
    let mut ops = Vec::new();
    if etc_persists && facts.pointers.ran != Some(id) {
        ops.push(Op::WriteFile { path: layout.ran(), text: id.record() });
    }
    ops
}
