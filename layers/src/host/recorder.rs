//! A host that records what it is told and can stop before operation N: what a crash between two operations leaves.

use std::path::{Path, PathBuf};

use crate::entry::EntryName;
use crate::etc::Derive;
use crate::exec::{Host, HostError};
use crate::id::Digest;
use crate::layout::BootDir;
use crate::machine_id::MachineId;
use crate::manifest::Verity;
use crate::plan::{Access, BootName, CopyToBoot, Cover, Op, Overlay, Upper};
use crate::size::Size;
use crate::superblock::Format;

/// Records each operation; passes it on to another host if it was given one.
#[derive(Default)]
pub struct Recorder<'a> {
    /// What was carried out, in order.
    pub ops: Vec<Op>,
    /// Mount points that were taken back, in order.
    pub unmounted: Vec<PathBuf>,
    inner: Option<&'a mut dyn Host>,
    stop_before: Option<usize>,
    refused: Option<String>,
}

impl<'a> Recorder<'a> {
    /// Records and does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records and lets `inner` do it.
    pub fn over(inner: &'a mut dyn Host) -> Self {
        Self { inner: Some(inner), ..Self::default() }
    }

    /// Fails before operation `number`, counted from 0.
    pub fn stop_before(mut self, number: usize) -> Self {
        self.stop_before = Some(number);
        self
    }

    /// Fails every operation whose line contains `text`: a disk that is full, an image that does not mount.
    pub fn refuse(mut self, text: &str) -> Self {
        self.refused = Some(text.to_owned());
        self
    }

    fn record(
        &mut self,
        op: Op,
        apply: impl FnOnce(&mut dyn Host) -> Result<(), HostError>,
    ) -> Result<(), HostError> {
        if self.stop_before == Some(self.ops.len()) {
            return Err(HostError::Stopped(self.ops.len()));
        }
        if self.refused.as_ref().is_some_and(|text| op.to_string().contains(text)) {
            return Err(HostError::Stopped(self.ops.len()));
        }
        if let Some(inner) = self.inner.as_deref_mut() {
            apply(inner)?;
        }
        self.ops.push(op);
        Ok(())
    }
}

impl Host for Recorder<'_> {
    fn mount_image(
        &mut self,
        image: &Path,
        format: Format,
        cover: Option<&Cover>,
        at: &Path,
    ) -> Result<(), HostError> {
        let op =
            Op::MountImage { image: image.into(), format, cover: cover.cloned(), at: at.into() };
        self.record(op, |host| host.mount_image(image, format, cover, at))
    }

    fn mount_overlay(&mut self, overlay: &Overlay) -> Result<(), HostError> {
        self.record(Op::MountOverlay(overlay.clone()), |host| host.mount_overlay(overlay))
    }

    fn mount_tmpfs(&mut self, at: &Path, size: Size) -> Result<(), HostError> {
        self.record(Op::MountTmpfs { at: at.into(), size }, |host| host.mount_tmpfs(at, size))
    }

    fn bind(&mut self, from: &Path, at: &Path, access: Access) -> Result<(), HostError> {
        let op = Op::Bind { from: from.into(), at: at.into(), access };
        self.record(op, |host| host.bind(from, at, access))
    }

    fn make_upper(&mut self, upper: &Upper, like: Option<&Path>) -> Result<(), HostError> {
        let op = Op::MakeUpper { upper: upper.clone(), like: like.map(Into::into) };
        self.record(op, |host| host.make_upper(upper, like))
    }

    fn derive_upper(&mut self, derive: &Derive) -> Result<(), HostError> {
        self.record(Op::DeriveUpper(derive.clone()), |host| host.derive_upper(derive))
    }

    fn copy_kept(&mut self, from: &Path, to: &Path, keep: &[String]) -> Result<(), HostError> {
        let op = Op::CopyKept { from: from.into(), to: to.into(), keep: keep.into() };
        self.record(op, |host| host.copy_kept(from, to, keep))
    }

    fn drop_owned(&mut self, dir: &Path, paths: &[String]) -> Result<(), HostError> {
        let op = Op::DropOwned { dir: dir.into(), paths: paths.into() };
        self.record(op, |host| host.drop_owned(dir, paths))
    }

    fn hide_stamp(&mut self, upper: &Path, lowers: &[PathBuf]) -> Result<(), HostError> {
        let op = Op::HideStamp { upper: upper.into(), lowers: lowers.into() };
        self.record(op, |host| host.hide_stamp(upper, lowers))
    }

    fn make_machine_id(
        &mut self,
        upper: &Path,
        lowers: &[PathBuf],
        id: MachineId,
    ) -> Result<(), HostError> {
        let op = Op::MakeMachineId { upper: upper.into(), lowers: lowers.into(), id };
        self.record(op, |host| host.make_machine_id(upper, lowers, id))
    }

    fn make_bound(
        &mut self,
        dir: &Path,
        path: &str,
        mode: u32,
        lowers: &[PathBuf],
    ) -> Result<(), HostError> {
        let (at, below) = (dir.into(), lowers.into());
        let op = Op::MakeBound { dir: at, path: path.into(), mode, lowers: below };
        self.record(op, |host| host.make_bound(dir, path, mode, lowers))
    }

    fn forget_lowers(&mut self, upper: &Path, lowers: &[PathBuf]) -> Result<(), HostError> {
        let op = Op::ForgetLowers { upper: upper.into(), lowers: lowers.into() };
        self.record(op, |host| host.forget_lowers(upper, lowers))
    }

    fn wipe_upper(&mut self, dir: &Path, keep: &[String]) -> Result<(), HostError> {
        let op = Op::WipeUpper { dir: dir.into(), keep: keep.into() };
        self.record(op, |host| host.wipe_upper(dir, keep))
    }

    fn stage_image(
        &mut self,
        from: &Path,
        to: &Path,
        digest: &Digest,
        size: u64,
    ) -> Result<(), HostError> {
        let op = Op::StageImage { from: from.into(), to: to.into(), digest: *digest, size };
        self.record(op, |host| host.stage_image(from, to, digest, size))
    }

    fn stage_cover(&mut self, image: &Path, tree: &Path, verity: &Verity) -> Result<(), HostError> {
        let op = Op::StageCover { image: image.into(), tree: tree.into(), verity: verity.clone() };
        self.record(op, |host| host.stage_cover(image, tree, verity))
    }

    fn write_file(&mut self, path: &Path, text: &str) -> Result<(), HostError> {
        let op = Op::WriteFile { path: path.into(), text: text.into() };
        self.record(op, |host| host.write_file(path, text))
    }

    fn overwrite(&mut self, path: &Path, text: &str) -> Result<(), HostError> {
        let op = Op::Overwrite { path: path.into(), text: text.into() };
        self.record(op, |host| host.overwrite(path, text))
    }

    fn publish_generation(&mut self, dir: &Path, text: &str) -> Result<(), HostError> {
        let op = Op::PublishGeneration { dir: dir.into(), text: text.into() };
        self.record(op, |host| host.publish_generation(dir, text))
    }

    fn append_line(&mut self, path: &Path, line: &str) -> Result<(), HostError> {
        let op = Op::AppendLine { path: path.into(), line: line.into() };
        self.record(op, |host| host.append_line(path, line))
    }

    fn remove(&mut self, path: &Path) -> Result<(), HostError> {
        self.record(Op::Remove { path: path.into() }, |host| host.remove(path))
    }

    fn copy_to_boot(&mut self, copy: &CopyToBoot) -> Result<(), HostError> {
        self.record(Op::CopyToBoot(copy.clone()), |host| host.copy_to_boot(copy))
    }

    fn write_entry(
        &mut self,
        boot: &BootDir,
        name: EntryName,
        text: &str,
    ) -> Result<(), HostError> {
        let op = Op::WriteEntry { boot: boot.clone(), name, text: text.into() };
        self.record(op, |host| host.write_entry(boot, name, text))
    }

    fn set_one_shot(&mut self, variable: &Path, entry: Option<EntryName>) -> Result<(), HostError> {
        let op = Op::SetOneShot { variable: variable.into(), entry };
        self.record(op, |host| host.set_one_shot(variable, entry))
    }

    fn remove_from_boot(&mut self, boot: &BootDir, name: BootName) -> Result<(), HostError> {
        let op = Op::RemoveFromBoot { boot: boot.clone(), name };
        self.record(op, |host| host.remove_from_boot(boot, name))
    }

    fn unmount(&mut self, at: &Path) -> Result<(), HostError> {
        self.unmounted.push(at.into());
        match self.inner.as_deref_mut() {
            Some(inner) => inner.unmount(at),
            None => Ok(()),
        }
    }
}
