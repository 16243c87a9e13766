//! Carries out plans. Decides nothing: one operation, one call of a [`Host`], in order, up to the first that fails.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::entry::EntryName;
use crate::etc::Derive;
use crate::id::Digest;
use crate::layout::BootDir;
use crate::machine_id::MachineId;
use crate::manifest::Verity;
use crate::plan::{Access, BootName, CopyToBoot, Cover, Op, Overlay, Plan, Upper};
use crate::size::Size;
use crate::superblock::Format;

/// Why an operation failed. Text from the kernel (`fsopen(2)` messages) stands in `detail`.
#[derive(Debug, Error)]
pub enum HostError {
    /// A system call failed.
    #[error("{doing} {}: {source}{detail}", .path.display())]
    Io {
        /// What was being done: `mount erofs at`.
        doing: String,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
        /// The kernel's words, with a leading separator; empty when it said nothing.
        detail: String,
    },
    /// The bytes are not those that were named.
    #[error("{} has other bytes than its manifest says: digest {is}, not {want}", .path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// What its bytes hash to.
        is: Digest,
        /// What was expected.
        want: Digest,
    },
    /// What was written to a boot partition reads as something else.
    #[error("{} reads otherwise than it was written: digest {is}, not {want}", .path.display())]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// What its bytes hash to.
        is: Digest,
        /// What was written.
        want: Digest,
    },
    /// Stopped on purpose, by a recorder.
    #[error("stopped before operation {0}")]
    Stopped(usize),
}

impl HostError {
    /// An I/O error with what was being done and to what.
    pub fn io(doing: &str, path: &Path, source: impl Into<io::Error>) -> Self {
        let (doing, path) = (doing.to_owned(), path.to_owned());
        Self::Io { doing, path, source: source.into(), detail: String::new() }
    }
}

/// The machine, or something that stands for it: one method for each kind of [`Op`].
pub trait Host {
    /// Carries out [`Op::MountImage`].
    fn mount_image(
        &mut self,
        image: &Path,
        format: Format,
        cover: Option<&Cover>,
        at: &Path,
    ) -> Result<(), HostError>;
    /// Carries out [`Op::MountOverlay`].
    fn mount_overlay(&mut self, overlay: &Overlay) -> Result<(), HostError>;
    /// Carries out [`Op::MountTmpfs`].
    fn mount_tmpfs(&mut self, at: &Path, size: Size) -> Result<(), HostError>;
    /// Carries out [`Op::Bind`].
    fn bind(&mut self, from: &Path, at: &Path, access: Access) -> Result<(), HostError>;
    /// Carries out [`Op::MakeUpper`].
    fn make_upper(&mut self, upper: &Upper, like: Option<&Path>) -> Result<(), HostError>;
    /// Carries out [`Op::DeriveUpper`].
    fn derive_upper(&mut self, derive: &Derive) -> Result<(), HostError>;
    /// Carries out [`Op::CopyKept`].
    fn copy_kept(&mut self, from: &Path, to: &Path, keep: &[String]) -> Result<(), HostError>;
    /// Carries out [`Op::WipeUpper`].
    fn wipe_upper(&mut self, dir: &Path, keep: &[String]) -> Result<(), HostError>;
    /// Carries out [`Op::DropOwned`].
    fn drop_owned(&mut self, dir: &Path, paths: &[String]) -> Result<(), HostError>;
    /// Carries out [`Op::HideStamp`].
    fn hide_stamp(&mut self, upper: &Path, lowers: &[PathBuf]) -> Result<(), HostError>;
    /// Carries out [`Op::MakeMachineId`].
    fn make_machine_id(
        &mut self,
        upper: &Path,
        lowers: &[PathBuf],
        id: MachineId,
    ) -> Result<(), HostError>;
    /// Carries out [`Op::MakeBound`].
    fn make_bound(
        &mut self,
        dir: &Path,
        path: &str,
        mode: u32,
        lowers: &[PathBuf],
    ) -> Result<(), HostError>;
    /// Carries out [`Op::ForgetLowers`].
    fn forget_lowers(&mut self, upper: &Path, lowers: &[PathBuf]) -> Result<(), HostError>;
    /// Carries out [`Op::StageImage`].
    fn stage_image(
        &mut self,
        from: &Path,
        to: &Path,
        digest: &Digest,
        size: u64,
    ) -> Result<(), HostError>;
    /// Carries out [`Op::StageCover`].
    fn stage_cover(&mut self, image: &Path, tree: &Path, verity: &Verity) -> Result<(), HostError>;
    /// Carries out [`Op::WriteFile`].
    fn write_file(&mut self, path: &Path, text: &str) -> Result<(), HostError>;
    /// Carries out [`Op::Overwrite`].
    fn overwrite(&mut self, path: &Path, text: &str) -> Result<(), HostError>;
    /// Carries out [`Op::PublishGeneration`].
    fn publish_generation(&mut self, dir: &Path, text: &str) -> Result<(), HostError>;
    /// Carries out [`Op::AppendLine`].
    fn append_line(&mut self, path: &Path, line: &str) -> Result<(), HostError>;
    /// Carries out [`Op::Remove`].
    fn remove(&mut self, path: &Path) -> Result<(), HostError>;
    /// Carries out [`Op::CopyToBoot`].
    fn copy_to_boot(&mut self, copy: &CopyToBoot) -> Result<(), HostError>;
    /// Carries out [`Op::WriteEntry`].
    fn write_entry(&mut self, boot: &BootDir, name: EntryName, text: &str)
    -> Result<(), HostError>;
    /// Carries out [`Op::SetOneShot`].
    fn set_one_shot(&mut self, variable: &Path, entry: Option<EntryName>) -> Result<(), HostError>;
    /// Carries out [`Op::RemoveFromBoot`].
    fn remove_from_boot(&mut self, boot: &BootDir, name: BootName) -> Result<(), HostError>;
    /// Carries out [`Op::Unmount`]; takes back a mount, for [`undo`].
    fn unmount(&mut self, at: &Path) -> Result<(), HostError>;
}

/// A plan that stopped half-way.
#[derive(Debug, Error)]
#[error("{source}")]
pub struct Failure {
    /// How many operations were done before.
    pub done: usize,
    /// Why the next one failed.
    #[source]
    pub source: HostError,
}

/// Carries out a plan, up to the first operation that fails.
pub fn execute(plan: &Plan, host: &mut dyn Host) -> Result<(), Failure> {
    plan.ops
        .iter()
        .enumerate()
        .try_for_each(|(done, op)| apply(op, host).map_err(|source| Failure { done, source }))
}

/// Takes back the mounts of the first `done` operations, last one first, and then the /etc uppers that they made out of
/// others: nothing was written to these yet, and a generation that does not boot now starts from the /etc that ran last
/// when it does. Gives what could not be taken back.
pub fn undo(plan: &Plan, done: usize, host: &mut dyn Host) -> Vec<HostError> {
    let done: Vec<&Op> = plan.ops.iter().take(done).collect();
    let gone: Vec<&Path> = done.iter().filter_map(|op| op.unmounts()).collect();
    let mounts = done.iter().rev().filter_map(|op| op.mount_point());
    let mut left: Vec<HostError> =
        mounts.filter(|at| !gone.contains(at)).filter_map(|at| host.unmount(at).err()).collect();
    let derived = done.iter().filter_map(|op| match op {
        Op::DeriveUpper(derive) if derive.to != derive.from => Some(&derive.to),
        _ => None,
    });
    left.extend(derived.filter_map(|upper| host.remove(upper).err()));
    left
}

/// Takes back what the first `done` operations told the boot loader, where the pointer was not moved any more: what
/// boots next stays what it was. Gives what could not be taken back.
pub fn retract_entries(plan: &Plan, done: usize, host: &mut dyn Host) -> Vec<HostError> {
    let back = |op: &Op| match op {
        Op::WriteEntry { boot, name, .. } => host.remove_from_boot(boot, BootName::Entry(*name)),
        Op::SetOneShot { variable, entry: Some(_) } => host.set_one_shot(variable, None),
        _ => Ok(()),
    };
    plan.ops.iter().take(done).rev().map(back).filter_map(Result::err).collect()
}

fn apply(op: &Op, host: &mut dyn Host) -> Result<(), HostError> {
    match op {
        Op::MountImage { image, format, cover, at } => {
            host.mount_image(image, *format, cover.as_ref(), at)
        }
        Op::MountOverlay(overlay) => host.mount_overlay(overlay),
        Op::MountTmpfs { at, size } => host.mount_tmpfs(at, *size),
        Op::Unmount { at } => host.unmount(at),
        Op::Bind { from, at, access } => host.bind(from, at, *access),
        Op::MakeUpper { upper, like } => host.make_upper(upper, like.as_deref()),
        Op::DeriveUpper(derive) => host.derive_upper(derive),
        Op::CopyKept { from, to, keep } => host.copy_kept(from, to, keep),
        Op::WipeUpper { dir, keep } => host.wipe_upper(dir, keep),
        Op::DropOwned { dir, paths } => host.drop_owned(dir, paths),
        Op::HideStamp { upper, lowers } => host.hide_stamp(upper, lowers),
        Op::MakeMachineId { upper, lowers, id } => host.make_machine_id(upper, lowers, *id),
        Op::MakeBound { dir, path, mode, lowers } => host.make_bound(dir, path, *mode, lowers),
        Op::ForgetLowers { upper, lowers } => host.forget_lowers(upper, lowers),
        Op::StageImage { from, to, digest, size } => host.stage_image(from, to, digest, *size),
        Op::StageCover { image, tree, verity } => host.stage_cover(image, tree, verity),
        Op::WriteFile { path, text } => host.write_file(path, text),
        Op::Overwrite { path, text } => host.overwrite(path, text),
        Op::PublishGeneration { dir, text } => host.publish_generation(dir, text),
        Op::AppendLine { path, line } => host.append_line(path, line),
        Op::Remove { path } => host.remove(path),
        Op::CopyToBoot(copy) => host.copy_to_boot(copy),
        Op::WriteEntry { boot, name, text } => host.write_entry(boot, *name, text),
        Op::SetOneShot { variable, entry } => host.set_one_shot(variable, *entry),
        Op::RemoveFromBoot { boot, name } => host.remove_from_boot(boot, *name),
    }
}
