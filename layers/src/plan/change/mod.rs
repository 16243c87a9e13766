//! What a change does to the store. Each verb is a function from the store's [`State`] to a [`Decision`].
//!
//! A change starts from the generation that the next boot would take. It is rebuilt from what was asked for, each
//! time; the one operation that makes it visible is the pointer's replacement, after all that it points to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use thiserror::Error;

use super::boot::{Choices, Pointers};
use super::{Op, Plan};
use crate::attempts::Attempts;
use crate::boot_partition::BootPartition;
use crate::generation::{self, Generation};
use crate::id::{Digest, GenerationId, Name};
use crate::kernel::{Kernel, KernelFile};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::policy::Policy;
use crate::scrutiny::InstallPolicy;
use crate::trust::{Floors, SignedManifest};

mod base;
mod boot;
mod compose;
mod draft;
pub(super) mod entries;
mod fit;
mod good;
mod indexing;
mod install;
mod kargs;
mod menu;
mod pointer;
mod policy;
mod reset;
mod resolve;
mod sets;
mod sign;
mod stage;
mod upgrade;

use draft::Draft;
use entries::After;

pub use base::import_base;
pub use boot::sync_boot;
pub use compose::{Composition, Made};
pub use fit::misfits;
pub use good::mark_good;
pub use indexing::{Indexed, Indexing};
pub use install::{Install, install, uninstall};
pub use kargs::{KargsEdit, change_kargs};
pub use menu::{PANIC, WATCHDOG};
pub use pointer::{pin, rollback, unpin};
pub use policy::apply_policy;
pub use reset::{cancel_reset, refused_reset, reset};
pub use resolve::{Resolved, intents, resolve};
pub use sets::{create_set, delete_set};
pub use sign::sign;
pub use stage::{describe, stage};
pub use upgrade::{Upgrade, upgrade};

/// All that a change's decision depends on, as read from a store under its lock.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The readable generations.
    pub generations: BTreeMap<GenerationId, Generation>,
    /// Generations whose record cannot be read, and why.
    pub damaged: BTreeMap<GenerationId, String>,
    /// The pointers.
    pub pointers: Pointers,
    /// Pointers that are there but cannot be read: path and reason.
    pub damaged_pointers: Vec<(PathBuf, String)>,
    /// Generations that were not marked good, with the starts that they have left.
    pub tries: BTreeMap<GenerationId, Attempts>,
    /// Generations that cleanup keeps.
    pub pinned: BTreeSet<GenerationId>,
    /// The generation that runs now, if it is one of this store.
    pub booted: Option<GenerationId>,
    /// The highest number ever given to a generation.
    pub serial: Option<GenerationId>,
    /// Image files in the store, with their length in bytes.
    pub images: BTreeMap<Digest, u64>,
    /// Packages' files in the store, with their length in bytes.
    pub packages: BTreeMap<Digest, u64>,
    /// Kernels and initrds in the store, with their length in bytes.
    pub kernels: BTreeMap<KernelFile, u64>,
    /// The boot partition that goes with the store, if there is one.
    pub boot: Option<BootPartition>,
    /// Readable manifests in the store.
    pub manifests: BTreeMap<Digest, Manifest>,
    /// The texts of those that have signatures.
    pub signed: BTreeMap<Digest, SignedManifest>,
    /// The highest versions that were marked good; `None` where the record cannot be read.
    pub versions: Option<Floors>,
    /// The layers that are mounted in this boot, if it asked for signatures.
    pub proven: Option<Vec<Name>>,
    /// Images that have a hash tree.
    pub trees: BTreeSet<Digest>,
    /// Generations that have an /etc upper.
    pub etc_uppers: BTreeSet<GenerationId>,
    /// Files and directories that were never published, or removed half-way.
    pub leftovers: Vec<PathBuf>,
    /// The policy that a new generation gets; without one it gets that of the generation that it is made from.
    pub policy: Option<Policy>,
    /// The starts that a new generation gets, as the administrator wants it; without, [`Attempts::NEW`] where its base
    /// marks boots good, and no count where it does not.
    pub attempts: Option<Attempts>,
    /// The digest of the table of triggers that run over the layers of a new generation; without one none is composed
    /// anew.
    pub triggers: Option<Digest>,
    /// What follows where layers do not fit.
    pub install: InstallPolicy,
}

/// An image file that is to enter the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its description.
    pub manifest: Manifest,
    /// The description's text and its signatures, where it is signed.
    pub signed: Option<SignedManifest>,
    /// The kernel that comes with it: that of a base which has one.
    pub kernel: Option<NewKernel>,
}

/// A kernel that is to enter the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKernel {
    /// What the generation says of it.
    pub kernel: Kernel,
    /// Where the kernel's file is.
    pub linux: PathBuf,
    /// Where its initrd is.
    pub initrd: PathBuf,
}

/// When a change is made and in which words: what the log and the generation say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// RFC 3339, UTC.
    pub time: String,
    /// The command as it was asked for, on one line: `install htop`.
    pub asked: String,
    /// Whether the generation is to boot a single time, and then the default one again.
    pub once: bool,
}

/// A decision: what will be done, and what people are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The operations; none when there is nothing to change.
    pub plan: Plan,
    /// One line each, for people.
    pub summary: Vec<String>,
    /// The generation that it makes, if it makes one.
    pub generation: Option<Generation>,
    /// Choices of layers of that generation over which triggers have to run before it is published: see
    /// [`Decision::complete`].
    pub compositions: Vec<Composition>,
}

impl Decision {
    /// Operations that make no generation.
    pub(super) fn of(ops: Vec<Op>, summary: Vec<String>) -> Self {
        Self { plan: Plan { ops }, summary, ..Self::default() }
    }

    /// Nothing has to be done, because of `why`.
    pub fn unchanged(why: String) -> Self {
        Self { summary: vec![why], ..Self::default() }
    }

    /// Whether there is nothing to do.
    pub fn is_unchanged(&self) -> bool {
        self.plan.ops.is_empty()
    }
}

/// Why a change is not made. Nothing has been touched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct Refusal {
    /// What happened.
    pub what: String,
    /// What to type.
    pub hint: String,
}

impl Refusal {
    /// A refusal from what happened and what to type.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

impl State {
    /// The generation that a change starts from.
    pub fn start(&self) -> Result<&Generation, Refusal> {
        if let Some(id) = self.pointers.default {
            return self.readable(id);
        }
        let choose = "choose the generation to boot: layerctl rollback ID";
        if self.is_new() {
            return Err(Refusal::new(
                "the store has no generation yet",
                "import a base first: layerctl base import IMAGE",
            ));
        }
        Err(match self.damaged_pointers.first() {
            Some((path, why)) => Refusal::new(format!("{} {why}", path.display()), choose),
            None => Refusal::new("no generation is the default one", choose),
        })
    }

    /// Whether no generation was ever made visible. The record of a first import that was interrupted before its
    /// pointer may be there; the next import goes past it.
    fn is_new(&self) -> bool {
        let unseen = self.pointers == Pointers::default()
            && self.damaged_pointers.is_empty()
            && self.damaged.is_empty()
            && self.generations.values().all(|generation| generation.parent.is_none());
        unseen || self.ids().is_empty()
    }

    /// Whether the store has an image in the length that its manifest tells.
    pub fn is_whole(&self, digest: &Digest) -> bool {
        let want = self.manifests.get(digest).map(|manifest| manifest.size);
        self.images.get(digest).is_some_and(|size| want.is_none_or(|want| want == *size))
    }

    /// Generation `id`, or why it cannot be used.
    pub fn readable(&self, id: GenerationId) -> Result<&Generation, Refusal> {
        let hint = "see which there are: layerctl status";
        self.generations.get(&id).ok_or_else(|| match self.damaged.get(&id) {
            Some(why) => Refusal::new(format!("generation {id} is damaged: {why}"), hint),
            None => Refusal::new(format!("there is no generation {id}"), hint),
        })
    }

    /// What is wrong with an image that is not whole, as the end of a sentence.
    fn lack(&self, digest: &Digest) -> &'static str {
        if self.images.contains_key(digest) {
            "cut short in the store"
        } else {
            "missing from the store"
        }
    }

    /// Every generation's number, readable or not.
    pub fn ids(&self) -> BTreeSet<GenerationId> {
        self.generations.keys().chain(self.damaged.keys()).copied().collect()
    }

    /// What a boot can choose among.
    pub fn choices(&self) -> Choices {
        let default = self.pointers.default.and_then(|id| self.generations.get(&id));
        Choices {
            pointers: self.pointers,
            ids: self.ids(),
            parent: default.and_then(|generation| generation.parent),
            used_up: self.used_up(),
        }
    }

    /// Where a rollback without a number leads: as [`Choices::previous`], among the readable generations.
    pub fn rollback_target(&self) -> Option<GenerationId> {
        let ids = self.generations.keys().copied().collect();
        Choices { ids, ..self.choices() }.previous()
    }

    /// Generations that have no start left.
    fn used_up(&self) -> BTreeSet<GenerationId> {
        self.tries.iter().filter(|(_, left)| left.are_used_up()).map(|(id, _)| *id).collect()
    }

    /// The starts that a new generation on `base` gets; `None` where they are not counted.
    fn new_attempts(&self, base: &generation::Base) -> Option<Attempts> {
        match self.attempts {
            Some(none) if none.are_used_up() => None,
            Some(wanted) => Some(wanted),
            None => base.marks_good.then_some(Attempts::NEW),
        }
    }

    /// Whether there is a generation to try once, readable or not: one that cannot be read now may be at boot.
    fn has_next(&self, layout: &Layout) -> bool {
        let path = layout.next();
        self.pointers.next.is_some() || self.damaged_pointers.iter().any(|(at, _)| *at == path)
    }

    /// A number that no generation of this store ever had.
    fn new_id(&self) -> Result<GenerationId, Refusal> {
        let used = self.ids().into_iter().chain(self.serial).chain(self.etc_uppers.iter().copied());
        match used.max() {
            None => Ok(GenerationId::FIRST),
            Some(last) => last.next().ok_or_else(|| {
                Refusal::new(
                    "every generation number has been used",
                    "start a new store: layerctl --root DIR init",
                )
            }),
        }
    }
}

/// Gives the draft a number and the operations that publish it: images, manifests, serial, generation, pointer, log.
/// The summary is ended by what boots next.
fn publish(
    state: &State,
    layout: &Layout,
    request: &Request,
    mut draft: Draft,
    new_images: &[&ImageFile],
    mut summary: Vec<String>,
) -> Result<Decision, Refusal> {
    check_once(state, request)?;
    let id = state.new_id()?;
    fit::record_conflicts(&mut draft, state, new_images);
    let (triggers, compositions) = compose::triggers(state, &draft);
    let generation = Generation {
        schema: generation::SCHEMA,
        id,
        parent: state.pointers.default,
        created: request.time.clone(),
        reason: request.asked.clone(),
        options: draft.options,
        base: draft.base,
        kernel: draft.kernel,
        layers: draft.layers,
        sets: draft.sets,
        triggers,
        indexes: Vec::new(),
        requests: draft.requests,
        writable: state.policy.clone().unwrap_or(draft.writable),
    };
    generation.check().map_err(|what| {
        Refusal::new(
            format!("this would make a generation that cannot boot: {what}"),
            "see the layers: layerctl status",
        )
    })?;
    check_images(state, &generation, new_images)?;
    let mut ops: Vec<Op> =
        new_images.iter().flat_map(|image| stage(state, layout, image)).collect();
    ops.push(Op::WriteFile { path: layout.serial(), text: id.record() });
    let mut after = After::of(state).with(&generation);
    if let Some(attempts) = state.new_attempts(&generation.base) {
        ops.push(Op::WriteFile { path: layout.tries_of(id), text: attempts.record() });
        after = after.counted(id, attempts);
    }
    ops.push(Op::PublishGeneration { dir: layout.generation(id), text: generation.to_string() });
    ops.extend(point(state, layout, request, id, after)?);
    summary.push(next_boot(state, request, id));
    Ok(Decision { plan: Plan { ops }, summary, generation: Some(generation), compositions })
}

/// Every image of a new generation is in the store or on its way there, in its full length.
fn check_images(
    state: &State,
    generation: &Generation,
    new_images: &[&ImageFile],
) -> Result<(), Refusal> {
    let mut all = generation.layers.iter().map(|layer| (layer.title(), layer.digest)).chain([(
        format!("{} {}", generation.base.name, generation.base.version),
        generation.base.digest,
    )]);
    let missing = all.find(|(_, digest)| {
        !state.is_whole(digest) && !new_images.iter().any(|image| image.manifest.digest == *digest)
    });
    match missing {
        None => check_kernel(state, generation, new_images),
        Some((title, digest)) => Err(Refusal::new(
            format!("the image of {title} ({}) is {}", digest.short(), state.lack(&digest)),
            "see what is damaged: layerctl verify; then install its file again or uninstall it",
        )),
    }
}

/// So are its kernel and initrd.
fn check_kernel(
    state: &State,
    generation: &Generation,
    new_images: &[&ImageFile],
) -> Result<(), Refusal> {
    let arrives = |kernel: &Kernel| {
        new_images.iter().any(|image| image.kernel.as_ref().is_some_and(|it| it.kernel == *kernel))
    };
    let Some(kernel) = generation.kernel.as_ref().filter(|kernel| !arrives(kernel)) else {
        return Ok(());
    };
    match kernel.files().iter().find(|(file, size)| state.kernels.get(file) != Some(size)) {
        None => Ok(()),
        Some((file, _)) => Err(Refusal::new(
            format!(
                "the {} of {} {} ({}) is missing from the store or cut short",
                file.part.name(),
                generation.base.name,
                generation.base.version,
                file.digest.short()
            ),
            "bring it back: layerctl base import FILE, with the file of this base",
        )),
    }
}

/// A generation that boots a single time needs one that boots afterwards.
fn check_once(state: &State, request: &Request) -> Result<(), Refusal> {
    if !request.once || state.pointers.default.is_some() {
        return Ok(());
    }
    Err(Refusal::new(
        "no generation is the default one, so there is none to boot after a single try",
        "leave --try-once out",
    ))
}

/// What makes `id` the generation to boot, or the one to boot once, on the boot partition too; `after` is the store that
/// this leaves.
fn point(
    state: &State,
    layout: &Layout,
    request: &Request,
    id: GenerationId,
    after: After<'_>,
) -> Result<Vec<Op>, Refusal> {
    let after = if request.once { after } else { after.default(id) };
    let aligned = entries::align(state, layout, &after)?;
    let once = request.once.then_some(id);
    let one_shot = entries::one_shot(state, &after, &aligned, once)?;
    let mut ops = aligned.before;
    ops.extend(one_shot);
    // A generation to try once was asked for before this change: it no longer is what the next boot shall take.
    if state.has_next(layout) && !request.once {
        ops.push(Op::Remove { path: layout.next() });
    }
    let pointer = if request.once { layout.next() } else { layout.default() };
    ops.push(Op::WriteFile { path: pointer, text: id.record() });
    ops.extend(aligned.after);
    ops.push(log(layout, request, id));
    Ok(ops)
}

/// The log's line: time, generation, what was asked, parted by tabs.
fn log(layout: &Layout, request: &Request, id: GenerationId) -> Op {
    Op::AppendLine {
        path: layout.log(),
        line: format!("{}\t{id}\t{}", request.time, request.asked),
    }
}

/// What to say at the end of a change that made a generation.
fn next_boot(state: &State, request: &Request, id: GenerationId) -> String {
    match state.pointers.default.filter(|_| request.once) {
        Some(default) => {
            format!(
                "generation {id} will boot once, then generation {default} again; the running system is unchanged"
            )
        }
        None => format!("generation {id} will boot next; the running system is unchanged"),
    }
}
