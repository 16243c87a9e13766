//! Views of /etc: what the images have, and what a generation makes of it.
//!
//! They are mounts in a mount namespace of this process alone, so nobody else sees them and they are gone when it ends,
//! however it ends. Attached there, since OverlayFS takes detached lowers only from Linux 6.15 on.

#![expect(clippy::disallowed_methods, reason = "makes mount points and looks for uppers")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use layers::cmdline::BootRequest;
use layers::generation::Generation;
use layers::id::{Digest, GenerationId};
use layers::layout::{BootPaths, Layout};
use layers::lowers::LowerImages;
use layers::plan::boot::{BootFacts, plan_boot};
use layers::plan::change::Refusal;
use layers::plan::{Overlay, Upper};
use layers::policy::Dir;
use layers::store::{facts, stage};
use layers::superblock::Format;
use layers::sys::{self, Backing, FsContext, KernelError};
use nix::sched::CloneFlags;
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, mount_change, unmount};

use crate::context::{Context, Store};
use crate::error::Error;
use crate::work::{Holds, WorkDirectory};

/// The views of one store's /etc.
pub(crate) struct Views<'a> {
    context: &'a Context,
    store: &'a Store,
    /// A tmpfs for mount points, seen by this process alone.
    directory: WorkDirectory,
}

impl Drop for Views<'_> {
    fn drop(&mut self) {
        // With all that is mounted in it; else the directory cannot be removed. It is empty for everybody else.
        let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
    }
}

impl<'a> Views<'a> {
    /// A namespace without any view yet.
    pub(crate) fn new(context: &'a Context, store: &'a Store) -> Result<Self, Error> {
        let capability = Capability::CAP_SYS_ADMIN;
        if !caps::has_cap(None, CapSet::Effective, capability).unwrap_or(true) {
            return Err(Error::Capability { purpose: "looking into images", capability });
        }
        // Without a system, in a boot for repair, /run alone can be written.
        let make = |parent: &Path| WorkDirectory::new("layerctl-etc-", parent, Holds::Mounts);
        let directory = make(Path::new("/run")).or_else(|_| make(&std::env::temp_dir()))?;
        nix::sched::unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|error| Error::io("make a mount namespace in", directory.path(), error))?;
        // What is mounted elsewhere still arrives here, what is mounted here stays here.
        let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", flags)
            .map_err(|error| Error::io("make mounts private below", Path::new("/"), error))?;
        let at = directory.path();
        tmpfs().and_then(|mount| sys::attach(&mount, at)).map_err(|error| {
            Error::io("mount a tmpfs at", at, std::io::Error::other(error.to_string()))
        })?;
        Ok(Self { context, store, directory })
    }

    /// The generation whose /etc is the current one: the booted one, or in a store that is mounted elsewhere the default.
    pub(crate) fn current(&self) -> Result<&'a Generation, Error> {
        current(self.context, self.store)
    }

    /// What the images of a generation have in /etc, merged.
    pub(crate) fn image(&self, generation: &Generation) -> Result<PathBuf, Error> {
        let at = self.mount_point(&format!("image-{}", generation.id))?;
        let mut lowers = self.lowers(generation)?;
        // An overlay without an upper has two lowers or more; and one alone would show its marks.
        lowers.extend(self.two_empty()?);
        self.overlay(lowers, None, &at)?;
        Ok(at)
    }

    /// The /etc of a generation, to be read.
    pub(crate) fn merged(&self, generation: &Generation) -> Result<PathBuf, Error> {
        if self.is_booted(generation.id) {
            return Ok("/etc".into());
        }
        let at = self.mount_point(&format!("etc-{}", generation.id))?;
        let mut lowers = vec![self.upper(generation)?.upper];
        lowers.extend(self.lowers(generation)?);
        lowers.extend(self.two_empty()?);
        self.overlay(lowers, None, &at)?;
        Ok(at)
    }

    /// The current /etc, to be written.
    pub(crate) fn writable(&self) -> Result<PathBuf, Error> {
        let generation = self.current()?;
        if self.is_booted(generation.id) {
            return Ok("/etc".into());
        }
        self.refuse_running_store()?;
        // An upper that is written must not be looked at as a lower meanwhile; most often it is, to see what to write.
        let looked_at = self.directory.path().join(format!("etc-{}", generation.id));
        match unmount(&looked_at, UnmountFlags::DETACH) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(Error::io("unmount", &looked_at, error)),
        }
        let at = self.mount_point("current")?;
        let mut lowers = self.lowers(generation)?;
        lowers.extend(self.two_empty()?);
        self.overlay(lowers, Some(self.upper(generation)?), &at)?;
        Ok(at)
    }

    /// Whether the running system shows this generation's /etc.
    fn is_booted(&self, id: GenerationId) -> bool {
        self.context.is_running_system() && self.store.state.booted == Some(id)
    }

    /// An upper that two overlays write to is undefined (Documentation/filesystems/overlayfs.rst).
    fn refuse_running_store(&self) -> Result<(), Error> {
        let number = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
        let running = Layout::new(&BootPaths::default().state());
        let same =
            number(running.top()).is_some_and(|it| number(self.store.layout.top()) == Some(it));
        if !same {
            return Ok(());
        }
        let what =
            "the running system uses this store, so its /etc cannot be changed from the side";
        Err(Refusal::new(what, "leave --root out: layerctl etc …").into())
    }

    /// The upper of a generation's /etc.
    fn upper(&self, generation: &Generation) -> Result<Upper, Error> {
        let upper = Upper::below(&self.home(generation));
        match fs::metadata(&upper.upper) {
            Ok(_) => return Ok(upper),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("look at", &upper.upper, error)),
        }
        let what = format!("generation {} has no /etc of its own yet", generation.id);
        let hint = "it is made when the generation boots for the first time; to name another: --generation N";
        Err(Refusal::new(what, hint).into())
    }

    /// The directory that holds it.
    pub(crate) fn home(&self, generation: &Generation) -> PathBuf {
        self.store.layout.upper(Dir::Etc, generation.id, generation.writable.etc.scope)
    }

    /// The /etc directories of a generation's images, topmost first.
    fn lowers(&self, generation: &Generation) -> Result<Vec<PathBuf>, Error> {
        if self.is_booted(generation.id) {
            return Ok(self.booted_lowers());
        }
        let digests = self.images(generation)?;
        digests.iter().map(|digest| Ok(self.mount(generation, digest)?.join("etc"))).collect()
    }

    /// The images that this boot mounted.
    fn booted_lowers(&self) -> Vec<PathBuf> {
        let paths = BootPaths::default();
        let names = self.store.report.iter().flat_map(|report| report.layers.iter().rev());
        let layers = names.map(|name| paths.layer(name));
        let mounts = [paths.trigger()].into_iter().chain(layers).chain([paths.base()]);
        mounts.map(|at| at.join("etc")).filter(|etc| etc.is_dir()).collect()
    }

    /// The images that have something in /etc, topmost first: those that the upper lay over last, or those that the
    /// generation boots with.
    fn images(&self, generation: &Generation) -> Result<Vec<Digest>, Error> {
        let record = Layout::lowers(&self.home(generation));
        if let Some(recorded) = fs::read_to_string(&record).ok().and_then(|text| text.parse().ok())
        {
            let recorded: LowerImages = recorded;
            return Ok(recorded.with("etc").map(|image| image.digest).collect());
        }
        let layout = &self.store.layout;
        let mut known: BootFacts = facts::store(layout);
        facts::generation(layout, generation, &mut known)?;
        let request = BootRequest::parse("");
        let plan =
            plan_boot(&request, generation, &known, &BootPaths::default()).map_err(|why| {
                let what = format!("generation {} does not boot: {why}", generation.id);
                Refusal::new(what, "see what is wrong: layerctl verify")
            })?;
        // Without one of its layers the images' /etc would be another one than it is meant to be.
        if let Some(left_out) = plan.skipped.first() {
            let what = format!(
                "layer {} of generation {}: {}",
                left_out.name, generation.id, left_out.why
            );
            return Err(Refusal::new(what, "see what is wrong: layerctl verify").into());
        }
        Ok(plan.images.with("etc").map(|image| image.digest).collect())
    }

    /// Mounts an image of the store, once.
    fn mount(&self, generation: &Generation, digest: &Digest) -> Result<PathBuf, Error> {
        let at = self.directory.path().join("images").join(digest.short());
        if at.is_dir() {
            return Ok(at);
        }
        let path = self.store.layout.image(digest);
        let superblock = match stage::superblock(&path) {
            Ok(superblock) => superblock,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (id, short) = (generation.id, digest.short());
                let what = format!(
                    "image {short}, which the /etc of generation {id} lies over, is missing from the store"
                );
                return Err(Refusal::new(what, "bring its file back: layerctl install FILE (a base: layerctl base import FILE)").into());
            }
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let format =
            superblock.map_err(|source| Error::Superblock { path: path.clone(), source })?.format;
        let mount = match format {
            Format::Squashfs => sys::image(&path, format, Backing::Loop),
            // A kernel that wants a block device, or counts a file as a level of stacking, gets a loop device.
            Format::Erofs => sys::image(&path, format, Backing::Loop)
                .or_else(|_| sys::image(&path, format, Backing::File)),
        };
        self.make(&at)?;
        mount
            .and_then(|mount| sys::attach(&mount, &at))
            .map_err(|source| layers::store::inspect::InspectError::Mount { path, source })?;
        Ok(at)
    }

    /// Two directories with nothing in them, for the bottom of a stack.
    fn two_empty(&self) -> Result<[PathBuf; 2], Error> {
        let paths = ["empty-1", "empty-2"].map(|name| self.directory.path().join(name));
        paths.iter().try_for_each(|path| self.make(path))?;
        Ok(paths)
    }

    fn mount_point(&self, name: &str) -> Result<PathBuf, Error> {
        let at = self.directory.path().join(name);
        self.make(&at)?;
        Ok(at)
    }

    fn make(&self, path: &Path) -> Result<(), Error> {
        fs::create_dir_all(path).map_err(|error| Error::io("create", path, error))
    }

    fn overlay(&self, lowers: Vec<PathBuf>, upper: Option<Upper>, at: &Path) -> Result<(), Error> {
        let overlay = Overlay {
            source: "layerctl:view".to_owned(),
            lowers,
            data: Vec::new(),
            upper,
            at: at.to_owned(),
        };
        sys::overlay(&overlay)
            .and_then(|mount| sys::attach(&mount, at))
            .map_err(|error| Error::View { at: at.to_owned(), source: error })
    }
}

/// As [`Views::current`], where no view is needed.
pub(crate) fn current<'a>(context: &Context, store: &'a Store) -> Result<&'a Generation, Error> {
    if !context.is_running_system() {
        return Ok(store.state.start()?);
    }
    let Some(id) = store.state.booted else {
        let what = "this system did not boot from a generation of the store";
        let hint = "name one: --generation N; or a store that is mounted elsewhere: --root DIR";
        return Err(Refusal::new(what, hint).into());
    };
    Ok(store.state.readable(id)?)
}

/// The generation that was named, else the current one.
pub(crate) fn named<'a>(
    context: &Context,
    store: &'a Store,
    id: Option<GenerationId>,
) -> Result<&'a Generation, Error> {
    match id {
        Some(id) => Ok(store.state.readable(id)?),
        None => current(context, store),
    }
}

fn tmpfs() -> Result<std::os::fd::OwnedFd, KernelError> {
    let context = FsContext::open("tmpfs")?;
    context.set("mode", "0700")?;
    context.mount(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
}
