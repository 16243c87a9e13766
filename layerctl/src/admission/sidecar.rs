//! What lies beside an image file: its manifest, and the signatures over that.

#![expect(clippy::disallowed_methods, reason = "reads what is beside an image")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use layers::manifest::Manifest;
use layers::plan::change::Refusal;
use layers::store::read;
use layers::superblock::Superblock;
use layers::trust::{Document, SignedManifest, Verify};

use super::{Naming, sidecar_path};
use crate::error::Error;
use crate::trust::{self, Guard};

/// An image's description, as a file or a server gave it: what is signed is the text, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sidecar {
    /// What it says.
    pub(crate) manifest: Manifest,
    /// Its text.
    pub(crate) text: String,
    /// The signatures beside it.
    pub(crate) signatures: Option<String>,
}

impl Sidecar {
    /// Reads what is beside an image file; nothing where it has no manifest.
    pub(crate) fn beside(image: &Path) -> Result<Option<Self>, Error> {
        let path = sidecar_path(image);
        let Some(text) = trust::optional(&path).or_else(|error| unreadable(&path, error))? else {
            return Ok(None);
        };
        let manifest = Manifest::parse(&text)
            .map_err(|_| unusable(&path, &read::manifest(&path).err().unwrap_or_default()))?;
        let signatures = trust::optional(&signatures_path(&path))?;
        Ok(Some(Self { manifest, text, signatures }))
    }

    /// One without signatures, of a manifest.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self { manifest: manifest.clone(), text: manifest.to_string(), signatures: None }
    }

    /// What enters the store beside the image, where it is signed for verity.
    pub(crate) fn signed(&self) -> Option<SignedManifest> {
        let signatures = self.signatures.clone().filter(|_| self.manifest.verity.is_some())?;
        Some(SignedManifest { manifest: self.text.clone(), signatures })
    }

    /// The two texts.
    fn document(&self) -> Document<'_> {
        Document { manifest: Some(&self.text), signatures: self.signatures.as_deref() }
    }

    /// Checks who signed it.
    pub(crate) fn check(&self, guard: &Guard, what: &str) -> Result<(), Refusal> {
        guard.check(&what, self.document()).map(drop)
    }
}

/// Checks who signed an image file, before anything is done with its bytes.
pub(super) fn check(guard: &Guard, image: &Path, found: Option<&Sidecar>) -> Result<(), Refusal> {
    let what = image.display().to_string();
    match found {
        Some(sidecar) => sidecar.check(guard, &what),
        None if guard.verify() == Verify::Require => Err(Refusal::new(
            format!("{what} is not signed: it has no manifest beside it"),
            "get the .toml and the .toml.minisig that belong to it",
        )),
        None => Ok(()),
    }
}

fn unreadable(path: &Path, error: Error) -> Result<Option<String>, Error> {
    let Error::Io { source, .. } = &error else { return Err(error) };
    match source.kind() {
        // A file that is no text, or is endless.
        io::ErrorKind::InvalidData => {
            Err(unusable(path, &format!("cannot be read: {source}")).into())
        }
        _ if fs::metadata(path).is_err() => Err(error),
        _ => Err(unusable(path, &format!("cannot be read: {source}")).into()),
    }
}

fn unusable(path: &Path, why: &str) -> Refusal {
    let hint = "build the image again, or move the file away to go by the image's own name";
    Refusal::new(format!("the manifest {} {why}", path.display()), hint)
}

/// Where the signatures over a manifest are: beside it.
pub(crate) fn signatures_path(manifest: &Path) -> PathBuf {
    let mut name = manifest.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// The manifest belongs to this file as far as can be told without reading all of it.
pub(super) fn check_sidecar(
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

/// The command line says nothing else than the manifest.
pub(super) fn check_naming(
    path: &Path,
    naming: &Naming,
    manifest: &Manifest,
) -> Result<(), Refusal> {
    if super::agrees(naming, manifest) {
        return Ok(());
    }
    Err(Refusal::new(
        format!("{} says that it is {}", sidecar_path(path).display(), manifest.title()),
        "leave --name and --version out, or build the image again with them",
    ))
}
