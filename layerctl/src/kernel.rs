//! The kernel that comes with a base: its file, and an initrd that is built for it.

#![expect(clippy::disallowed_methods, reason = "reads kernels and writes what enters the store")]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use layers::kernel::{Blob, Kernel};
use layers::plan::change::{NewKernel, Refusal};
use layers::store::stage;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::context::Context;
use crate::error::Error;
use crate::initramfs::{self, Request};

/// Where the static init program lies, in a base and on the machine.
const INIT: &str = "usr/lib/layerctl/layers-init";

/// What a base without an initrd goes without.
const LESS: &str = "its generations get no kernel and no boot entry";

/// What a kernel is taken from.
pub(crate) struct Source<'a> {
    /// The base's tree.
    pub(crate) root: &'a Path,
    /// What people call it.
    pub(crate) title: String,
    /// Kernels whose modules it has.
    pub(crate) versions: &'a [String],
    /// An init program to take in place of the base's own.
    pub(crate) init: Option<&'a Path>,
    /// Whether a boot partition waits for it.
    pub(crate) needed: bool,
}

/// Takes the newest kernel of a base and builds its initrd, both as files below `work`; nothing where the base has none, or
/// no init program is there to build with.
pub(crate) fn take(
    context: &Context,
    source: &Source<'_>,
    work: &Path,
) -> Result<Option<NewKernel>, Error> {
    let Some((version, mut file)) = newest(source)? else {
        return Ok(None);
    };
    let Some(init) = init(source) else {
        return without_init(context, source).map(|()| None);
    };
    let trust = context.trust_for_initrd()?;
    let spinner = context.ui.spinner("building the initrd");
    let built = build(source.root, init, &version, trust);
    spinner.finish_and_clear();
    let bytes = match built {
        Ok(bytes) => bytes,
        Err(error @ initramfs::Error::Read { .. }) => return Err(error.into()),
        Err(error) if source.needed => return Err(error.into()),
        Err(error) => {
            let title = &source.title;
            context.ui.warn(&format!(
                "no initrd can be built for the kernel of {title}: {error}; {LESS}"
            ));
            return Ok(None);
        }
    };
    let (linux, initrd) = (work.join("kernel"), work.join("initrd"));
    let mut copy = File::create(&linux).map_err(|error| Error::io("create", &linux, error))?;
    io::copy(&mut file, &mut copy).map_err(|error| Error::io("write", &linux, error))?;
    fs::write(&initrd, &bytes).map_err(|error| Error::io("write", &initrd, error))?;
    let kernel = Kernel { version, linux: blob(&linux)?, initrd: blob(&initrd)? };
    Ok(Some(NewKernel { kernel, linux, initrd }))
}

/// The initrd for all that the kernel can deal with.
fn build(
    root: &Path,
    init: PathBuf,
    version: &str,
    trust: Option<String>,
) -> Result<Vec<u8>, initramfs::Error> {
    initramfs::build(&Request {
        init,
        modules_from: root.to_owned(),
        kernel: Some(version.to_owned()),
        roles: initramfs::possible_roles(root, Some(version))?,
        shell: None,
        trust,
    })
}

fn blob(path: &Path) -> Result<Blob, Error> {
    let metadata = fs::metadata(path).map_err(|error| Error::io("read", path, error))?;
    Ok(Blob { digest: stage::hash(path, &mut |_| {})?, size: metadata.len() })
}

/// The newest version whose kernel is there, opened.
fn newest(source: &Source<'_>) -> Result<Option<(String, File)>, Error> {
    let mut versions: Vec<&String> = source.versions.iter().collect();
    versions.sort_by(|a, b| layers::kernel::compare_releases(b, a));
    for version in versions {
        if let Some((_, file)) = open(source.root, version)? {
            return Ok(Some((version.clone(), file)));
        }
    }
    Ok(None)
}

/// Opens a tree's kernel of this version, and tells its path; nothing where the tree has it not.
pub(crate) fn open(root: &Path, version: &str) -> Result<Option<(PathBuf, File)>, Error> {
    for path in [format!("usr/lib/modules/{version}/vmlinuz"), format!("boot/vmlinuz-{version}")] {
        let full = root.join(&path);
        match open_inside(root, &path) {
            Ok(file) => return Ok(Some((full, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("open", &full, error)),
        }
    }
    Ok(None)
}

/// Opens a file of a tree. A link in it means what it means once the tree is the root (openat2(2), `RESOLVE_IN_ROOT`).
fn open_inside(root: &Path, path: &str) -> io::Result<File> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, root, directory, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file: File =
        rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?.into();
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file"));
    }
    Ok(file)
}

fn init(source: &Source<'_>) -> Option<PathBuf> {
    let named = source.init.map(Path::to_owned);
    let present = |root: &Path| {
        let path = root.join(INIT);
        fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()).then_some(path)
    };
    named.or_else(|| present(source.root)).or_else(|| present(Path::new("/")))
}

/// A base with a kernel that nothing can start: no matter where the kernel comes from elsewhere.
fn without_init(context: &Context, source: &Source<'_>) -> Result<(), Error> {
    let what = format!(
        "no initrd can be built for the kernel of {}: neither the base nor this machine has /{INIT}",
        source.title
    );
    if source.needed {
        let hint = "name the program: layerctl base import --init FILE …";
        return Err(Refusal::new(what, hint).into());
    }
    context.ui.warn(&format!("{what}; {LESS}"));
    Ok(())
}
