//! What a layer is built on: a base and layers, seen through without being mounted.

#![expect(clippy::disallowed_methods, reason = "looks into images")]

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use layers::store::inspect::OpenImage;
use rustix::fs::lgetxattr;

use crate::admission;
use crate::error::Error;
use crate::os_release;
use crate::sandbox::Lower;

/// A stack of trees, topmost first.
pub(crate) struct Ground {
    roots: Vec<Root>,
}

enum Root {
    Directory(PathBuf),
    Image(OpenImage),
}

impl Root {
    fn path(&self) -> &Path {
        match self {
            Self::Directory(path) => path,
            Self::Image(image) => image.root(),
        }
    }
}

impl Ground {
    /// Opens the trees, topmost first.
    pub(crate) fn open(lowers: &[Lower]) -> Result<Self, Error> {
        let roots = lowers.iter().map(|lower| match lower {
            Lower::Directory(path) => match fs::metadata(path) {
                Ok(_) => Ok(Root::Directory(path.clone())),
                Err(error) => Err(Error::io("open", path, error)),
            },
            Lower::Image { path, format } => admission::open(path, *format).map(Root::Image),
        });
        Ok(Self { roots: roots.collect::<Result<_, _>>()? })
    }

    /// The entry at a path relative to the root, of the topmost tree that has one; links are not followed.
    pub(crate) fn find(&self, path: &Path) -> Result<Option<(PathBuf, Metadata)>, Error> {
        for root in &self.roots {
            let full = root.path().join(path);
            match fs::symlink_metadata(&full) {
                Ok(found) if is_whiteout(&found) => return Ok(None),
                Ok(found) => return Ok(Some((full, found))),
                Err(error) if is_absence(&error) => {}
                Err(error) => return Err(Error::io("read", &full, error)),
            }
            if hides(root.path(), path) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The content of a file, if there is one.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.find(Path::new(path))? {
            Some((full, found)) if found.is_file() => {
                fs::read(&full).map(Some).map_err(|error| Error::io("read", &full, error))
            }
            _ => Ok(None),
        }
    }

    /// Whether there is an entry at a path.
    pub(crate) fn has(&self, path: &str) -> Result<bool, Error> {
        Ok(self.find(Path::new(path))?.is_some())
    }

    /// A field of the base's os-release(5).
    pub(crate) fn os_field(&self, key: &str) -> Result<Option<String>, Error> {
        for path in ["usr/lib/os-release", "etc/os-release"] {
            if let Some(text) = self.read(path)? {
                return Ok(os_release::value(&String::from_utf8_lossy(&text), key));
            }
        }
        Ok(None)
    }
}

/// Whether a tree hides what those below it have at a path that it does not have itself.
fn hides(root: &Path, path: &Path) -> bool {
    path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()).any(|above| {
        let above = root.join(above);
        match fs::symlink_metadata(&above) {
            Ok(found) => !found.is_dir() || is_opaque(&above),
            Err(_) => false,
        }
    })
}

/// Whether a directory hides those below it.
pub(super) fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 1];
    matches!(lgetxattr(path, "trusted.overlay.opaque", &mut value), Ok(1)) && value == *b"y"
}

/// Whether an entry is OverlayFS's mark of a deletion.
pub(super) fn is_whiteout(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == 0
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
