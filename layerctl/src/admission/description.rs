//! The description of an image that has no manifest: from its file's name, its partition and its files.

use std::path::Path;

use layers::id::{Digest, Name, Version};
use layers::manifest::{ANY_ARCHITECTURE, Kind, Manifest};
use layers::plan::change::Refusal;
use layers::store::inspect::Contents;
use layers::superblock::Format;

use super::{Naming, kernels, marks_good, os, scan};
use crate::context::Context;
use crate::describe::{self, Identity};
use crate::error::Error;
use crate::file_name::{FileName, NO_VERSION};
use crate::os_release;

/// What is mounted or unpacked, and what it holds.
#[derive(Clone, Copy)]
pub(super) struct Root<'a> {
    /// Its top.
    pub(super) path: &'a Path,
    /// What it holds.
    pub(super) contents: &'a Contents,
}

/// The manifest of an image that has none, but for its format, size and digest.
pub(super) fn manifest(
    context: &Context,
    path: &Path,
    root: &Root<'_>,
    kind: Kind,
    naming: &Naming,
    partition: Option<&str>,
) -> Result<Manifest, Error> {
    let Root { path: root, contents } = *root;
    let named = naming.name.as_deref().map(str::parse).transpose()?;
    let described = describe::identity(root, kind, named.as_ref())?;
    let (name, version, architecture) = name(path, kind, naming, contents, &described, partition)?;
    // Length and digest are those of the file, once it is in the store.
    Ok(Manifest {
        architecture,
        format: Format::Squashfs,
        dirs: contents.dirs.clone(),
        kernels: kernels(contents, kind),
        marks_good: marks_good(contents, kind),
        packages: described.packages,
        os: os(contents, kind),
        fits: described.fits,
        links: scan(context, root)?,
        ..Manifest::plain(kind, name, version, Digest::new([0; 32]))
    })
}

/// Name, version and architecture: as told, else by the file's name, for a base else by os-release.
fn name(
    path: &Path,
    kind: Kind,
    naming: &Naming,
    contents: &Contents,
    described: &Identity,
    partition: Option<&str>,
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
    let architecture = architecture(path, described, parts.architecture, partition)?;
    Ok((name.parse()?, version.parse()?, architecture))
}

/// The architecture that an extension-release, a partition's type and a file's name agree on; this machine's where all
/// of them are silent.
fn architecture(
    path: &Path,
    described: &Identity,
    named: Option<&str>,
    partition: Option<&str>,
) -> Result<String, Refusal> {
    let release = described.architecture.as_deref();
    let sources = [
        ("its extension-release", release),
        ("the type of its partition", partition.filter(|_| release != Some(ANY_ARCHITECTURE))),
        ("its name", named),
    ];
    let mut said = sources.into_iter().filter_map(|(source, says)| Some((source, says?)));
    let Some((source, architecture)) = said.next() else { return Ok(native_architecture()) };
    match said.find(|(_, other)| *other != architecture) {
        None => Ok(architecture.to_owned()),
        Some((other, says)) => Err(Refusal::new(
            format!(
                "{} is for {architecture} by {source}, and for {says} by {other}",
                path.display()
            ),
            "get the image again from where it was made",
        )),
    }
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
