//! Lints a plan before it is carried out: what no plan may do, whatever it was made for.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Access, CopyToBoot, Op, Overlay, Plan};
use crate::etc::Derive;
use crate::id::Digest;
use crate::kernel::{KernelFile, Part};
use crate::layout::{BootDir, BootPaths, Layout, ONE_SHOT};

/// The longest value of one mount option (`fsconfig(2)`: a string has at most 256 bytes with its end).
pub const VALUE_MAX: usize = 255;
/// The most lower directories (`OVL_MAX_STACK`, Linux 6.12).
pub const LOWERS_MAX: usize = 500;

/// A rule that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the plan is faulty at operation {at}: {what} ({op})")]
pub struct Fault {
    /// The operation's place, from 1 on.
    pub at: usize,
    /// The operation.
    pub op: String,
    /// The rule.
    pub what: String,
}

/// Checks a boot's plan.
pub fn check_boot(plan: &Plan, paths: &BootPaths) -> Result<(), Fault> {
    let mut mounted: BTreeSet<&Path> = BTreeSet::new();
    let state = paths.state();
    let layout = Layout::new(&state);
    let mut uppers: BTreeSet<&Path> = BTreeSet::new();
    let mut made: BTreeSet<PathBuf> = BTreeSet::new();
    each(plan, |op| {
        if let Op::MountOverlay(overlay) = op {
            check_overlay(overlay)?;
            let lowers = overlay.lowers.iter().chain(&overlay.data);
            let sources = lowers.chain(overlay.upper.iter().map(|u| &u.upper));
            for source in sources {
                reachable(source, &mounted, &state)?;
            }
        }
        match op {
            Op::MountImage { image, .. } if image.parent() != Some(&layout.store()) => {
                return Err("its image is not in the store".to_owned());
            }
            Op::Bind { from, .. } => reachable(from, &mounted, &state)?,
            Op::MakeUpper { upper, .. } => {
                reachable(&upper.upper, &mounted, &layout.uppers())?;
                made.insert(upper.upper.clone());
            }
            Op::DeriveUpper(Derive { to: dir, .. })
            | Op::CopyKept { to: dir, .. }
            | Op::WipeUpper { dir, .. }
            | Op::DropOwned { dir, .. }
            | Op::HideStamp { upper: dir, .. }
            | Op::MakeMachineId { upper: dir, .. }
            | Op::MakeBound { dir, .. }
            | Op::ForgetLowers { upper: dir, .. } => {
                reachable(dir, &mounted, &layout.uppers())?;
            }
            Op::WriteFile { path, .. } if !is_boot_record(path, &layout) => {
                return Err("a boot writes only what ran and over what".to_owned());
            }
            Op::Overwrite { path, .. } if path.parent() != Some(&layout.tries()) => {
                return Err("a boot overwrites nothing but the attempts that are left".to_owned());
            }
            Op::Remove { path } if ![layout.reset(), layout.next()].contains(path) => {
                return Err("a boot takes away only what was asked of it once".to_owned());
            }
            Op::Unmount { at } if !mounted.remove(at.as_path()) => {
                return Err("nothing is mounted there".to_owned());
            }
            Op::StageImage { .. }
            | Op::StageCover { .. }
            | Op::PublishGeneration { .. }
            | Op::AppendLine { .. } => {
                return Err("a boot changes no image and no generation".to_owned());
            }
            Op::SetOneShot { .. } => return Err("a boot sets no variable".to_owned()),
            _ if on_boot_partition(op).is_some() => {
                return Err("a boot changes no boot partition".to_owned());
            }
            _ => {}
        }
        if let Op::MakeBound { dir, path, .. } = op {
            made.insert(Layout::bound(dir).join(path));
        }
        if let Some(upper) = written(op) {
            if !made.contains(upper) {
                return Err("its upper was not made before".to_owned());
            }
            if !uppers.insert(upper) {
                return Err("two mounts write to one upper".to_owned());
            }
        }
        if let Some(at) = op.mount_point() {
            let below_root = at.starts_with(&paths.sysroot) && at != paths.sysroot;
            if below_root && !mounted.contains(paths.sysroot.as_path()) {
                return Err("it mounts below a root that is not there yet".to_owned());
            }
            if !mounted.insert(at) {
                return Err("something is mounted there already".to_owned());
            }
        }
        Ok(())
    })?;
    if mounted.contains(paths.sysroot.as_path()) {
        return Ok(());
    }
    Err(Fault { at: plan.ops.len(), op: "end".to_owned(), what: "no root is mounted".to_owned() })
}

/// Checks that a boot's plan mounts no image whose bytes nobody signed.
pub fn check_covered(plan: &Plan) -> Result<(), Fault> {
    each(plan, |op| match op {
        Op::MountImage { cover: None, .. } => Err("nobody signed the image".to_owned()),
        _ => Ok(()),
    })
}

/// Whether a boot may write a file: what ran, and beside an upper what it lies over.
fn is_boot_record(path: &Path, layout: &Layout) -> bool {
    let beside = path.parent().unwrap_or(path);
    let upper = beside.starts_with(layout.uppers()) && beside != layout.uppers();
    *path == layout.ran()
        || upper && [Layout::lowers(beside), Layout::presets(beside)].iter().any(|own| own == path)
}

/// The upper that a mount writes to.
fn written(op: &Op) -> Option<&Path> {
    match op {
        Op::MountOverlay(overlay) => overlay.upper.as_ref().map(|upper| upper.upper.as_path()),
        Op::Bind { from, access, .. } if *access != Access::ReadOnly => Some(from),
        _ => None,
    }
}

fn check_overlay(overlay: &Overlay) -> Result<(), String> {
    let lowers = || overlay.lowers.iter().chain(&overlay.data);
    let mut values =
        lowers().chain(overlay.upper.iter().flat_map(|upper| [&upper.upper, &upper.work]));
    if let Some(long) = values.find(|path| path.as_os_str().len() > VALUE_MAX) {
        return Err(format!("{} has more than {VALUE_MAX} bytes", long.display()));
    }
    let count = lowers().count();
    if count > LOWERS_MAX {
        return Err(format!("{count} lowers, at most {LOWERS_MAX} fit"));
    }
    let mut seen: BTreeSet<&Path> = BTreeSet::new();
    if !lowers().all(|lower| seen.insert(lower)) {
        return Err("one lower is named twice".to_owned());
    }
    let least = if overlay.upper.is_some() { 1 } else { 2 };
    if overlay.lowers.is_empty() || count < least {
        return Err(format!("{count} lowers, at least {least} are needed"));
    }
    match &overlay.upper {
        // An upper outlives a change of the images below it, and what it has by reference would then be of others.
        Some(_) if !overlay.data.is_empty() => Err("data without names under an upper".to_owned()),
        Some(upper) if upper.upper.parent() != upper.work.parent() => {
            Err("upper and work directory lie apart".to_owned())
        }
        _ => Ok(()),
    }
}

fn reachable(path: &Path, mounted: &BTreeSet<&Path>, state: &Path) -> Result<(), String> {
    // Not each mount in turn: with hundreds of layers, each a lower of several overlays, that is most of a plan's time.
    if path.starts_with(state) || path.ancestors().any(|at| mounted.contains(at)) {
        return Ok(());
    }
    Err(format!("{} is on nothing that is mounted", path.display()))
}

/// Checks a change's plan: what it points to is there before the pointer, and nothing of the store is overwritten.
pub fn check_change(plan: &Plan, layout: &Layout) -> Result<(), Fault> {
    let mut pointed = false;
    let mut boot = None;
    each(plan, |op| {
        if let Some(there) = on_boot_partition(op) {
            if *boot.get_or_insert(there) != there || there.top().starts_with(layout.top()) {
                return Err("it touches what is not on the boot partition".to_owned());
            }
            return check_boot_partition(op, pointed, layout);
        }
        if let Op::SetOneShot { variable, .. } = op {
            return match variable.ends_with(ONE_SHOT) && !pointed {
                true => Ok(()),
                false => Err("it sets another variable, or after the pointer".to_owned()),
            };
        }
        let path = match op {
            Op::StageImage { to, .. } => to,
            Op::StageCover { tree, .. } => tree,
            Op::PublishGeneration { dir, .. } => dir,
            Op::WriteFile { path, .. } | Op::AppendLine { path, .. } | Op::Remove { path } => path,
            _ => return Err("a change mounts nothing".to_owned()),
        };
        if !path.starts_with(layout.top()) || path == layout.top() {
            return Err("it touches what is not in the store".to_owned());
        }
        let log = matches!(op, Op::AppendLine { path, .. } if *path == layout.log());
        if pointed && !log {
            return Err("it comes after the pointer that makes the change visible".to_owned());
        }
        let pointer = [layout.default(), layout.next(), layout.good()].contains(path);
        let inside = path.parent().unwrap_or(path);
        match op {
            Op::StageImage { to, digest, .. } if !is_named_by_digest(to, *digest, layout) => {
                return Err("the image's name is not its digest".to_owned());
            }
            Op::StageCover { image, tree, .. } if image.with_extension("verity") != *tree => {
                return Err("the hash tree's name is not its image's".to_owned());
            }
            Op::PublishGeneration { .. } if inside != layout.generations() => {
                return Err("it publishes no generation".to_owned());
            }
            Op::WriteFile { .. } if !is_record(path, inside, layout) => {
                return Err("it overwrites what is written once".to_owned());
            }
            Op::Remove { .. } if layout.directories().contains(path) => {
                return Err("it removes a part of every store".to_owned());
            }
            Op::Remove { .. } if pointer && *path != layout.next() => {
                return Err("it removes a pointer".to_owned());
            }
            Op::AppendLine { .. } if !log => return Err("only the log grows".to_owned()),
            Op::WriteFile { .. } if pointer => pointed = true,
            _ => {}
        }
        Ok(())
    })
}

/// The boot partition that an operation changes.
fn on_boot_partition(op: &Op) -> Option<&BootDir> {
    match op {
        Op::CopyToBoot(CopyToBoot { boot, .. })
        | Op::WriteEntry { boot, .. }
        | Op::RemoveFromBoot { boot, .. } => Some(boot),
        _ => None,
    }
}

/// Names on the boot partition are ours by their types. What is written is there before the pointer; what only the old
/// state needed goes after it.
fn check_boot_partition(op: &Op, pointed: bool, layout: &Layout) -> Result<(), String> {
    match op {
        Op::RemoveFromBoot { .. } => Ok(()),
        _ if pointed => Err("it comes after the pointer that makes the change visible".to_owned()),
        Op::CopyToBoot(copy) if copy.from != layout.kernel_file(&copy.file) => {
            Err("it copies what is not the store's".to_owned())
        }
        Op::WriteEntry { name, text, .. } if !name.fits(text) => {
            Err("the entry's name is not its text's".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether an image, a kernel or an initrd enters the store under the name of its digest.
fn is_named_by_digest(to: &Path, digest: Digest, layout: &Layout) -> bool {
    let file = |part| layout.kernel_file(&KernelFile { part, digest });
    let package = layout.package_file(&digest);
    let names = [layout.image(&digest), package, file(Part::Linux), file(Part::Initrd)];
    names.iter().any(|name| name == to)
}

/// Whether a file may be written anew: a manifest, its signatures, the trust file, the serial, a pointer, a request to the next boot, a pin, the report
/// of how a generation's /etc came about.
fn is_record(path: &Path, inside: &Path, layout: &Layout) -> bool {
    let ending = |end: &OsStr| end == "toml" || end == "minisig";
    let manifest = inside == layout.store() && path.extension().is_some_and(ending);
    let id = inside.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    let report = id.is_some_and(|id| *path == layout.etc_report(id));
    manifest
        || report
        || *path == layout.serial()
        || *path == layout.trust()
        || inside == layout.boot()
        || inside == layout.pins()
        || inside == layout.tries()
}

fn each<'a>(
    plan: &'a Plan,
    mut rule: impl FnMut(&'a Op) -> Result<(), String>,
) -> Result<(), Fault> {
    plan.ops.iter().enumerate().try_for_each(|(index, op)| {
        rule(op).map_err(|what| Fault { at: index + 1, op: op.to_string(), what })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_writes_records_and_nothing_else_of_a_generation() {
        let layout = Layout::new(Path::new("/state"));
        let write = |path: &str| {
            let path = layout.top().join(path);
            check_change(&Plan { ops: vec![Op::WriteFile { path, text: String::new() }] }, &layout)
        };
        for record in
            ["generations/7/etc.json", "generations/serial", "boot/reset", "boot/pinned/7"]
        {
            assert_eq!(write(record), Ok(()), "{record}");
        }
        for other in [
            "generations/7/generation.toml",
            "generations/x/etc.json",
            "generations/7/x/etc.json",
            "generations/etc.json",
            "upper/etc/7/etc.json",
            "log",
        ] {
            assert!(write(other).is_err(), "{other}");
        }
    }
}
