//! What an image must be before it may enter a store: an intact superblock, a manifest that tells the truth, a root
//! that everybody can enter, and no deletion that its manifest does not declare.

#![expect(clippy::disallowed_methods, reason = "looks at image files before they are copied")]

use std::fs;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use layers::id::{Digest, Name, Version};
use layers::manifest::{self, Kind, Links, Manifest};
use layers::os::Os;
use layers::plan::change::{ImageFile, Refusal, State};
use layers::store::inspect::{Contents, OpenImage};
use layers::store::{read, stage};
use layers::superblock::{Format, Superblock};

use crate::cli;
use crate::context::Context;
use crate::describe::{self, Identity};
use crate::error::Error;
use crate::file_name::{FileName, NO_VERSION};
use crate::os_release;

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
/// for the same bytes, or one made from the file's name and contents.
pub(crate) fn admit(
    context: &Context,
    state: &State,
    path: &Path,
    kind: Kind,
    naming: &Naming,
) -> Result<ImageFile, Error> {
    let superblock = stage::superblock(path)
        .map_err(|error| Error::io("open", path, error))?
        .map_err(|source| Error::Superblock { path: path.to_owned(), source })?;
    let size = fs::metadata(path).map_err(|error| Error::io("open", path, error))?.len();
    let known = match sidecar(path)? {
        Some(manifest) => {
            check_sidecar(path, &manifest, &superblock, size)?;
            check_naming(path, naming, &manifest)?;
            Some(manifest)
        }
        None => None,
    };
    let digest = match &known {
        Some(manifest) => manifest.digest,
        None => {
            let bar = context.ui.bar("hashing", size);
            stage::hash(path, &mut |bytes| bar.inc(bytes))?
        }
    };
    let stored = state.manifests.get(&digest).filter(|_| state.images.get(&digest) == Some(&size));
    if let Some(stored) = stored
        && known.as_ref().is_none_or(|manifest| manifest == stored)
        && agrees(naming, stored)
    {
        return Ok(ImageFile { path: path.to_owned(), manifest: stored.clone(), kernel: None });
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
            let manifest = manifest(context, path, &image, &contents, kind, naming)?;
            Manifest { format: superblock.format, size, digest, ..manifest }
        }
    };
    check_contents(&what, &contents, manifest.kind, &manifest.deletes)?;
    check_claims(&what, &manifest, &contents)?;
    Ok(ImageFile { path: path.to_owned(), manifest, kernel: None })
}

/// An image file as it is, with all that speaks against it at once.
pub(crate) struct Examined {
    /// Its manifest; where it has none, one without a digest, and with a name and version only where they are known.
    pub(crate) manifest: Manifest,
    /// Why it may not enter a store, apart from what its files are among others.
    pub(crate) refusals: Vec<Refusal>,
}

/// Looks at an image file without a store; it may be a base or a layer.
pub(crate) fn examine(context: &Context, path: &Path, naming: &Naming) -> Result<Examined, Error> {
    let superblock = stage::superblock(path)
        .map_err(|error| Error::io("open", path, error))?
        .map_err(|source| Error::Superblock { path: path.to_owned(), source })?;
    let size = fs::metadata(path).map_err(|error| Error::io("open", path, error))?.len();
    let image = open(path, superblock.format)?;
    let contents = look_inside(context, &image)?;
    let what = path.display().to_string();
    let mut refusals = Vec::new();
    let manifest = match sidecar(path)? {
        Some(manifest) => {
            refusals.extend(check_sidecar(path, &manifest, &superblock, size).err());
            let described = describe::identity(image.root(), manifest.kind, Some(&manifest.name))?;
            refusals.extend(check_described(&what, &manifest, &contents, &described).err());
            refusals.extend(check_claims(&what, &manifest, &contents).err());
            manifest
        }
        None => {
            let kind = kind(&contents);
            let unknown = Naming { name: Some("image".to_owned()), version: Some("0".to_owned()) };
            let of = |naming| manifest(context, path, &image, &contents, kind, naming);
            let mut manifest = of(naming).or_else(|_| of(&unknown))?;
            (manifest.format, manifest.size) = (superblock.format, size);
            manifest
        }
    };
    refusals.extend(match manifest.kind {
        Kind::Base => check_contents(&what, &contents, manifest.kind, &manifest.deletes).err(),
        Kind::Layer | Kind::Trigger => check_absent(&what, &contents, &manifest.deletes).err(),
    });
    Ok(Examined { manifest, refusals })
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

fn sidecar(image: &Path) -> Result<Option<Manifest>, Error> {
    let path = sidecar_path(image);
    match fs::metadata(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", &path, error)),
    }
    let manifest = read::manifest(&path).map_err(|why| {
        let hint = "build the image again, or move the file away to go by the image's own name";
        Refusal::new(format!("the manifest {} {why}", path.display()), hint)
    })?;
    Ok(Some(manifest))
}

/// The manifest belongs to this file as far as can be told without reading all of it.
fn check_sidecar(
    path: &Path,
    manifest: &Manifest,
    superblock: &Superblock,
    size: u64,
) -> Result<(), Refusal> {
    let claim = if manifest.size != size {
        format!("{} bytes, the file has {size}", manifest.size)
    } else if manifest.format != superblock.format {
        format!("{}, the file is {}", manifest.format, superblock.format)
    } else {
        return Ok(());
    };
    Err(Refusal::new(
        format!("{} says {claim}", sidecar_path(path).display()),
        "the image is cut off or the manifest belongs to another one: get or build both again",
    ))
}

fn check_naming(path: &Path, naming: &Naming, manifest: &Manifest) -> Result<(), Refusal> {
    if agrees(naming, manifest) {
        return Ok(());
    }
    Err(Refusal::new(
        format!("{} says that it is {}", sidecar_path(path).display(), manifest.title()),
        "leave --name and --version out, or build the image again with them",
    ))
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

fn scan(context: &Context, image: &OpenImage) -> Result<Links, Error> {
    let spinner = context.ui.spinner("looking at programs and libraries");
    let links = describe::links(image.root())?;
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

/// The manifest of an image that has none, but for its format, size and digest.
fn manifest(
    context: &Context,
    path: &Path,
    image: &OpenImage,
    contents: &Contents,
    kind: Kind,
    naming: &Naming,
) -> Result<Manifest, Error> {
    let named = naming.name.as_deref().map(str::parse).transpose()?;
    let described = describe::identity(image.root(), kind, named.as_ref())?;
    let (name, version, architecture) = name(path, kind, naming, contents, &described)?;
    Ok(Manifest {
        schema: manifest::SCHEMA,
        name,
        version,
        kind,
        architecture,
        format: Format::Squashfs,
        size: 0,
        digest: Digest::new([0; 32]),
        dirs: contents.dirs.clone(),
        kernels: kernels(contents, kind),
        marks_good: marks_good(contents, kind),
        requires: Vec::new(),
        required: false,
        deletes: Vec::new(),
        conflicts: Vec::new(),
        packages: described.packages,
        os: os(contents, kind),
        fits: described.fits,
        links: scan(context, image)?,
    })
}

/// Name, version and architecture: as told, else by the file's name, for a base else by os-release.
fn name(
    path: &Path,
    kind: Kind,
    naming: &Naming,
    contents: &Contents,
    described: &Identity,
) -> Result<(Name, Version, String), Error> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut parts = FileName::parse(&stem, described.name.as_deref());
    let (os_name, os_version) = match (&contents.os_release, kind) {
        (Some(text), Kind::Base) => os_release::name_and_version(text),
        _ => (None, None),
    };
    if parts.name.is_none() {
        parts = FileName {
            name: os_name.as_deref(),
            version: os_version.as_deref(),
            architecture: None,
        };
    }
    let version = parts.version.or(described.version.as_deref());
    // An extension need not have a version of its own.
    let version = version.or_else(|| described.name.as_ref().map(|_| NO_VERSION));
    let name = naming.name.as_deref().or(parts.name).or(described.name.as_deref());
    let version = naming.version.as_deref().or(version);
    let (Some(name), Some(version)) = (name, version) else {
        let what = format!(
            "{} has no manifest beside it and is not named NAME_VERSION.img, so its name and version are unknown",
            path.display()
        );
        let hint = "give them: --name NAME --version VERSION; or make it with layerctl build";
        return Err(Refusal::new(what, hint).into());
    };
    let architecture = match (&described.architecture, parts.architecture) {
        (Some(says), Some(named)) if says != named => {
            let what = format!(
                "{} is for {named} by its name, and for {says} by its extension-release",
                path.display()
            );
            return Err(Refusal::new(what, "get the image again from where it was made").into());
        }
        (Some(architecture), _) => architecture.clone(),
        (None, Some(architecture)) => architecture.to_owned(),
        (None, None) => native_architecture(),
    };
    Ok((name.parse()?, version.parse()?, architecture))
}

/// This machine's architecture as systemd names it (systemd.unit(5), ConditionArchitecture=).
pub(crate) fn native_architecture() -> String {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64-le",
        other => other,
    }
    .to_owned()
}

/// The kernels that an image's manifest lists: a base's own.
pub(crate) fn kernels(contents: &Contents, kind: Kind) -> Vec<String> {
    match kind {
        Kind::Base => contents.kernels.clone(),
        Kind::Layer | Kind::Trigger => Vec::new(),
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
    if contents.root_mode & 0o005 != 0o005 {
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
        Kind::Layer | Kind::Trigger => Ok(()),
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
