//! One tree to be measured, mounted in a mount namespace of its own: a generation's stack as a boot mounts it, or a
//! single image.

use crate::bench::machines::Format;
use crate::files::{self, FileError};
use layers::cmdline::BootRequest;
use layers::exec::{Failure, Host, HostError, execute, undo};
use layers::host::LinuxHost;
use layers::layout::{BootPaths, Layout};
use layers::plan::boot::{Refusal, plan_boot};
use layers::plan::{Access, Op, Plan};
use layers::size::Size;
use layers::store::{StoreError, facts, read};
use layers::superblock;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use std::io;
use std::path::{Path, PathBuf};

/// A tree could not be mounted, or not be read as it should.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has no generation that boots.
    #[error("{store} has no generation to mount: {why}")]
    Nothing {
        /// The store's directory.
        store: PathBuf,
        /// Why not.
        why: String,
    },
    /// The generation is not one that boots.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A mount failed.
    #[error(transparent)]
    Mount(#[from] Failure),
    /// A mount beside the plan failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no mount namespace to be had.
    #[error("no mount namespace of its own\ntype: sudo -E cargo xtask bench")]
    Namespace(#[source] io::Error),
    /// Something in the mounted tree could not be read.
    #[error("cannot {action} {path}")]
    Read {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The merged tree is not the one that was divided.
    #[error("{stack} shows {seen} paths, and {made} were made")]
    Different {
        /// Which stack.
        stack: String,
        /// The number of paths in it.
        seen: usize,
        /// The number of paths that there should be.
        made: usize,
    },
    /// A measurement ended with a panic.
    #[error("the measuring thread ended early")]
    Thread,
}

/// What is mounted.
#[derive(Debug, Clone)]
pub(in crate::bench) enum Stack {
    /// One image.
    Image(PathBuf, Format),
    /// The generation that a store boots by default.
    Store {
        /// The store's directory.
        dir: PathBuf,
        /// Whether it is seen through its index; the plain stack otherwise.
        indexed: bool,
    },
}

impl Stack {
    /// Every image file of it.
    fn images(&self) -> Result<Vec<PathBuf>, FileError> {
        match self {
            Self::Image(image, _) => Ok(vec![image.clone()]),
            Self::Store { dir, .. } => files::list(&Layout::new(dir).store()),
        }
    }

    /// Reads all images once, so that they are in memory: what is measured then is not the disk.
    pub(in crate::bench) fn warm(&self) -> Result<(), FileError> {
        self.images()?.iter().try_for_each(|image| {
            let read = |mut file| io::copy(&mut file, &mut io::sink());
            read(files::open(image)?).map_err(|error| FileError::new("read", image, error))?;
            Ok(())
        })
    }

    /// The operations that a boot's plan does up to the merged root: images and overlay, no writable directory.
    fn plan(&self, paths: &BootPaths) -> Result<Plan, StackError> {
        let store = match self {
            Self::Image(image, format) => {
                let format = match format {
                    Format::Squashfs => superblock::Format::Squashfs,
                    Format::Erofs => superblock::Format::Erofs,
                };
                let (image, at) = (image.clone(), paths.sysroot.clone());
                return Ok(Plan { ops: vec![Op::MountImage { image, format, cover: None, at }] });
            }
            Self::Store { dir, indexed } => (dir, *indexed),
        };
        let (store, indexed) = store;
        let nothing = |why: String| StackError::Nothing { store: store.clone(), why };
        let layout = Layout::new(&paths.state());
        let mut facts = facts::store(&layout);
        let id = facts.pointers.default.ok_or_else(|| nothing("boot/default".to_owned()))?;
        let mut generation = read::generation(&layout, id).map_err(nothing)?;
        if !indexed {
            generation.indexes.clear();
        }
        facts::generation(&layout, &generation, &mut facts)?;
        let request = BootRequest::parse("layers.ephemeral");
        let boot = plan_boot(&request, &generation, &facts, paths)?;
        if boot.index.is_some() != indexed {
            return Err(nothing(boot.problems.join("; ")));
        }
        let mut plan = boot.plan;
        let root = plan.ops.iter().position(|op| op.mount_point() == Some(&paths.sysroot));
        plan.ops.truncate(root.map_or(0, |root| root + 1));
        Ok(plan)
    }

    /// Mounts it where nobody else sees it, lets `measure` look at its root, and unmounts it. Gives what that gave, and
    /// the time in milliseconds that the mounts took by `clock`.
    pub(in crate::bench) fn mounted<T: Send>(
        &self,
        clock: impl Fn() -> f64 + Send + Sync,
        measure: impl FnOnce(&Path) -> Result<T, StackError> + Send,
    ) -> Result<(f64, T), StackError> {
        apart(|| {
            let dir = tempfile::tempdir().map_err(StackError::Namespace)?;
            let mut host = LinuxHost::new();
            host.mount_tmpfs(dir.path(), Size::default())?;
            let measured = self.mounted_below(dir.path(), &mut host, clock, measure);
            // With what is left below it: programs of the tree ran, and the kernel may hold a program's file a moment longer
            // than its process. The directory is removed with all that is in it, so nothing may be mounted there then.
            unmount(dir.path(), UnmountFlags::DETACH)
                .map_err(|error| StackError::Namespace(error.into()))?;
            measured
        })
    }

    fn mounted_below<T>(
        &self,
        dir: &Path,
        host: &mut LinuxHost,
        clock: impl Fn() -> f64,
        measure: impl FnOnce(&Path) -> Result<T, StackError>,
    ) -> Result<(f64, T), StackError> {
        let paths = BootPaths { run: dir.join("run"), sysroot: dir.join("root") };
        if let Self::Store { dir: store, .. } = self {
            host.bind(store, &paths.state(), Access::ReadOnly)?;
        }
        let plan = self.plan(&paths)?;
        let start = clock();
        execute(&plan, host)?;
        let took = clock() - start;
        let measured = measure(&paths.sysroot);
        undo(&plan, plan.ops.len(), host).iter().for_each(|left| eprintln!("xtask: {left}"));
        Ok((took, measured?))
    }
}

/// Runs something in a thread with a mount namespace, a root and a working directory of its own.
fn apart<T: Send>(what: impl FnOnce() -> Result<T, StackError> + Send) -> Result<T, StackError> {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNS)
            .map_err(io::Error::from)
            .and_then(|()| {
                let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                Ok(mount_change("/", private)?)
            })
            .map_err(StackError::Namespace)?;
        what()
    };
    std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or(Err(StackError::Thread)))
}
