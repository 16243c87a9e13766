//! Looks inside an image before it enters the store, through the kernel's own eyes: a read-only mount that is attached
//! nowhere and gone with its descriptor, however the program ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, lgetxattr, openat2};
use rustix::io::Errno;
use thiserror::Error;

use crate::superblock::Format;
use crate::sys::{self, Backing, KernelError};

/// The unit that marks a boot good; a base without it would use up the attempts of each generation.
pub const MARK_GOOD: &str = "usr/lib/systemd/system/layerctl-mark-good.service";

/// The most that is read of an os-release, in bytes; a real one has 500.
const OS_RELEASE_MAX: u64 = 1 << 20;

/// Why an image cannot be looked into.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The kernel does not mount it.
    #[error("the kernel cannot mount {}: {source}", .path.display())]
    Mount {
        /// The image.
        path: PathBuf,
        /// The kernel's answer.
        source: KernelError,
    },
    /// A path in it cannot be read.
    #[error("{} cannot be read in {}: {source}", .inside.display(), .path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// The path in it.
        inside: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What an image holds, as far as it matters for a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Permission bits of the root directory.
    pub root_mode: u32,
    /// Top-level names.
    pub top: BTreeSet<String>,
    /// Top-level directories, empty ones too; no symbolic links.
    pub directories: BTreeSet<String>,
    /// Top-level directories that are not empty, sorted.
    pub dirs: Vec<String>,
    /// Whether there is a program to start: /sbin/init or systemd.
    pub init: bool,
    /// Absolute paths of whiteouts (character devices 0:0) and opaque directories.
    pub deletes: Vec<String>,
    /// Versions in /usr/lib/modules that have a modules.dep or any module.
    pub kernels: Vec<String>,
    /// Whether it has the unit that marks boots good.
    pub marks_good: bool,
    /// The text of /usr/lib/os-release or /etc/os-release, if there is one.
    pub os_release: Option<String>,
}

/// An image that is mounted out of sight, for as long as this value lives.
#[derive(Debug)]
pub struct OpenImage {
    path: PathBuf,
    root: PathBuf,
    _mount: OwnedFd,
}

impl OpenImage {
    /// Mounts an image.
    pub fn open(path: &Path, format: Format) -> Result<Self, InspectError> {
        let failed = |source| InspectError::Mount { path: path.to_owned(), source };
        let mount = match format {
            Format::Squashfs => sys::image(path, format, Backing::Loop),
            // A kernel that wants a block device, or a file on tmpfs.
            Format::Erofs => sys::image(path, format, Backing::File)
                .or_else(|_| sys::image(path, format, Backing::Loop)),
        }
        .map_err(failed)?;
        let root = PathBuf::from(format!("/proc/self/fd/{}/", mount.as_raw_fd()));
        Ok(Self { path: path.to_owned(), root, _mount: mount })
    }

    /// Its root directory; the path means this only to this process.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What it holds. An image in which a directory is at two places is refused: it could go on without end.
    pub fn contents(&self) -> Result<Contents, InspectError> {
        read_tree(&self.root, &mut Some(BTreeSet::new())).map_err(|(inside, source)| {
            InspectError::Read {
                path: self.path.clone(),
                inside: Path::new("/").join(inside.strip_prefix(&self.root).unwrap_or(&inside)),
                source,
            }
        })
    }
}

/// Mounts an image out of sight and reads what it holds.
pub fn image(path: &Path, format: Format) -> Result<Contents, InspectError> {
    OpenImage::open(path, format)?.contents()
}

/// Reads what a directory tree holds.
pub fn tree(root: &Path) -> Result<Contents, (PathBuf, io::Error)> {
    read_tree(root, &mut None)
}

/// Opens a regular file in a tree for reading, none where something else is there. Links are followed as if the tree were the
/// root, and a pipe in the file's place is not waited for.
pub fn open_inside(root: &Path, path: &str) -> io::Result<Option<fs::File>> {
    let top = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, top, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let nothing = [Errno::LOOP, Errno::NXIO, Errno::NODEV, Errno::NOENT, Errno::NOTDIR];
    // What it is comes first: opening a device does something.
    let look = OFlags::PATH | OFlags::CLOEXEC;
    let found = match openat2(&root, path, look, Mode::empty(), resolve) {
        Ok(found) => fs::File::from(found),
        Err(error) if nothing.contains(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !found.metadata()?.is_file() {
        return Ok(None);
    }
    Ok(Some(openat2(&root, path, flags, Mode::empty(), resolve)?.into()))
}

/// `seen` are the directories that were met, where they are counted.
fn read_tree(
    root: &Path,
    seen: &mut Option<BTreeSet<u64>>,
) -> Result<Contents, (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    let mut contents = Contents {
        root_mode: fs::metadata(root).map_err(at(root))?.mode() & 0o7777,
        ..Contents::default()
    };
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        if let Some(seen) = seen {
            let inode = fs::metadata(&directory).map_err(at(&directory))?.ino();
            if !seen.insert(inode) {
                let twice = io::Error::other("the directory is at another place too");
                return Err(at(&directory)(twice));
            }
        }
        if is_opaque(&directory).map_err(at(&directory))? {
            contents.deletes.push(inside(root, &directory));
        }
        for entry in fs::read_dir(&directory).map_err(at(&directory))? {
            let entry = entry.map_err(at(&directory))?;
            let kind = entry.file_type().map_err(at(&entry.path()))?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_char_device()
                && entry.metadata().map_err(at(&entry.path()))?.rdev() == 0
            {
                contents.deletes.push(inside(root, &entry.path()));
            }
        }
    }
    contents.deletes.sort_unstable();
    read_top(root, &mut contents).map_err(at(root))?;
    contents.kernels = kernels(root).map_err(at(root))?;
    contents.marks_good = is_there(&root.join(MARK_GOOD)).map_err(at(root))?;
    contents.os_release = os_release(root).map_err(at(root))?;
    Ok(contents)
}

fn read_top(root: &Path, contents: &mut Contents) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            contents.directories.insert(name.clone());
            if fs::read_dir(entry.path())?.next().is_some() {
                contents.dirs.push(name.clone());
            }
        }
        contents.top.insert(name);
    }
    contents.dirs.sort_unstable();
    // Not followed: an absolute link would lead out of the tree.
    for path in ["sbin/init", "usr/sbin/init", "usr/lib/systemd/systemd"] {
        contents.init |= is_there(&root.join(path))?;
    }
    Ok(())
}

/// Whether there is anything of this name, a link itself and not where it leads. What cannot be looked at may be there.
fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an error says that there is nothing of a name.
fn is_absence(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind())
}

/// The first text of an os-release(5) that there is. A link that leads nowhere, or a file that is no text, is none.
fn os_release(root: &Path) -> io::Result<Option<String>> {
    for path in ["usr/lib/os-release", "etc/os-release"] {
        let Some(file) = open_inside(root, path)? else { continue };
        let mut bytes = Vec::new();
        file.take(OS_RELEASE_MAX).read_to_end(&mut bytes)?;
        if let Ok(text) = String::from_utf8(bytes) {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

fn kernels(root: &Path) -> io::Result<Vec<String>> {
    let listing = match fs::read_dir(root.join("usr/lib/modules")) {
        Ok(listing) => listing,
        Err(error) if is_absence(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut kernels = Vec::new();
    for entry in listing {
        let entry = entry?;
        if is_there(&entry.path().join("modules.dep"))? {
            kernels.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    kernels.sort_unstable();
    Ok(kernels)
}

/// Whether a directory hides what is below it: OverlayFS takes the mark from trusted.overlay.opaque, or user.overlay.opaque when mounted with userxattr.
pub fn is_opaque(directory: &Path) -> io::Result<bool> {
    for name in ["trusted.overlay.opaque", "user.overlay.opaque"] {
        let mut value = [0; 1];
        match lgetxattr(directory, name, &mut value) {
            Ok(1) if value == *b"y" || value == *b"x" => return Ok(true),
            // Another value; none; a file system without attributes.
            Ok(_) | Err(Errno::RANGE | Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn inside(root: &Path, path: &Path) -> String {
    Path::new("/").join(path.strip_prefix(root).unwrap_or(path)).display().to_string()
}
