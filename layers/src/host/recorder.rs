//! A host that records what it is told and can stop before operation N: what a crash between two operations leaves.

use std::path::Path;

use crate::exec::{Host, HostError};
use crate::id::Digest;
use crate::plan::{Op, Overlay, Upper};
use crate::superblock::Format;

/// Records each operation; passes it on to another host if it was given one.
#[derive(Default)]
pub struct Recorder<'a> {
    /// What was carried out, in order.
    pub ops: Vec<Op>,
    /// Mount points that were taken back, in order.
    pub unmounted: Vec<std::path::PathBuf>,
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
    fn mount_image(&mut self, image: &Path, format: Format, at: &Path) -> Result<(), HostError> {
        let op = Op::MountImage { image: image.into(), format, at: at.into() };
        self.record(op, |host| host.mount_image(image, format, at))
    }

    fn mount_overlay(&mut self, overlay: &Overlay) -> Result<(), HostError> {
        self.record(Op::MountOverlay(overlay.clone()), |host| host.mount_overlay(overlay))
    }

    fn mount_tmpfs(&mut self, at: &Path) -> Result<(), HostError> {
        self.record(Op::MountTmpfs { at: at.into() }, |host| host.mount_tmpfs(at))
    }

    fn bind(&mut self, from: &Path, at: &Path, writable: bool) -> Result<(), HostError> {
        let op = Op::Bind { from: from.into(), at: at.into(), writable };
        self.record(op, |host| host.bind(from, at, writable))
    }

    fn make_upper(&mut self, upper: &Upper, like: Option<&Path>) -> Result<(), HostError> {
        let op = Op::MakeUpper { upper: upper.clone(), like: like.map(Into::into) };
        self.record(op, |host| host.make_upper(upper, like))
    }

    fn clone_upper(&mut self, from: &Path, to: &Path) -> Result<(), HostError> {
        let op = Op::CloneUpper { from: from.into(), to: to.into() };
        self.record(op, |host| host.clone_upper(from, to))
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

    fn write_file(&mut self, path: &Path, text: &str) -> Result<(), HostError> {
        let op = Op::WriteFile { path: path.into(), text: text.into() };
        self.record(op, |host| host.write_file(path, text))
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

    fn unmount(&mut self, at: &Path) -> Result<(), HostError> {
        self.unmounted.push(at.into());
        match self.inner.as_deref_mut() {
            Some(inner) => inner.unmount(at),
            None => Ok(()),
        }
    }
}
