//! Looks inside an image before it enters the store, through the kernel's own eyes: a read-only mount that is attached
//! nowhere and gone with its descriptor, however the program ends.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::lgetxattr;
use thiserror::Error;

use crate::superblock::Format;
use crate::sys::{self, Backing, KernelError};

/// The unit that marks a boot good; a base without it would use up the attempts of each generation.
const MARK_GOOD: &str = "usr/lib/systemd/system/layerctl-mark-good.service";

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

    /// What it holds.
    pub fn contents(&self) -> Result<Contents, InspectError> {
        tree(&self.root).map_err(|(inside, source)| InspectError::Read {
            path: self.path.clone(),
            inside: Path::new("/").join(inside.strip_prefix(&self.root).unwrap_or(&inside)),
            source,
        })
    }
}

/// Mounts an image out of sight and reads what it holds.
pub fn image(path: &Path, format: Format) -> Result<Contents, InspectError> {
    OpenImage::open(path, format)?.contents()
}

/// Reads what a directory tree holds.
pub fn tree(root: &Path) -> Result<Contents, (PathBuf, io::Error)> {
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
        if is_opaque(&directory) {
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
    contents.kernels = kernels(root);
    contents.marks_good = fs::symlink_metadata(root.join(MARK_GOOD)).is_ok();
    contents.os_release = ["usr/lib/os-release", "etc/os-release"]
        .iter()
        .find_map(|path| fs::read_to_string(root.join(path)).ok());
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
    contents.init = ["sbin/init", "usr/sbin/init", "usr/lib/systemd/systemd"]
        .iter()
        .any(|path| fs::symlink_metadata(root.join(path)).is_ok());
    Ok(())
}

fn kernels(root: &Path) -> Vec<String> {
    let Ok(listing) = fs::read_dir(root.join("usr/lib/modules")) else {
        return Vec::new();
    };
    let mut kernels: Vec<String> = listing
        .flatten()
        .filter(|entry| entry.path().join("modules.dep").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    kernels.sort_unstable();
    kernels
}

/// OverlayFS takes the mark from trusted.overlay.opaque, or user.overlay.opaque when mounted with userxattr.
fn is_opaque(directory: &Path) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = [0; 1];
        matches!(lgetxattr(directory, *name, &mut value), Ok(1) if value == *b"y" || value == *b"x")
    })
}

fn inside(root: &Path, path: &Path) -> String {
    Path::new("/").join(path.strip_prefix(root).unwrap_or(path)).display().to_string()
}
