//! What an image must be before it may enter a store: an intact superblock, a manifest that tells the truth, a root
//! that everybody can enter, and no deletion that its manifest does not declare.

#![expect(clippy::disallowed_methods, reason = "looks at image files before they are copied")]

use std::fs;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use layers::exec::HostError;
use layers::id::Digest;
use layers::manifest::{Kind, Links, Manifest};
use layers::os::Os;
use layers::plan::change::{ImageFile, Refusal, State};
use layers::store::inspect::{Contents, OpenImage};
use layers::store::stage;
use layers::superblock::{Format, Superblock, SuperblockError};
use layers::trust::Verify;

use crate::cli;
use crate::context::Context;
use crate::describe::{self, Identity};
use crate::disk::{self, Content, Taken};
use crate::error::Error;
use crate::packing::{self, Recipe};
use crate::source::SourceTree;
use crate::trust::Guard;

mod description;
mod sidecar;

pub(crate) use description::native_architecture;
use description::{Root, manifest};
pub(crate) use sidecar::{Sidecar, signatures_path};
use sidecar::{check_naming, check_sidecar};

/// Directories that a base must have, since its root is read-only: what is mounted there, now or by systemd.
const MOUNT_POINTS: [&str; 8] = ["dev", "etc", "home", "proc", "run", "sys", "tmp", "var"];

/// The most paths that a message lists.
const LISTED: usize = 5;

/// Name and version as the command line gives them, for an image that has no manifest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Naming {
    /// `--name`.
    pub(crate) name: Option<String>,
    /// `--version`.
    pub(crate) version: Option<String>,
}

impl From<&cli::Naming> for Naming {
    fn from(typed: &cli::Naming) -> Self {
        Self { name: typed.name.clone(), version: typed.version.clone() }
    }
}

/// Looks at the image file at `path` and gives it with its manifest: the one beside it, the one that the store has
/// for the same bytes, or one made from the file's name and contents. Of a disk image it takes the partition that has the
/// files; the path that it gives is then another one. Whether it is signed as `guard` asks comes before all else; what is
/// copied afterwards has the digest that was signed, whatever becomes of the file.
pub(crate) fn admit(
    context: &Context,
    guard: &Guard,
    state: &State,
    path: &Path,
    kind: Kind,
    naming: &Naming,
) -> Result<ImageFile, Error> {
    let mut found = Sidecar::beside(path);
    if guard.verify() != Verify::Off {
        let read = found?;
        sidecar::check(guard, path, read.as_ref())?;
        found = Ok(read);
    }
    match superblock(context, path)? {
        Opened::Image(superblock) => {
            admit_image(context, state, path, kind, naming, superblock, found?)
        }
        // A signature over its manifest says nothing of the files that are taken out of it.
        Opened::Disk(_) if guard.verify() == Verify::Require => {
            let what = format!("{} is a disk image: what is in it is not signed", path.display());
            let hint = "make a layer of its files, and sign that: layerctl build, layerctl sign";
            Err(Refusal::new(what, hint).into())
        }
        Opened::Disk(taken) => admit_disk(context, path, kind, naming, taken),
    }
}

/// What a file turned out to be.
enum Opened {
    /// An image.
    Image(Superblock),
    /// A disk image.
    Disk(Taken),
}

fn superblock(context: &Context, path: &Path) -> Result<Opened, Error> {
    let failed = |error| Error::io("open", path, error);
    let source = match stage::superblock(path).map_err(failed)? {
        Ok(superblock) => return Ok(Opened::Image(superblock)),
        Err(source) => source,
    };
    // Not a pipe, which nobody may ever write to.
    if source == SuperblockError::Unknown
        && fs::metadata(path).map_err(failed)?.is_file()
        && let Some(taken) = disk::take(context, path)?
    {
        return Ok(Opened::Disk(taken));
    }
    Err(Error::Superblock { path: path.to_owned(), source })
}

/// A disk image is taken for what is in its partition; a manifest beside it would be about other bytes.
fn admit_disk(
    context: &Context,
    path: &Path,
    kind: Kind,
    naming: &Naming,
    taken: Taken,
) -> Result<ImageFile, Error> {
    let what = path.display().to_string();
    let Taken { content, architecture, work } = taken;
    let (tree, format) = match content {
        Content::Tree { path, format } => (path, format),
        Content::Image { path: inner, superblock, verity } => {
            let image = open(&inner, superblock.format)?;
            let contents = look_inside(context, &image)?;
            if lets_users_in(&contents) {
                let root = Root { path: image.root(), contents: &contents };
                let manifest = manifest(context, path, &root, kind, naming, Some(architecture))?;
                check_contents(&what, &contents, kind, &manifest.deletes)?;
                let (size, digest) = hash(context, &inner)?;
                let format = superblock.format;
                let manifest = Manifest { format, size, digest, verity, ..manifest };
                return Ok(ImageFile { path: inner, manifest, signed: None, kernel: None });
            }
            // systemd-sysext never shows an extension's root directory, so nobody has looked at its mode.
            context.ui.warn(&format!(
                "the root directory in {what} has mode {:04o}: it is packed anew with 0755",
                contents.root_mode
            ));
            (disk::unpack(context, &image, &work)?, superblock.format)
        }
    };
    let tree = SourceTree::open(&tree, &work)?;
    let root = Root { path: &tree.root, contents: &tree.contents };
    let found = manifest(context, path, &root, kind, naming, Some(architecture))?;
    let image = work.join("image");
    let manifest = packing::pack(context, &tree, Recipe::like(found, format), &image)?;
    Ok(ImageFile { path: image, manifest, signed: None, kernel: None })
}

fn lets_users_in(contents: &Contents) -> bool {
    contents.root_mode & 0o005 == 0o005
}

/// The length and the digest of a file.
fn hash(context: &Context, path: &Path) -> Result<(u64, Digest), Error> {
    let size = fs::metadata(path).map_err(|error| Error::io("open", path, error))?.len();
    let bar = context.ui.bar("hashing", size);
    Ok((size, stage::hash(path, &mut |bytes| bar.inc(bytes))?))
}

fn admit_image(
    context: &Context,
    state: &State,
    path: &Path,
    kind: Kind,
    naming: &Naming,
    superblock: Superblock,
    found: Option<Sidecar>,
) -> Result<ImageFile, Error> {
    let size = fs::metadata(path).map_err(|error| Error::io("open", path, error))?.len();
    if let Some(Sidecar { manifest, .. }) = &found {
        check_sidecar(path, manifest, &superblock, size)?;
        check_naming(path, naming, manifest)?;
    }
    let signed = found.as_ref().and_then(Sidecar::signed);
    let known = found.map(|sidecar| sidecar.manifest);
    let digest = match &known {
        Some(manifest) => manifest.digest,
        None => hash(context, path)?.1,
    };
    let stored = state.manifests.get(&digest).filter(|_| state.images.get(&digest) == Some(&size));
    if let Some(stored) = stored
        && known.as_ref().is_none_or(|manifest| manifest == stored)
        && agrees(naming, stored)
    {
        let manifest = stored.clone();
        return Ok(ImageFile { path: path.to_owned(), manifest, signed, kernel: None });
    }
    // Where a signature says which bytes they are, the kernel is not to look at others.
    if signed.is_some() {
        let is = hash(context, path)?.1;
        if is != digest {
            return Err(HostError::Digest { path: path.to_owned(), is, want: digest }.into());
        }
    }
    let image = open(path, superblock.format)?;
    let contents = look_inside(context, &image)?;
    let what = path.display().to_string();
    let manifest = match known {
        Some(manifest) => {
            let described = describe::identity(image.root(), manifest.kind, Some(&manifest.name))?;
            check_described(&what, &manifest, &contents, &described)?;
            manifest
        }
        None => {
            let root = Root { path: image.root(), contents: &contents };
            let manifest = manifest(context, path, &root, kind, naming, None)?;
            Manifest { format: superblock.format, size, digest, ..manifest }
        }
    };
    check_contents(&what, &contents, manifest.kind, &manifest.deletes)?;
    check_claims(&what, &manifest, &contents)?;
    Ok(ImageFile { path: path.to_owned(), manifest, signed, kernel: None })
}

/// An image file as it is, with all that speaks against it at once.
pub(crate) struct Examined {
    /// Where the image is: the file itself, or what was taken out of it.
    pub(crate) path: PathBuf,
    /// Its manifest; where it has none, one without a digest, and with a name and version only where they are known.
    pub(crate) manifest: Manifest,
    /// Why it may not enter a store, apart from what its files are among others.
    pub(crate) refusals: Vec<Refusal>,
}

/// Looks at an image file without a store; it may be a base or a layer, or be in a disk image.
pub(crate) fn examine(context: &Context, path: &Path, naming: &Naming) -> Result<Examined, Error> {
    let superblock = match superblock(context, path)? {
        Opened::Image(superblock) => superblock,
        Opened::Disk(taken) => {
            let ImageFile { path, manifest, .. } =
                admit_disk(context, path, Kind::Layer, naming, taken)?;
            return Ok(Examined { path, manifest, refusals: Vec::new() });
        }
    };
    let size = fs::metadata(path).map_err(|error| Error::io("open", path, error))?.len();
    let image = open(path, superblock.format)?;
    let contents = look_inside(context, &image)?;
    let what = path.display().to_string();
    let mut refusals = Vec::new();
    let manifest = match Sidecar::beside(path)? {
        Some(Sidecar { manifest, .. }) => {
            refusals.extend(check_sidecar(path, &manifest, &superblock, size).err());
            let described = describe::identity(image.root(), manifest.kind, Some(&manifest.name))?;
            refusals.extend(check_described(&what, &manifest, &contents, &described).err());
            refusals.extend(check_claims(&what, &manifest, &contents).err());
            manifest
        }
        None => {
            let kind = kind(&contents);
            let root = Root { path: image.root(), contents: &contents };
            let unknown = Naming { name: Some("image".to_owned()), version: Some("0".to_owned()) };
            let of = |naming| manifest(context, path, &root, kind, naming, None);
            let mut manifest = of(naming).or_else(|_| of(&unknown))?;
            (manifest.format, manifest.size) = (superblock.format, size);
            manifest
        }
    };
    refusals.extend(match manifest.kind {
        Kind::Base => check_contents(&what, &contents, manifest.kind, &manifest.deletes).err(),
        Kind::Layer | Kind::Trigger | Kind::Index => {
            check_absent(&what, &contents, &manifest.deletes).err()
        }
    });
    Ok(Examined { path: path.to_owned(), manifest, refusals })
}

/// What an image without a manifest is for.
fn kind(contents: &Contents) -> Kind {
    let whole = MOUNT_POINTS.iter().all(|name| contents.directories.contains(*name));
    if whole && contents.init { Kind::Base } else { Kind::Layer }
}

/// Where the manifest of an image file lies: beside it, ending in `.toml`.
pub(crate) fn sidecar_path(image: &Path) -> PathBuf {
    image.with_extension("toml")
}

/// Whether the command line says nothing else than the manifest.
fn agrees(naming: &Naming, manifest: &Manifest) -> bool {
    let same = |asked: &Option<String>, has: &str| asked.as_ref().is_none_or(|asked| asked == has);
    same(&naming.name, manifest.name.as_str()) && same(&naming.version, manifest.version.as_str())
}

fn look_inside(context: &Context, image: &OpenImage) -> Result<Contents, Error> {
    let spinner = context.ui.spinner("looking into the image");
    let contents = image.contents()?;
    spinner.finish_and_clear();
    Ok(contents)
}

fn scan(context: &Context, root: &Path) -> Result<Links, Error> {
    let spinner = context.ui.spinner("looking at programs and libraries");
    let links = describe::links(root)?;
    spinner.finish_and_clear();
    Ok(links)
}

/// Mounts an image where only this process sees it.
pub(crate) fn open(path: &Path, format: Format) -> Result<OpenImage, Error> {
    // Without it the kernel refuses in words that help nobody.
    let capability = Capability::CAP_SYS_ADMIN;
    if !caps::has_cap(None, CapSet::Effective, capability).unwrap_or(true) {
        return Err(Error::Capability { purpose: "looking into an image", capability });
    }
    Ok(OpenImage::open(path, format)?)
}

/// The kernels that an image's manifest lists: a base's own.
pub(crate) fn kernels(contents: &Contents, kind: Kind) -> Vec<String> {
    match kind {
        Kind::Base => contents.kernels.clone(),
        Kind::Layer | Kind::Trigger | Kind::Index => Vec::new(),
    }
}

/// Whether a base marks its boots good; a layer's unit does not count, since the base alone may boot.
pub(crate) fn marks_good(contents: &Contents, kind: Kind) -> bool {
    kind == Kind::Base && contents.marks_good
}

/// The system that a base is.
pub(crate) fn os(contents: &Contents, kind: Kind) -> Option<Os> {
    contents.os_release.as_deref().filter(|_| kind == Kind::Base).map(Os::parse)
}

/// Checks what an image, or the tree `what` that becomes one, holds.
pub(crate) fn check_contents(
    what: &str,
    contents: &Contents,
    kind: Kind,
    declared: &[String],
) -> Result<(), Refusal> {
    if !lets_users_in(contents) {
        return Err(Refusal::new(
            format!(
                "the root directory of {what} has mode {:04o}: it would lock every user out of the whole system",
                contents.root_mode
            ),
            "chmod 755 the directory that it is made from, and build it again",
        ));
    }
    check_deletes(what, contents, declared)?;
    match kind {
        Kind::Base => check_base(what, contents),
        Kind::Layer | Kind::Trigger | Kind::Index => Ok(()),
    }
}

fn check_deletes(what: &str, contents: &Contents, declared: &[String]) -> Result<(), Refusal> {
    let undeclared: Vec<&str> = missing_in(declared, &contents.deletes);
    if !undeclared.is_empty() {
        let flags = undeclared.join(",");
        let hint = if undeclared.len() > LISTED {
            "remove these marks from the tree, or build it with --deletes and their paths"
                .to_owned()
        } else {
            format!("remove the marks from the tree, or build it with --deletes {flags}")
        };
        return Err(Refusal::new(
            format!(
                "{what} has whiteouts or opaque directories, which delete what is below them: {}",
                list(&undeclared)
            ),
            hint,
        ));
    }
    check_absent(what, contents, declared)
}

fn check_absent(what: &str, contents: &Contents, declared: &[String]) -> Result<(), Refusal> {
    let absent = missing_in(&contents.deletes, declared);
    if absent.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        format!("{what} has no whiteout and no opaque directory at {}", list(&absent)),
        "declare only the paths that it deletes",
    ))
}

/// Those of `paths` that `among` does not have.
fn missing_in<'a>(among: &[String], paths: &'a [String]) -> Vec<&'a str> {
    paths.iter().filter(|path| !among.contains(path)).map(String::as_str).collect()
}

fn list(paths: &[&str]) -> String {
    let shown: Vec<&str> = paths.iter().take(LISTED).copied().collect();
    match paths.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn check_base(what: &str, contents: &Contents) -> Result<(), Refusal> {
    let missing: Vec<&str> =
        MOUNT_POINTS.into_iter().filter(|name| !contents.directories.contains(*name)).collect();
    if !missing.is_empty() {
        return Err(Refusal::new(
            format!("{what} is no base: it has no directory {}", missing.join(", ")),
            "a base holds a whole system; for a layer: layerctl install",
        ));
    }
    if !contents.init {
        return Err(Refusal::new(
            format!("{what} is no base: it has neither /sbin/init nor /usr/lib/systemd/systemd"),
            "install an init system in the tree that it is made from",
        ));
    }
    Ok(())
}

/// A manifest that says something else than the image would make a generation that mounts the wrong directories.
fn check_claims(what: &str, manifest: &Manifest, contents: &Contents) -> Result<(), Refusal> {
    let differs = |key: &str, says: &[String], has: &[String]| {
        Refusal::new(
            format!(
                "the manifest of {what} says {key} = [{}], the image has [{}]",
                says.join(", "),
                has.join(", ")
            ),
            "build the image again: layerctl build writes its manifest",
        )
    };
    if manifest.dirs != contents.dirs {
        return Err(differs("dirs", &manifest.dirs, &contents.dirs));
    }
    let kernels = kernels(contents, manifest.kind);
    if manifest.kernels != kernels {
        return Err(differs("kernels", &manifest.kernels, &kernels));
    }
    let marks_good = marks_good(contents, manifest.kind);
    if manifest.marks_good != marks_good {
        let text = |value: bool| [value.to_string()];
        return Err(differs("marks_good", &text(manifest.marks_good), &text(marks_good)));
    }
    Ok(())
}

/// What a manifest says of systems and packages is what the image says; one that says nothing was written before
/// manifests did. Its libraries are taken on trust: they only serve to warn early.
fn check_described(
    what: &str,
    manifest: &Manifest,
    contents: &Contents,
    described: &Identity,
) -> Result<(), Refusal> {
    let os = os(contents, manifest.kind);
    let wrong = if manifest.os.is_some() && manifest.os != os {
        "the system that it is"
    } else if manifest.fits.is_some() && manifest.fits != described.fits {
        "the systems that it fits"
    } else if !manifest.packages.is_empty() && manifest.packages != described.packages {
        "its packages"
    } else {
        return Ok(());
    };
    Err(Refusal::new(
        format!("the manifest of {what} and the image itself differ in {wrong}"),
        "build the image again: layerctl build writes its manifest",
    ))
}
