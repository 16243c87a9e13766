//! What a boot does: which generations it may try, which layers of one it takes, and what it mounts where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use thiserror::Error;

use super::{Op, Overlay, Plan, Upper};
use crate::cmdline::{BootRequest, DirSet, GenerationChoice, SetChoice};
use crate::generation::{Generation, Layer};
use crate::id::{Digest, GenerationId, Name, SetName};
use crate::layout::{BootPaths, Layout};
use crate::policy::{Dir, Mode};
use crate::report::{Skipped, WritableMount};
use crate::superblock::Format;

/// The pointers in `boot/`, as far as they could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pointers {
    /// The generation to boot.
    pub default: Option<GenerationId>,
    /// The generation to try once.
    pub next: Option<GenerationId>,
    /// The last generation marked good.
    pub good: Option<GenerationId>,
    /// The generation that ran last.
    pub ran: Option<GenerationId>,
}

/// What is known of the machine before anything is mounted but the state file system.
#[derive(Debug, Clone, Default)]
pub struct BootFacts {
    /// Images by digest: their format, or why they cannot be used.
    pub images: BTreeMap<Digest, Result<Format, String>>,
    /// Generations that have an /etc upper of their own.
    pub etc_uppers: BTreeSet<GenerationId>,
    /// Which of the uppers that all generations share are there.
    pub shared_uppers: DirSet,
    /// The pointers.
    pub pointers: Pointers,
    /// The running kernel's release; unknown when the plan is made elsewhere.
    pub kernel: Option<String>,
    /// Why the state file system cannot be written, if it can't.
    pub read_only: Option<String>,
}

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
    /// What to do before the root can be entered.
    pub plan: Plan,
    /// What to write down once the root has proved to be one that can be entered.
    pub records: Plan,
    /// Layers that will be mounted, bottom first.
    pub layers: Vec<Name>,
    /// Layers that were selected and are left out.
    pub skipped: Vec<Skipped>,
    /// What could not be honoured, one line each.
    pub problems: Vec<String>,
    /// Where writes will go.
    pub writable: Vec<WritableMount>,
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
}

impl Choices {
    /// What `layers.generation=previous` and a rollback without a number mean: the generation that the default one was
    /// made from, else the newest that is older.
    pub fn previous(&self) -> Option<GenerationId> {
        let default = self.pointers.default?;
        let parent = self.parent.filter(|parent| self.ids.contains(parent));
        parent.or_else(|| self.ids.range(..default).next_back().copied())
    }
}

/// The generations that a boot may try, in order: the one asked for, then next, default, good, then the others newest
/// first.
pub fn candidates(request: &BootRequest, choices: &Choices) -> Vec<GenerationId> {
    let asked = match request.generation {
        GenerationChoice::Default => None,
        GenerationChoice::Id(id) => Some(id),
        GenerationChoice::Previous => choices.previous(),
    };
    let pointers = &choices.pointers;
    let mut order: Vec<GenerationId> = Vec::new();
    let pointed = [asked, pointers.next, pointers.default, pointers.good].into_iter().flatten();
    for id in pointed.chain(choices.ids.iter().rev().copied()) {
        if !order.contains(&id) {
            order.push(id);
        }
    }
    order
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
    let base_format = usable(facts, &generation.base.digest)
        .map_err(|why| Refusal::Base { digest: generation.base.digest, why })?;
    let mut problems = request.problems.clone();
    let mut selection = select(request, generation, &mut problems);
    let layers = selection.take_usable(facts)?;

    let layout = Layout::new(&paths.state());
    let mut ops = vec![Op::MountImage {
        image: layout.image(&generation.base.digest),
        format: base_format,
        at: paths.base(),
    }];
    ops.extend(layers.iter().map(|(layer, format)| Op::MountImage {
        image: layout.image(&layer.digest),
        format: *format,
        at: paths.layer(&layer.name),
    }));
    ops.push(root(generation, &layers, paths));

    let stack = Stack { request, generation, layers: &layers, facts, paths, layout: &layout };
    let mut writable = Vec::new();
    let mut tmpfs = false;
    for dir in Dir::ALL {
        let mode = stack.mode(dir, &mut problems);
        if mode != Mode::Persistent && !tmpfs {
            ops.push(Op::MountTmpfs { at: paths.ephemeral() });
            tmpfs = true;
        }
        let wiped = stack.writable(dir, mode, &mut ops, &mut problems);
        writable.push(WritableMount { dir, mode, wiped });
    }
    let etc_persists = writable.iter().any(|w| w.dir == Dir::Etc && w.mode == Mode::Persistent);

    Ok(BootPlan {
        plan: Plan { ops },
        records: Plan { ops: records(generation.id, etc_persists, facts, &layout, request) },
        layers: layers.iter().map(|(layer, _)| layer.name.clone()).collect(),
        skipped: selection.skipped,
        problems,
        writable,
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

/// The layers that a boot takes, and those that it leaves out.
struct Selection<'a> {
    layers: Vec<&'a Layer>,
    skipped: Vec<Skipped>,
}

/// Applies set, add and skip. Unknown names become problems; a layer whose need is skipped is left out too.
fn select<'a>(
    request: &BootRequest,
    generation: &'a Generation,
    problems: &mut Vec<String>,
) -> Selection<'a> {
    let mut wanted: BTreeSet<&Name> = set_members(request, generation, problems);
    for name in &request.add {
        match generation.layer(name) {
            Some(layer) => drop(wanted.insert(&layer.name)),
            None => problems.push(unknown("add", name, generation)),
        }
    }
    // What a selected layer needs comes along.
    loop {
        let needed: Vec<&Name> = generation
            .layers
            .iter()
            .filter(|layer| wanted.contains(&layer.name))
            .flat_map(|layer| &layer.requires)
            .filter(|name| !wanted.contains(name))
            .collect();
        if needed.is_empty() {
            break;
        }
        wanted.extend(needed);
    }
    let mut skipped = Vec::new();
    for name in &request.skip {
        if generation.layer(name).is_none() {
            problems.push(unknown("skip", name, generation));
        } else if wanted.remove(name) {
            let why = "layers.skip= names it".to_owned();
            skipped.push(Skipped { name: name.clone(), why });
        }
    }
    // What needs a skipped layer goes with it: half a program is worse than none.
    while let Some((layer, need)) = generation.layers.iter().find_map(|layer| {
        let need = layer.requires.iter().find(|name| !wanted.contains(name))?;
        wanted.contains(&layer.name).then_some((layer, need))
    }) {
        wanted.remove(&layer.name);
        let why = format!("it needs layer {need}, which is left out");
        skipped.push(Skipped { name: layer.name.clone(), why });
    }
    let layers = generation.layers.iter().filter(|layer| wanted.contains(&layer.name)).collect();
    Selection { layers, skipped }
}

fn set_members<'a>(
    request: &BootRequest,
    generation: &'a Generation,
    problems: &mut Vec<String>,
) -> BTreeSet<&'a Name> {
    let named = match &request.sets {
        SetChoice::Nothing => return BTreeSet::new(),
        SetChoice::Default => &[SetName::default_set()][..],
        SetChoice::Named(sets) => sets,
    };
    let mut members = BTreeSet::new();
    let mut found = false;
    for set in named {
        match generation.sets.get(set) {
            Some(names) => {
                members.extend(names);
                found = true;
            }
            None => {
                let known: Vec<String> = generation.sets.keys().map(ToString::to_string).collect();
                problems.push(format!(
                    "layers.set: generation {} has no set {set}, only {}",
                    generation.id,
                    known.join(", ")
                ));
            }
        }
    }
    if !found {
        problems.push("layers.set: none of the sets is there; taking the default set".to_owned());
        members.extend(generation.sets.get(&SetName::default_set()).into_iter().flatten());
    }
    members
}

fn unknown(key: &str, name: &Name, generation: &Generation) -> String {
    format!("layers.{key}: generation {} has no layer {name}", generation.id)
}

impl<'a> Selection<'a> {
    /// Leaves out the layers whose image cannot be used, or refuses where one may not be left out.
    fn take_usable(&mut self, facts: &BootFacts) -> Result<Vec<(&'a Layer, Format)>, Refusal> {
        let mut usable_layers = Vec::new();
        for layer in &self.layers {
            let why = match usable(facts, &layer.digest) {
                Ok(format) => {
                    usable_layers.push((*layer, format));
                    continue;
                }
                Err(why) => why,
            };
            let user = self.layers.iter().find(|other| other.requires.contains(&layer.name));
            let needed = match user {
                _ if layer.required => "it is required".to_owned(),
                Some(user) => format!("layer {} needs it", user.name),
                None => {
                    let why = format!("its image {why}");
                    self.skipped.push(Skipped { name: layer.name.clone(), why });
                    continue;
                }
            };
            return Err(Refusal::Layer { name: layer.name.clone(), why, needed });
        }
        Ok(usable_layers)
    }
}

fn root(generation: &Generation, layers: &[(&Layer, Format)], paths: &BootPaths) -> Op {
    // A read-only overlay needs two lowers or more; one image alone is shown as it is.
    if layers.is_empty() {
        return Op::Bind { from: paths.base(), at: paths.sysroot.clone(), writable: false };
    }
    let mut lowers: Vec<PathBuf> =
        layers.iter().rev().map(|(layer, _)| paths.layer(&layer.name)).collect();
    lowers.push(paths.base());
    Op::MountOverlay(Overlay {
        source: format!("layerctl:{}", generation.id),
        lowers,
        upper: None,
        at: paths.sysroot.clone(),
    })
}

/// All that the writable directories of one boot depend on.
struct Stack<'a> {
    request: &'a BootRequest,
    generation: &'a Generation,
    layers: &'a [(&'a Layer, Format)],
    facts: &'a BootFacts,
    paths: &'a BootPaths,
    layout: &'a Layout,
}

impl Stack<'_> {
    /// Where writes go. A state file system that cannot be written still boots: its upper is read, writes go to a tmpfs.
    fn mode(&self, dir: Dir, problems: &mut Vec<String>) -> Mode {
        let mode = self.request.mode(dir, &self.generation.writable);
        match &self.facts.read_only {
            Some(why) if mode == Mode::Persistent => {
                problems.push(format!(
                    "/{dir}: {why}; what is written in this boot is gone at power-off"
                ));
                Mode::Frozen
            }
            _ => mode,
        }
    }

    /// Directories of the images, topmost first, that have something in `dir`.
    fn lowers(&self, dir: Dir) -> Vec<PathBuf> {
        let has = |dirs: &[String]| dirs.iter().any(|name| name == dir.name());
        let mut lowers: Vec<PathBuf> = self
            .layers
            .iter()
            .rev()
            .filter(|(layer, _)| has(&layer.dirs))
            .map(|(layer, _)| self.paths.layer(&layer.name).join(dir.name()))
            .collect();
        if has(&self.generation.base.dirs) {
            lowers.push(self.paths.base().join(dir.name()));
        }
        lowers
    }

    /// The directory whose upper a read-only use of `dir` starts from, if there is any.
    fn existing_upper(&self, dir: Dir) -> Option<PathBuf> {
        let own = self.generation.id;
        let owner = match dir {
            Dir::Etc if self.facts.etc_uppers.contains(&own) => Some(own),
            Dir::Etc => self.clone_source(),
            shared => self.facts.shared_uppers.contains(shared).then_some(own),
        };
        owner.map(|id| self.layout.upper(dir, id))
    }

    /// The generation whose /etc a new one starts from.
    fn clone_source(&self) -> Option<GenerationId> {
        self.facts.pointers.ran.filter(|ran| self.facts.etc_uppers.contains(ran))
    }

    /// Adds what mounts `dir`; tells whether its upper is emptied.
    fn writable(
        &self,
        dir: Dir,
        mode: Mode,
        ops: &mut Vec<Op>,
        problems: &mut Vec<String>,
    ) -> bool {
        let mut lowers = self.lowers(dir);
        if mode == Mode::Frozen
            && let Some(frozen) = self.existing_upper(dir)
        {
            lowers.insert(0, Upper::below(&frozen).upper);
        }
        // The merged directory shows owner and mode of the upper: those of what it covers.
        let like = Some(lowers.first().cloned().unwrap_or(self.paths.base().join(dir.name())));
        let wipe = self.request.wipe.contains(dir);
        let home = match mode {
            Mode::Persistent => self.persistent(dir, wipe, ops),
            Mode::Frozen | Mode::Ephemeral => self.paths.ephemeral().join(dir.name()),
        };
        if wipe && mode != Mode::Persistent {
            problems.push(format!("layers.wipe: /{dir} is {mode} in this boot and is not emptied"));
        }
        let upper = Upper::below(&home);
        ops.push(Op::MakeUpper { upper: upper.clone(), like });
        let at = self.paths.writable(dir);
        ops.push(if lowers.is_empty() {
            Op::Bind { from: upper.upper, at, writable: true }
        } else {
            let source = format!("layerctl:{}:{dir}", self.generation.id);
            Op::MountOverlay(Overlay { source, lowers, upper: Some(upper), at })
        });
        wipe && mode == Mode::Persistent
    }

    /// Adds what an upper on the state file system needs before it is used; gives the directory that holds it.
    fn persistent(&self, dir: Dir, wipe: bool, ops: &mut Vec<Op>) -> PathBuf {
        let own = self.layout.upper(dir, self.generation.id);
        let new = dir == Dir::Etc && !self.facts.etc_uppers.contains(&self.generation.id);
        if new && let Some(ran) = self.clone_source() {
            ops.push(Op::CloneUpper { from: self.layout.upper(dir, ran), to: own.clone() });
        }
        if wipe {
            let keep = self.generation.writable.kept_in(dir);
            ops.push(Op::WipeUpper { dir: own.clone(), keep });
        }
        own
    }
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
    if facts.pointers.next.is_some() {
        ops.push(Op::Remove { path: layout.next() });
    }
    ops
}
