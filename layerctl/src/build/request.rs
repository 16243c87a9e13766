//! What a layer is to be built of.

use std::path::PathBuf;

use layers::id::{Name, Version};
use layers::plan::change::ImageFile;
use layers::superblock::Format;

use super::{Release, Wanted};
use crate::sandbox::Lower;
use crate::triggers::StackImage;
use layers::requirement::Requirement;

/// A base to build on.
#[derive(Debug, Clone)]
pub(crate) enum Base {
    /// A directory that holds a system.
    Directory(PathBuf),
    /// An image file.
    Image(Box<StackImage>),
}

impl Base {
    pub(super) fn lower(&self) -> Lower {
        match self {
            Self::Directory(path) => Lower::Directory(path.clone()),
            Self::Image(image) => Lower::Image { path: image.path.clone(), format: image.format },
        }
    }
}

/// What programs of a base make of it: packages are installed, files are put there, scripts are run.
#[derive(Debug, Clone)]
pub(crate) struct PackagesRequest {
    /// The layer's name; the first package's without.
    pub(crate) name: Option<Name>,
    /// Its version; that of the first package without.
    pub(crate) version: Option<Version>,
    /// The packages.
    pub(crate) wanted: Wanted,
    /// Files of this machine.
    pub(crate) files: Vec<PutFile>,
    /// Lines for /bin/sh, one script each, run after all else without the network.
    pub(crate) scripts: Vec<String>,
    /// What it is built on.
    pub(crate) base: Base,
    /// And on which layers, bottom first.
    pub(crate) on: Vec<StackImage>,
    /// A file of sources, in place of the base's own.
    pub(crate) sources: Option<PathBuf>,
    /// Where lists and packages are kept; /var/cache/layerctl without.
    pub(crate) cache: Option<PathBuf>,
    /// Whether nothing is fetched: what the cache has must do.
    pub(crate) offline: bool,
    /// The most bytes that packages may take, by what they declare; the free space without.
    pub(crate) max_size: Option<u64>,
    /// What the manifest says besides.
    pub(crate) about: About,
}

impl PackagesRequest {
    /// A request for nothing yet, on a base.
    pub(crate) fn on_base(base: Base) -> Self {
        Self {
            name: None,
            version: None,
            wanted: Wanted::default(),
            files: Vec::new(),
            scripts: Vec::new(),
            base,
            on: Vec::new(),
            sources: None,
            cache: None,
            offline: false,
            max_size: None,
            about: About::default(),
        }
    }
}

/// What a manifest says that does not come from the files.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    /// The image's file system; EROFS without.
    pub(crate) format: Option<Format>,
    /// Its architecture; this machine's without.
    pub(crate) architecture: Option<String>,
    /// Layers that it needs.
    pub(crate) requires: Vec<Requirement>,
    /// Layers beside which it must not be in one boot.
    pub(crate) conflicts: Vec<Requirement>,
    /// Whether a generation without it must not boot.
    pub(crate) required: bool,
    /// The systems that it fits.
    pub(crate) fits: Option<Release>,
}

/// A file or directory to put into a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PutFile {
    /// Where it is on this machine.
    pub(crate) from: PathBuf,
    /// Where it is in the layer, as an absolute path.
    pub(crate) to: PathBuf,
    /// Its permission bits; those that it has without.
    pub(crate) mode: Option<u32>,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Built {
    /// An image.
    Image(Box<ImageFile>),
    /// Nothing: the base and the layers have all of it, `NAME VERSION, …`.
    Satisfied(String),
}
