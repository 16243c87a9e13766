//! Builds the initramfs: init, the kernel modules that the wanted roles need, and the list that tells init when to load
//! them. The same input always gives the same bytes.
//!
//! ```text
//! depmod's files → Index ┐
//! roles                  ┴→ select (pure) → Selection → plan (pure) → entries → cpio → zstd
//! ```

#![expect(clippy::disallowed_methods, reason = "reads programs and modules")]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

mod cpio;
mod elf;
mod index;
mod plan;
mod role;
mod select;
mod unpack;

pub(crate) use role::{Role, UnknownRole};

use elf::Program;
use index::{Index, Texts};
use plan::{Content, Entry};

// A tenth more bytes than level 19 makes, in a tenth of its time: each import of a base builds an initrd.
const ZSTD_LEVEL: i32 = 12;

/// What to build.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The static init program.
    pub(crate) init: PathBuf,
    /// The root of the tree whose usr/lib/modules or lib/modules has the kernel's modules.
    pub(crate) modules_from: PathBuf,
    /// The kernel version; nothing where the tree has but one.
    pub(crate) kernel: Option<String>,
    /// What the initramfs must be able to deal with, beside the stack of images.
    pub(crate) roles: Vec<Role>,
    /// A static shell for `layers.onfail=shell`; nothing for none.
    pub(crate) shell: Option<PathBuf>,
    /// The trust file's text; without it nothing has to be signed.
    pub(crate) trust: Option<String>,
}

/// Why no initramfs was built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The tree holds no kernel modules.
    #[error(
        "{tree} has no kernel modules: neither usr/lib/modules/VERSION nor lib/modules/VERSION is there"
    )]
    NoKernel {
        /// The tree.
        tree: PathBuf,
    },
    /// The tree holds modules for several kernels and none was named.
    #[error("{tree} has modules for several kernels; name one of {}", .versions.join(", "))]
    SeveralKernels {
        /// The tree.
        tree: PathBuf,
        /// The versions.
        versions: Vec<String>,
    },
    /// The tree holds no modules for the kernel that was named.
    #[error("{tree} has no modules for kernel {kernel}; it has {}", .versions.join(", "))]
    OtherKernels {
        /// The tree.
        tree: PathBuf,
        /// The version that was asked for.
        kernel: String,
        /// Those that are there.
        versions: Vec<String>,
    },
    /// depmod was not run on the tree.
    #[error("{path} is missing: run depmod -b TREE {kernel} first")]
    NoIndex {
        /// The file.
        path: PathBuf,
        /// The kernel version.
        kernel: String,
    },
    /// The kernel lacks something.
    #[error(transparent)]
    Lacking(#[from] select::Lacking),
    /// A module's file is damaged.
    #[error("cannot uncompress {path}: {source}")]
    Unpack {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program would not start without libraries.
    #[error("{path} is not a static program, and an initramfs has no libraries: {why}")]
    NotStatic {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: &'static str,
    },
    /// A file does not fit into the archive.
    #[error(transparent)]
    TooLong(#[from] cpio::TooLong),
    /// zstd failed.
    #[error("cannot compress the initramfs: {0}")]
    Compress(io::Error),
}

/// Builds the initramfs; the bytes are a zstd-compressed cpio archive (kernels with CONFIG_RD_ZSTD).
pub(crate) fn build(request: &Request) -> Result<Vec<u8>, Error> {
    let kernel = find_kernel(&request.modules_from, request.kernel.as_deref())?;
    let index = kernel.index()?;
    let selection = select::select(&kernel.version, &index, &request.roles)?;
    let shell = request.shell.as_deref();
    let mut archive = cpio::Archive::default();
    for entry in
        plan::plan(&request.init, shell, request.trust.as_deref(), &kernel.directory, &selection)
    {
        let kind = load(&entry)?;
        archive.append(&entry.path, entry.permissions, &kind)?;
    }
    zstd::bulk::compress(&archive.finish(), ZSTD_LEVEL).map_err(Error::Compress)
}

/// The roles that the tree's kernel can fill: what to build for where nobody says.
pub(crate) fn possible_roles(tree: &Path, kernel: Option<&str>) -> Result<Vec<Role>, Error> {
    let index = find_kernel(tree, kernel)?.index()?;
    Ok(Role::ALL.into_iter().filter(|&role| select::has(&index, role)).collect())
}

/// The version of the kernel that the tree has modules for: the one that is named, or the only one.
pub(crate) fn kernel_version(tree: &Path, kernel: Option<&str>) -> Result<String, Error> {
    Ok(find_kernel(tree, kernel)?.version)
}

/// A kernel's modules in a tree.
struct Kernel {
    version: String,
    directory: PathBuf,
}

impl Kernel {
    fn index(&self) -> Result<Index, Error> {
        let dep = self.directory.join("modules.dep");
        if !dep.exists() {
            return Err(Error::NoIndex { path: dep, kernel: self.version.clone() });
        }
        let text = |name: &str| read_text(&self.directory.join(name));
        Ok(Index::parse(Texts {
            dep: &text("modules.dep")?,
            builtin: &text("modules.builtin")?,
            alias: &text("modules.alias")?,
            softdep: &text("modules.softdep")?,
        }))
    }
}

fn find_kernel(tree: &Path, wanted: Option<&str>) -> Result<Kernel, Error> {
    let mut kernels = Vec::new();
    for place in ["usr/lib/modules", "lib/modules"] {
        let directory = tree.join(place);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(|source| Error::Read { path: directory.clone(), source })?,
        };
        for entry in entries {
            let entry = entry.map_err(|source| Error::Read { path: directory.clone(), source })?;
            let version = entry.file_name().to_string_lossy().into_owned();
            kernels.push(Kernel { version, directory: entry.path() });
        }
    }
    // With lib a link to usr/lib, both places are the same.
    kernels.sort_by(|a, b| a.version.cmp(&b.version));
    kernels.dedup_by(|a, b| a.version == b.version);
    let tree = tree.to_owned();
    let versions = || kernels.iter().map(|kernel| kernel.version.clone()).collect();
    let index = match wanted {
        Some(wanted) => kernels.iter().position(|kernel| kernel.version == wanted),
        None if kernels.len() == 1 => Some(0),
        None if kernels.is_empty() => return Err(Error::NoKernel { tree }),
        None => return Err(Error::SeveralKernels { tree, versions: versions() }),
    };
    match (index, wanted) {
        (Some(index), _) => Ok(kernels.swap_remove(index)),
        (None, wanted) => {
            let kernel = wanted.unwrap_or_default().to_owned();
            Err(Error::OtherKernels { tree, kernel, versions: versions() })
        }
    }
}

fn load(entry: &Entry) -> Result<cpio::Kind, Error> {
    Ok(match &entry.content {
        Content::Directory => cpio::Kind::Directory,
        Content::CharacterDevice(major, minor) => cpio::Kind::CharacterDevice(*major, *minor),
        Content::Text(text) => cpio::Kind::File(text.clone().into_bytes()),
        Content::Program(path) => {
            let bytes = read(path)?;
            let why = match elf::program(&bytes) {
                Program::Static => return Ok(cpio::Kind::File(bytes)),
                Program::Dynamic => "it asks for a dynamic linker",
                Program::Unknown => "it is no 64-bit ELF file",
            };
            return Err(Error::NotStatic { path: path.clone(), why });
        }
        Content::Module(path) => {
            let unpacked = unpack::unpack(&path.to_string_lossy(), read(path)?);
            let unpacked = unpacked.map_err(|source| Error::Unpack { path: path.clone(), source });
            cpio::Kind::File(unpacked?)
        }
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

// modules.softdep and modules.builtin are not written by every depmod; without them there is nothing to tell.
fn read_text(path: &Path) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.map_err(|source| Error::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
