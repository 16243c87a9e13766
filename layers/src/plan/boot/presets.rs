//! Which images bring units that systemd does not know yet: those are enabled or not as its presets have it.

use std::fmt;
use std::path::PathBuf;

use super::writable::Writable;
use crate::generation::Generation;
use crate::layout::Layout;
use crate::lowers::{LowerImage, LowerImages};
use crate::plan::Op;
use crate::policy::{Dir, Mode};
use crate::report::WritableMount;

/// Where an image has units, below its root (systemd.unit(5); /lib is a link to it or an older place for it).
const UNITS: [&str; 2] = ["usr/lib/systemd/system", "lib/systemd/system"];

/// New units: those in one of the directories `new` and in none of `old`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presets {
    /// Directories of units that came with new images.
    pub new: Vec<PathBuf>,
    /// Directories of units that were there before.
    pub old: Vec<PathBuf>,
    /// What to write down when it is done.
    pub record: Option<Op>,
    /// What to unmount then.
    pub unmount: Vec<PathBuf>,
}

impl fmt::Display for Presets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("preset")?;
        self.new.iter().try_for_each(|dir| write!(f, " new={}", dir.display()))?;
        self.old.iter().try_for_each(|dir| write!(f, " old={}", dir.display()))?;
        self.record.iter().try_for_each(|record| write!(f, " then {record}"))?;
        self.unmount.iter().try_for_each(|at| write!(f, " unmount {}", at.display()))
    }
}

/// Decides whose units are new. An /etc in which nothing was preset yet is the base's own, which its builder has preset.
pub(super) fn plan(plan: &mut Writable<'_>, writable: &[WritableMount]) -> Option<Presets> {
    let etc = writable.iter().find(|mount| mount.dir == Dir::Etc)?;
    let upper = match etc.mode {
        Mode::Ephemeral => None,
        _ => plan.facts.etc.as_ref().or(plan.facts.etc_source.as_ref().map(|from| &from.upper)),
    };
    // What a wipe empties was preset, and is the images' own again.
    let before = upper.filter(|_| !etc.wiped).and_then(|upper| upper.presets.as_ref());
    let images = plan.stack.with_units();
    let is_done = |before: &LowerImages| images.0.iter().all(|one| before.contains(&one.digest));
    let home = plan.layout.upper(Dir::Etc, plan.generation.id, plan.generation.writable.etc.scope);
    let record = (etc.mode == Mode::Persistent && !before.is_some_and(is_done)).then(|| {
        let done = with_absent(&images, before, plan.generation);
        Op::WriteFile { path: Layout::presets(&home), text: done.to_string() }
    });
    let base = LowerImages(images.0.last().cloned().into_iter().collect());
    let before = before.unwrap_or(&base);
    // The base's own units are its builder's to preset, in the image.
    let is_new = |image: &&LowerImage| {
        image.digest != plan.generation.base.digest && !before.contains(&image.digest)
    };
    let added = LowerImages(images.0.iter().filter(is_new).cloned().collect());
    let mut presets = Presets { new: Vec::new(), old: Vec::new(), record, unmount: Vec::new() };
    match (directories(plan, &added), directories(plan, before)) {
        (Some(new), _) if new.is_empty() => {}
        (Some(new), Some(old)) => {
            for dir in ["usr", "lib"] {
                plan.stack.mount_old(&mut plan.ops, before, dir);
            }
            (presets.new, presets.old) = (new, old);
        }
        _ => plan.problems.push(
            "new units are not preset: the images that were there before cannot be read".to_owned(),
        ),
    }
    presets.unmount = old_mounts(plan);
    let idle = presets.new.is_empty() && presets.record.is_none() && presets.unmount.is_empty();
    (!idle).then_some(presets)
}

/// The images of this boot, and those of the generation that it leaves out and whose units were preset before: in a later
/// boot they are not new again, and what the administrator has disabled since stays so.
fn with_absent(
    images: &LowerImages,
    before: Option<&LowerImages>,
    generation: &Generation,
) -> LowerImages {
    let absent = before.into_iter().flat_map(|before| &before.0).filter(|one| {
        !images.contains(&one.digest) && generation.digests().any(|digest| digest == one.digest)
    });
    LowerImages(images.0.iter().chain(absent).cloned().collect())
}

/// Directories of units in images; `None` where one of these cannot be mounted.
fn directories(plan: &Writable<'_>, images: &LowerImages) -> Option<Vec<PathBuf>> {
    let mut all = Vec::new();
    for units in UNITS {
        let (top, rest) = units.split_once('/').unwrap_or((units, ""));
        let found = plan.stack.mounted(images, top)?;
        all.extend(found.into_iter().map(|directory| directory.join(rest)));
    }
    Some(all)
}

/// Images that are mounted only to be compared with.
fn old_mounts(plan: &Writable<'_>) -> Vec<PathBuf> {
    let old = plan.stack.paths.run.join("old");
    let points = plan.ops.iter().filter_map(Op::mount_point);
    points.filter(|at| at.starts_with(&old)).map(PathBuf::from).collect()
}
