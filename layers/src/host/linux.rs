//! The real machine: one straight line of system calls for each operation.

#![expect(clippy::disallowed_methods, reason = "carrying out plans is this module's purpose")]

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sys_mount::{FilesystemType, Mount, MountFlags, UnmountFlags};

use crate::entry::EntryName;
use crate::etc::Derive;
use crate::exec::{Host, HostError};
use crate::id::Digest;
use crate::layout::{BootDir, Layout};
use crate::machine_id::MachineId;
use crate::manifest::Verity;
use crate::plan::{Access, BootName, CopyToBoot, Cover, Overlay, Upper};
use crate::size::Size;
use crate::store::{
    bound, cover, derive, efi, log, partition, publish, reserve, stage, tree, upper,
};
use crate::superblock::Format;
use crate::sys::{self, Backing, KernelError};

use super::covered;

/// Carries operations out on this machine. Mounting needs CAP_SYS_ADMIN.
#[derive(Default)]
pub struct LinuxHost<'a> {
    progress: Option<&'a mut stage::Progress<'a>>,
    /// Whether EROFS images mount from their files; asked of the kernel at the first one.
    erofs: Option<Backing>,
    /// What is done where there is no room.
    full: Full,
}

/// What a host does on a full disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Full {
    /// It writes a record over the one that is there.
    #[default]
    InPlace,
    /// It gives up the store's reserve before that.
    Reserve(Layout),
    /// Nothing: what is to be made needs room of its own.
    Fail,
}

impl<'a> LinuxHost<'a> {
    /// A host that tells nobody how far a copy has come.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host that tells `progress` the number of bytes copied, as they are. On a full disk it fails.
    pub fn with_progress(progress: &'a mut stage::Progress<'a>) -> Self {
        Self { progress: Some(progress), full: Full::Fail, ..Self::default() }
    }

    /// The same host, for a plan that frees space or moves a pointer: on a full disk it gives up the store's reserve.
    #[must_use]
    pub fn giving_up_the_reserve_of(self, layout: &Layout) -> Self {
        Self { full: Full::Reserve(layout.clone()), ..self }
    }

    /// Does something, and where there is no room for it, once more without the reserve.
    fn with_room(&mut self, what: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let done = what();
        let Err(error) = &done else { return done };
        if !publish::is_full(error) || publish::is_unsettled(error) {
            return done;
        }
        let Full::Reserve(layout) = &self.full else { return done };
        let released = reserve::release(layout);
        self.full = Full::InPlace;
        match released {
            Ok(true) => what(),
            // The first error is the one to tell.
            _ => done,
        }
    }

    fn mount_erofs(&mut self, image: Image<'_>, at: &Path) -> Result<(), HostError> {
        if self.erofs != Some(Backing::Loop) {
            match mount_image(image, Format::Erofs, Backing::File, at) {
                Ok(()) if self.erofs.is_some() => return Ok(()),
                Ok(()) => match file_costs_a_level(at) {
                    Ok(false) => {
                        self.erofs = Some(Backing::File);
                        return Ok(());
                    }
                    Ok(true) => self.unmount(at)?,
                    Err(error) => return Err(self.half_done(at, error)),
                },
                Err(error) if wants_block_device(&error) => {}
                Err(error) => return Err(error),
            }
            self.erofs = Some(Backing::Loop);
        }
        mount_image(image, Format::Erofs, Backing::Loop, at)
    }

    /// Takes back the first half of an operation whose second half failed: `undo` knows of whole ones only.
    fn half_done(&mut self, at: &Path, error: HostError) -> HostError {
        // The first error is the one to tell.
        let _ = self.unmount(at);
        error
    }
}

impl Host for LinuxHost<'_> {
    fn mount_image(
        &mut self,
        image: &Path,
        format: Format,
        cover: Option<&Cover>,
        at: &Path,
    ) -> Result<(), HostError> {
        make_directory(at)?;
        let Some(cover) = cover else {
            let image = Image { path: image, file: None };
            return match format {
                Format::Squashfs => mount_image(image, format, Backing::Loop, at),
                Format::Erofs => self.mount_erofs(image, at),
            };
        };
        let file = covered::open(image)?;
        if format == Format::Erofs && covered::by_file(&file, image, cover)? {
            return self.mount_erofs(Image { path: image, file: Some(&file) }, at);
        }
        attach(&covered::by_device(&file, image, format, cover)?, at)
    }

    fn mount_overlay(&mut self, overlay: &Overlay) -> Result<(), HostError> {
        make_directory(&overlay.at)?;
        let mount = sys::overlay(overlay).map_err(|error| missing_lower(overlay, error))?;
        sys::attach(&mount, &overlay.at)
            .map_err(|error| kernel("mount overlay at", &overlay.at, error))
    }

    fn mount_tmpfs(&mut self, at: &Path, size: Size) -> Result<(), HostError> {
        make_directory(at)?;
        let inodes = size.inodes().map(|inodes| format!(",nr_inodes={inodes}"));
        let options = format!("mode=0755,size={size}{}", inodes.unwrap_or_default());
        Mount::builder()
            .fstype(FilesystemType::from("tmpfs"))
            .data(&options)
            .flags(MountFlags::NOSUID | MountFlags::NODEV)
            .mount("tmpfs", at)
            .map(drop)
            .map_err(|error| HostError::io("mount tmpfs at", at, error))
    }

    fn bind(&mut self, from: &Path, at: &Path, access: Access) -> Result<(), HostError> {
        make_directory(at)?;
        let failed = |error| HostError::io("bind", from, error);
        let mount = |flags| {
            // The type means nothing to a bind mount, but sys-mount would otherwise read /proc/filesystems each time.
            let mount = Mount::builder().fstype("none").flags(flags);
            mount.mount(from, at).map(drop).map_err(failed)
        };
        mount(MountFlags::BIND)?;
        let remount = MountFlags::BIND | MountFlags::REMOUNT;
        let flags = match access {
            Access::ReadOnly => MountFlags::RDONLY,
            Access::Writable => MountFlags::NOSUID | MountFlags::NODEV,
            Access::WritableSuid => MountFlags::NODEV,
        };
        mount(remount | flags).map_err(|error| self.half_done(at, error))
    }

    fn make_upper(&mut self, upper: &Upper, like: Option<&Path>) -> Result<(), HostError> {
        tree::make_upper(upper, like)
    }

    fn derive_upper(&mut self, derive: &Derive) -> Result<(), HostError> {
        // Nothing else makes /run/layers that early.
        derive.report.parent().map_or(Ok(()), make_directory)?;
        derive::derive(derive)
    }

    fn copy_kept(&mut self, from: &Path, to: &Path, keep: &[String]) -> Result<(), HostError> {
        upper::copy_kept(from, to, keep)
    }

    fn wipe_upper(&mut self, dir: &Path, keep: &[String]) -> Result<(), HostError> {
        upper::wipe(dir, keep)
    }

    fn drop_owned(&mut self, dir: &Path, paths: &[String]) -> Result<(), HostError> {
        upper::drop_owned(dir, paths)
    }

    fn hide_stamp(&mut self, upper: &Path, lowers: &[PathBuf]) -> Result<(), HostError> {
        upper::hide_stamp(upper, lowers)
    }

    fn make_machine_id(
        &mut self,
        upper: &Path,
        lowers: &[PathBuf],
        id: MachineId,
    ) -> Result<(), HostError> {
        upper::make_machine_id(upper, lowers, id)
    }

    fn make_bound(
        &mut self,
        dir: &Path,
        path: &str,
        mode: u32,
        lowers: &[PathBuf],
    ) -> Result<(), HostError> {
        bound::make(dir, path, mode, lowers)
    }

    fn forget_lowers(&mut self, upper: &Path, lowers: &[PathBuf]) -> Result<(), HostError> {
        bound::forget_lowers(upper, lowers)
    }

    fn stage_image(
        &mut self,
        from: &Path,
        to: &Path,
        digest: &Digest,
        _size: u64,
    ) -> Result<(), HostError> {
        match &mut self.progress {
            Some(progress) => stage::copy(from, to, digest, *progress),
            None => stage::copy(from, to, digest, &mut |_| {}),
        }
    }

    fn stage_cover(&mut self, image: &Path, tree: &Path, verity: &Verity) -> Result<(), HostError> {
        cover::stage(image, tree, verity)
    }

    fn write_file(&mut self, path: &Path, text: &str) -> Result<(), HostError> {
        let written = match self.with_room(|| publish::file(path, text)) {
            // There is room for what is there already.
            Err(error)
                if publish::is_full(&error)
                    && !publish::is_unsettled(&error)
                    && self.full == Full::InPlace =>
            {
                publish::overwrite(path, text).map_err(|_| error)
            }
            done => done,
        };
        written.map_err(|error| HostError::io("write", path, error))
    }

    fn overwrite(&mut self, path: &Path, text: &str) -> Result<(), HostError> {
        publish::overwrite(path, text).map_err(|error| HostError::io("overwrite", path, error))
    }

    fn publish_generation(&mut self, dir: &Path, text: &str) -> Result<(), HostError> {
        publish::directory(dir, "generation.toml", text)
            .map_err(|error| HostError::io("publish", dir, error))
    }

    fn append_line(&mut self, path: &Path, line: &str) -> Result<(), HostError> {
        self.with_room(|| log::append(path, line))
            .map_err(|error| HostError::io("write", path, error))
    }

    fn remove(&mut self, path: &Path) -> Result<(), HostError> {
        self.with_room(|| publish::remove(path))
            .map_err(|error| HostError::io("remove", path, error))
    }

    fn copy_to_boot(&mut self, copy: &CopyToBoot) -> Result<(), HostError> {
        let to = copy.boot.file(&copy.file);
        match &mut self.progress {
            Some(progress) => partition::copy(&copy.from, &to, &copy.file.digest, *progress),
            None => partition::copy(&copy.from, &to, &copy.file.digest, &mut |_| {}),
        }
    }

    fn write_entry(
        &mut self,
        boot: &BootDir,
        name: EntryName,
        text: &str,
    ) -> Result<(), HostError> {
        partition::write(&boot.entry(&name), text)
    }

    fn set_one_shot(&mut self, variable: &Path, entry: Option<EntryName>) -> Result<(), HostError> {
        efi::set_one_shot(variable, entry)
    }

    fn remove_from_boot(&mut self, boot: &BootDir, name: BootName) -> Result<(), HostError> {
        partition::remove(&name.path(boot))
    }

    fn unmount(&mut self, at: &Path) -> Result<(), HostError> {
        sys_mount::unmount(at, UnmountFlags::empty())
            .map_err(|error| HostError::io("unmount", at, error))
    }
}

/// An image to be mounted.
#[derive(Clone, Copy)]
struct Image<'a> {
    path: &'a Path,
    /// The open file, where it was looked at: this is mounted, and not what is at the path by then.
    file: Option<&'a File>,
}

fn mount_image(
    image: Image<'_>,
    format: Format,
    backing: Backing,
    at: &Path,
) -> Result<(), HostError> {
    let mount = match image.file {
        Some(file) => sys::open_image(file, image.path, format, backing),
        None => sys::image(image.path, format, backing),
    };
    let mount = mount.map_err(|error| kernel(&format!("mount {format}"), image.path, error))?;
    attach(&mount, at)
}

fn attach(mount: &OwnedFd, at: &Path) -> Result<(), HostError> {
    sys::attach(mount, at).map_err(|error| kernel("mount at", at, error))
}

pub(super) fn kernel(doing: &str, path: &Path, error: KernelError) -> HostError {
    let detail = if error.log.is_empty() { String::new() } else { format!(" ({})", error.log) };
    HostError::Io { doing: doing.to_owned(), path: path.to_owned(), source: error.source, detail }
}

/// ENOTBLK from a kernel that needs a block device for this file or any.
fn wants_block_device(error: &HostError) -> bool {
    matches!(error, HostError::Io { source, .. } if source.raw_os_error() == Some(libc::ENOTBLK))
}

/// The kernel names no path with ENOENT, so the error does: the first lower that is not there.
fn missing_lower(overlay: &Overlay, error: KernelError) -> HostError {
    let uppers = overlay.upper.iter().flat_map(|upper| [&upper.upper, &upper.work]);
    let missing: Option<&PathBuf> = if error.source.kind() == io::ErrorKind::NotFound {
        overlay.lowers.iter().chain(&overlay.data).chain(uppers).find(|path| !path.is_dir())
    } else {
        None
    };
    kernel("mount overlay: directory", missing.unwrap_or(&overlay.at), error)
}

/// Whether this kernel counts a file-backed EROFS as a level of stacking, so that an overlay on it leaves no room for
/// one more (some stable kernels, 6.12.63 and 6.18.3 among them). It is asked by trying: an overlay on the image, and
/// one more on that, neither attached for longer than the question.
fn file_costs_a_level(image: &Path) -> Result<bool, HostError> {
    let probe = image.with_file_name(".stacking");
    let one = Overlay {
        source: "layerctl:probe".to_owned(),
        lowers: vec![image.to_owned(), probe.clone()],
        data: Vec::new(),
        upper: None,
        at: probe.clone(),
    };
    make_directory(&probe)?;
    let first = sys::overlay(&one).map_err(|error| kernel("probe stacking of", image, error))?;
    sys::attach(&first, &probe).map_err(|error| kernel("probe stacking at", &probe, error))?;
    // An open descriptor keeps the mount busy.
    drop(first);
    let two = Overlay { lowers: vec![probe.clone(), image.to_owned()], ..one };
    let refused = sys::overlay(&two).is_err();
    sys_mount::unmount(&probe, UnmountFlags::empty())
        .and_then(|()| fs::remove_dir(&probe))
        .map_err(|error| HostError::io("unmount", &probe, error))?;
    Ok(refused)
}

fn make_directory(path: &Path) -> Result<(), HostError> {
    match fs::create_dir_all(path) {
        // A mount point on a read-only root is there already or cannot be made; the mount says which.
        Err(error) if error.kind() != io::ErrorKind::ReadOnlyFilesystem => {
            Err(HostError::io("create", path, error))
        }
        _ => Ok(()),
    }
}
