//! Boots the first candidate that can be booted: read, plan, check, execute; where that fails, undo and take the next.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use layers::cmdline::{BootRequest, GenerationChoice};
use layers::exec::{Failure, Host, HostError, execute, undo};
use layers::generation::Generation;
use layers::id::GenerationId;
use layers::layout::{BootPaths, Layout};
use layers::machine_id::MachineId;
use layers::plan::boot::{
    BootFacts, BootPlan, Choices, Presets, candidates, missing_choice, passed_over, plan_boot,
};
use layers::plan::check::{check_boot, check_covered};
use layers::plan::{Op, Overlay, Plan};
use layers::policy::{Dir, Mode};
use layers::report::{self, BootReport, FailedCandidate, WritableMount};
use layers::store::{self, StoreError, derive, facts, read};
use layers::trust::{Trust, Verify};
use log::{error, info, warn};
use thiserror::Error;

/// How many entries of an /etc upper are looked at for what does not belong there; more than a thousand are rare.
const FOREIGN_MAX: usize = 10_000;

/// What is known of the machine, outside the store.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The kernel command line as it was given.
    pub cmdline: String,
    /// The running kernel's release.
    pub kernel: Option<String>,
    /// Why the state file system cannot be written, if it can't.
    pub read_only: Option<String>,
    /// A machine ID for an /etc that is not kept.
    pub machine_id: Option<MachineId>,
    /// What the initrd asks of signatures, and the keys that it knows.
    pub trust: Trust,
    /// Seconds since 1970, UTC, by the machine's clock.
    pub now: u64,
}

/// Why nothing boots.
#[derive(Debug, Error)]
pub enum BootError {
    /// The store cannot be read at all.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store asks of signatures cannot be read: so nothing is known to be allowed.
    #[error("{} {why}", .path.display())]
    Trust {
        /// The trust file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Every candidate failed.
    #[error("no generation boots")]
    NoCandidate(Vec<FailedCandidate>),
}

/// Looks at a mounted root and finds the program to start in it; the error is the reason why it can't be entered.
pub type FindInit<'a> = dyn Fn(&Path) -> Result<PathBuf, String> + 'a;

/// Loads the kernel's drivers for a file system, or, by the name [`VERITY`], for what checks an image's blocks. What goes wrong
/// is its own to tell; the mount then fails.
pub type LoadDriver<'a> = dyn FnMut(&'static str) + 'a;

/// The name that dm-verity's modules go by in an initramfs's list.
pub const VERITY: &str = "verity";

/// What a boot does to the machine.
pub struct Effects<'a> {
    /// Carries plans out.
    pub host: &'a mut dyn Host,
    /// Called before images are mounted.
    pub load_driver: &'a mut LoadDriver<'a>,
    /// Looks at each root that was mounted.
    pub find_init: &'a FindInit<'a>,
}

/// A root that is mounted and can be entered.
#[derive(Debug)]
pub struct Booted {
    /// What was mounted. The steps are the caller's to add.
    pub report: BootReport,
    /// The program to start.
    pub init: PathBuf,
    /// Whether anything that is written was to be kept, whatever came of it.
    pub keeps: bool,
    /// Units to preset once the root is entered.
    pub presets: Option<Presets>,
}

/// Tries the candidates in order, up to the first whose root is mounted and can be entered.
pub fn boot(
    request: &BootRequest,
    machine: &Machine,
    paths: &BootPaths,
    effects: &mut Effects<'_>,
) -> Result<Booted, BootError> {
    let layout = store::open(&paths.state())?;
    let (choices, damaged) = choices(request, &layout)?;
    let mut problems: Vec<String> =
        damaged.iter().map(|(path, why)| format!("{} {why}", path.display())).collect();
    problems.extend(missing_choice(request, &choices));
    problems.iter().for_each(|problem| error!("{problem}"));

    let mut facts = facts::store(&layout);
    facts.kernel.clone_from(&machine.kernel);
    facts.read_only.clone_from(&machine.read_only);
    facts.machine_id = machine.machine_id;
    facts.hashed = request.hashed;
    facts.trust = facts::trust(&layout, &machine.trust)
        .map_err(|why| BootError::Trust { path: layout.trust(), why })?;
    facts.trust.verify = facts.trust.verify.max(request.verify);
    facts.now = machine.now;
    if facts.trust.verify != Verify::Off {
        let (floors, problem) = facts::floors(&layout, &facts.trust, facts.now);
        facts.floors = floors;
        problem.iter().for_each(|problem| error!("{problem}"));
        problems.extend(problem);
    }
    let order = candidates(request, &choices);
    let mut failed = Vec::new();
    if let Some(passed) = passed_over(request, &choices) {
        error!("generation {} is passed over: {}{}", passed.id, passed.why, Next(order.first()));
        failed.push(passed);
    }
    for (place, &id) in order.iter().enumerate() {
        let attempt = Attempt { request, paths, layout: &layout, id };
        match attempt.run(facts.clone(), effects) {
            Ok((mut plan, init)) => {
                plan.problems.extend(write_records(&plan.records, effects.host));
                let (keeps, presets) = (plan.keeps, plan.presets.take());
                let mut report = report(machine, id, plan, problems, failed);
                report.verify = facts.trust.verify;
                return Ok(Booted { report, init, keeps, presets });
            }
            Err(why) => {
                error!("generation {id} does not boot: {why}{}", Next(order.get(place + 1)));
                failed.push(FailedCandidate { id, why });
            }
        }
    }
    Err(BootError::NoCandidate(failed))
}

/// What there is to choose among, and the pointers that cannot be read. The default's record is read only for the one
/// key that asks for what it was made from.
fn choices(
    request: &BootRequest,
    layout: &Layout,
) -> Result<(Choices, Vec<(PathBuf, String)>), StoreError> {
    let (pointers, mut damaged) = read::pointers(layout);
    let parent = pointers
        .default
        .filter(|_| request.generation == GenerationChoice::Previous)
        .and_then(|id| read::generation(layout, id).ok())
        .and_then(|generation| generation.parent);
    let mut used_up = read::counted(layout)?;
    used_up.retain(|id| match read::attempts(layout, *id) {
        Some(Ok(left)) => left.are_used_up(),
        Some(Err(why)) => {
            damaged.push((layout.tries_of(*id), why));
            true
        }
        None => false,
    });
    Ok((Choices { pointers, ids: read::generation_ids(layout)?, parent, used_up }, damaged))
}

/// Writes down what ran. A full disk must not cost the boot, so what fails is only told.
fn write_records(records: &Plan, host: &mut dyn Host) -> Vec<String> {
    let one = |op: &Op| Plan { ops: vec![op.clone()] };
    let failures = records.ops.iter().filter_map(|op| execute(&one(op), host).err());
    failures
        .map(|failure| format!("a record of this boot could not be written: {failure}"))
        .collect()
}

/// The end of the line about a candidate that failed.
struct Next<'a>(Option<&'a GenerationId>);

impl fmt::Display for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "; trying generation {id}"),
            None => f.write_str("; no other is left"),
        }
    }
}

fn report(
    machine: &Machine,
    generation: GenerationId,
    plan: BootPlan,
    mut problems: Vec<String>,
    failed: Vec<FailedCandidate>,
) -> BootReport {
    for problem in &plan.problems {
        error!("{problem}");
    }
    for skipped in &plan.skipped {
        warn!("layer {} is left out: {}", skipped.name, skipped.why);
    }
    info!("generation {generation} with {} layers", plan.layers.len());
    problems.extend(plan.problems);
    BootReport {
        schema: report::SCHEMA,
        cmdline: machine.cmdline.clone(),
        generation,
        layers: plan.layers,
        skipped: plan.skipped,
        problems,
        writable: plan.writable,
        verify: Verify::Off,
        unsigned: plan.unsigned,
        index: plan.index,
        failed,
        steps: Vec::new(),
    }
}

/// What the images that a plan mounts need drivers for, each once.
fn drivers(plan: &Plan) -> Vec<&'static str> {
    let mut drivers = Vec::new();
    for op in &plan.ops {
        if let Op::MountImage { format, cover, .. } = op {
            for name in [Some(format.name()), cover.as_ref().map(|_| VERITY)].into_iter().flatten()
            {
                if !drivers.contains(&name) {
                    drivers.push(name);
                }
            }
        }
    }
    drivers
}

/// Whether the first `done` operations brought an /etc upper in line with the images where it was: that stays.
fn in_line(plan: &Plan, done: usize) -> bool {
    let here = |op: &Op| matches!(op, Op::DeriveUpper(derive) if derive.from == derive.to);
    plan.ops.iter().take(done).any(here)
}

fn unmount(plan: &Plan, done: usize, host: &mut dyn Host) {
    for left in undo(plan, done, host) {
        warn!("{left}");
    }
}

/// One candidate's turn.
struct Attempt<'a> {
    request: &'a BootRequest,
    paths: &'a BootPaths,
    layout: &'a Layout,
    id: GenerationId,
}

impl Attempt<'_> {
    /// Mounts the candidate. What turns out to be unusable on the way becomes a fact, and the plan is made again: each
    /// turn has one usable layer less or writes nothing, so it ends.
    fn run(
        &self,
        mut facts: BootFacts,
        effects: &mut Effects<'_>,
    ) -> Result<(BootPlan, PathBuf), String> {
        let generation = read::generation(self.layout, self.id)?;
        facts::generation(self.layout, &generation, &mut facts).map_err(|e| e.to_string())?;
        // What was taken for this start is taken once, however often the plan is made anew.
        let mut claimed: Option<Vec<String>> = None;
        loop {
            let mut plan = plan_boot(self.request, &generation, &facts, self.paths)
                .map_err(|refusal| refusal.to_string())?;
            let whole = plan.whole();
            check_boot(&whole, self.paths).map_err(|fault| fault.to_string())?;
            if facts.trust.verify == Verify::Require {
                check_covered(&whole).map_err(|fault| fault.to_string())?;
            }
            if self.request.show_plan {
                whole.ops.iter().for_each(|op| warn!("plan: {op}"));
                plan.presets.iter().for_each(|presets| warn!("plan: {presets}"));
            }
            let unclaimed =
                claimed.get_or_insert_with(|| write_records(&plan.claims, effects.host));
            drivers(&plan.plan).into_iter().for_each(&mut effects.load_driver);
            let Err(failure) = execute(&plan.plan, effects.host) else {
                return match (effects.find_init)(&self.paths.sysroot) {
                    Ok(init) => {
                        plan.problems.append(unclaimed);
                        plan.problems.extend(self.foreign(&plan, &generation));
                        Ok((plan, init))
                    }
                    Err(why) => {
                        unmount(&plan.plan, plan.plan.ops.len(), effects.host);
                        if plan.index.is_some() {
                            forgo_index(&plan, &why, &mut facts);
                            continue;
                        }
                        Err(why)
                    }
                };
            };
            unmount(&plan.plan, failure.done, effects.host);
            if in_line(&plan.plan, failure.done) {
                facts::in_line(self.layout, &generation, &mut facts);
            }
            self.learn(&plan, &generation, failure, &mut facts)?;
        }
    }

    /// What lies in the /etc upper that no use of the system puts there. The mount honours none of it, but somebody had
    /// the disk in his hands.
    fn foreign(&self, plan: &BootPlan, generation: &Generation) -> Vec<String> {
        let used = |mount: &WritableMount| mount.dir == Dir::Etc && mount.mode != Mode::Ephemeral;
        if !plan.writable.iter().any(used) {
            return Vec::new();
        }
        let scope = generation.writable.etc.scope;
        let upper = self.layout.upper(Dir::Etc, self.id, scope).join("upper");
        match derive::foreign(&upper, FOREIGN_MAX, generation.writable.etc.audit) {
            Ok(notes) => notes.iter().map(|note| format!("{}: {}", note.path, note.what)).collect(),
            Err(error) => vec![format!("/etc: {error}")],
        }
    }

    /// Turns a failed operation into a fact for the next plan, or into the reason why this candidate does not boot.
    fn learn(
        &self,
        plan: &BootPlan,
        generation: &Generation,
        failure: Failure,
        facts: &mut BootFacts,
    ) -> Result<(), String> {
        let why = failure.source.to_string();
        let op = plan.plan.ops.get(failure.done).ok_or(why.clone())?;
        if let Op::MountImage { image, .. } = op {
            return self.learn_image(generation, image, &why, facts);
        }
        if plan.index.is_some()
            && matches!(op, Op::MountOverlay(overlay) if !overlay.data.is_empty())
        {
            forgo_index(plan, &why, facts);
            return Ok(());
        }
        let full = is_unwritable(&failure.source);
        match op {
            Op::MakeBound { dir, path, .. }
                if !(facts.unbindable.contains_key(path) || full && self.is_state(dir)) =>
            {
                facts.unbindable.insert(path.clone(), why);
            }
            Op::MountOverlay(Overlay { at, .. }) if at.starts_with(self.paths.view("")) => {
                facts.underivable = Some(why);
            }
            Op::DeriveUpper(derive)
                if !(full && self.is_state(&derive.to)) && facts.underivable.is_none() =>
            {
                facts.underivable =
                    Some(format!("it cannot be brought in line with the images: {why}"));
            }
            op if self.writes_state(op) && facts.read_only.is_none() => {
                facts.read_only = Some(format!("the state file system cannot be written: {why}"));
            }
            op => match self.reads_upper(op) {
                Some(dir) if !facts.unusable.contains_key(&dir) => {
                    facts.unusable.insert(dir, why);
                }
                _ => return Err(why),
            },
        }
        Ok(())
    }

    /// An image that does not mount: a layer is left out, an image that an upper lay over before is not looked at.
    fn learn_image(
        &self,
        generation: &Generation,
        image: &Path,
        why: &str,
        facts: &mut BootFacts,
    ) -> Result<(), String> {
        let digest = facts.images.keys().find(|digest| self.layout.image(digest) == *image);
        // Without its base a generation does not boot.
        let digest = digest.copied().filter(|digest| generation.base.digest != *digest);
        let digest = digest.ok_or_else(|| why.to_owned())?;
        // Bytes that are not the signed ones are no accident to go on from.
        if facts.covers.contains_key(&digest) {
            facts.untrusted.insert(digest);
        }
        facts.images.insert(digest, Err(format!("cannot be mounted: {why}")));
        Ok(())
    }

    fn is_state(&self, path: &Path) -> bool {
        path.starts_with(self.layout.top())
    }

    /// Whether an operation needs a state file system with room and without errors.
    fn writes_state(&self, op: &Op) -> bool {
        let path = match op {
            Op::MakeUpper { upper, .. } => &upper.upper,
            Op::DeriveUpper(derive) => &derive.to,
            Op::WipeUpper { dir, .. } | Op::DropOwned { dir, .. } | Op::MakeBound { dir, .. } => {
                dir
            }
            Op::HideStamp { upper, .. } | Op::ForgetLowers { upper, .. } => upper,
            Op::Remove { path } => path,
            Op::MountOverlay(Overlay { upper: Some(upper), .. }) => &upper.upper,
            _ => return false,
        };
        self.is_state(path)
    }

    /// The directory whose upper on the state file system an operation only reads.
    fn reads_upper(&self, op: &Op) -> Option<Dir> {
        let from = match op {
            Op::CopyKept { from, .. } => from,
            Op::MountOverlay(overlay) => overlay.lowers.first()?,
            _ => return None,
        };
        let below = from.strip_prefix(self.layout.uppers()).ok()?;
        Dir::ALL.into_iter().find(|dir| below.starts_with(dir.name()))
    }
}

/// Has the next plan do without the index, which shows no more than the images.
fn forgo_index(plan: &BootPlan, why: &str, facts: &mut BootFacts) {
    if let Some(digest) = plan.index {
        facts.images.insert(digest, Err(format!("cannot be used: {why}")));
    }
}

/// Whether an operation failed for want of room or because nothing can be written at all.
fn is_unwritable(error: &HostError) -> bool {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let kinds = [PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull];
    matches!(error, HostError::Io { source, .. } if kinds.contains(&source.kind()))
}

#[cfg(test)]
mod tests {
    use layers::id::Digest;
    use layers::manifest::Verity;
    use layers::plan::Cover;
    use layers::superblock::Format;
    use layers::trust::OnCorruption;

    use super::*;

    #[test]
    fn a_cover_asks_for_dm_verity_once() {
        let digest = Digest::new([1; 32]);
        let verity = Verity { root: digest, salt: String::new(), data_blocks: 1, fsverity: digest };
        let cover = Cover { verity, tree: "/x.verity".into(), corruption: OnCorruption::Eio };
        let mount = |format, cover: Option<&Cover>| Op::MountImage {
            image: "/x.img".into(),
            format,
            cover: cover.cloned(),
            at: "/x".into(),
        };
        let (squashfs, erofs) = (Format::Squashfs, Format::Erofs);
        let ops =
            vec![mount(squashfs, None), mount(erofs, Some(&cover)), mount(squashfs, Some(&cover))];
        assert_eq!(drivers(&Plan { ops }), ["squashfs", "erofs", VERITY]);
        assert_eq!(drivers(&Plan { ops: vec![mount(erofs, None)] }), ["erofs"]);
    }
}
