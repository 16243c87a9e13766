//! Images on their way from a server into the store: downloaded, looked into, published.

use std::path::{Path, PathBuf};

use layers::id::{Digest, Name};
use layers::layout::Layout;
use layers::manifest::{Kind, Manifest};
use layers::plan::Plan;
use layers::plan::change::{self, ImageFile, Refusal, State};
use layers::store::{publish, stage};
use layers::trust::Verify;

use super::client::Client;
use super::definition::make_directory;
use super::delta::Older;
use super::download::{Wanted, download};
use super::error::RepoError;
use super::location::Location;
use super::refresh::{self, Offer, Text};
use super::sums;
use crate::admission::{self, Naming, Sidecar, signatures_path};
use crate::context::Context;
use crate::error::Error;
use crate::resolve::Candidate;
use crate::trust::Guard;

/// The name of an image whose manifest says all that there is to know.
const IMAGE: &str = "image.img";

/// The longest manifest that is downloaded, in bytes.
const MANIFEST_MAX: u64 = 16 << 20;

/// The longest file of signatures that is downloaded, in bytes.
const SIGNATURES_MAX: u64 = 64 << 10;

/// What brings images in.
pub(crate) struct Fetcher<'a> {
    /// The terminal.
    pub(crate) context: &'a Context,
    /// The client.
    pub(crate) client: &'a Client,
    /// Who may have signed them.
    pub(crate) guard: &'a Guard,
    /// The store that they enter, as images that no generation names yet.
    pub(crate) layout: &'a Layout,
    /// Where they go instead for a dry run: a directory that is gone when the command ends.
    pub(crate) temporary: Option<&'a Path>,
}

impl Fetcher<'_> {
    /// The image that a choice fell on, brought in where it is not in the store.
    pub(crate) fn candidate(
        &self,
        state: &mut State,
        candidate: Candidate<'_>,
        kind: Kind,
    ) -> Result<ImageFile, Error> {
        match candidate {
            Candidate::Stored(manifest) => Ok(self.stored(state, manifest.clone())),
            Candidate::Offered(offer) => self.offer(state, offer, kind),
        }
    }

    /// Brings an offered image in, unless the store has it; `state` then has it as well. What the index does not tell
    /// is taken to be of `kind`.
    fn offer(&self, state: &mut State, offer: &Offer, kind: Kind) -> Result<ImageFile, Error> {
        let entry = &offer.entry;
        if let Some(stored) = self.known(state, &entry.digest) {
            return Ok(stored);
        }
        // What is signed is checked before a byte of the image is asked for.
        let sidecar = match &entry.manifest {
            Some(told) => Some(self.described(&offer.location, told)?),
            None => self.beside(&offer.location)?,
        };
        if let Some(sidecar) = &sidecar
            && state.is_whole(&entry.digest)
            && sidecar.manifest.digest == entry.digest
        {
            return self.sign_stored(state, sidecar);
        }
        let directory = self.directory(&entry.digest);
        let title = entry.title();
        let kind = entry.kind.unwrap_or(kind);
        let older = self.older(state, &entry.name, kind, entry.manifest.as_ref());
        let wanted = Wanted {
            from: &offer.location,
            size: entry.size,
            digest: Some(entry.digest),
            title: &title,
            older: older.as_ref(),
        };
        let name = offer.location.file_name().unwrap_or_else(|| IMAGE.to_owned());
        let naming = Naming::default();
        self.bring(state, &directory, &wanted, &name, sidecar.as_ref(), kind, &naming)
    }

    /// Brings the layer's image at a URL in, with the manifest that is beside it, if one is.
    pub(crate) fn url(
        &self,
        state: &mut State,
        from: &Location,
        naming: &Naming,
    ) -> Result<ImageFile, Error> {
        let sidecar = self.beside(from)?;
        let manifest = sidecar.as_ref().map(|sidecar| &sidecar.manifest);
        if let Some(manifest) = manifest
            && state.manifests.get(&manifest.digest) == Some(manifest)
            && let Some(stored) = self.known(state, &manifest.digest)
        {
            return Ok(stored);
        }
        let name = from.file_name().ok_or_else(|| {
            Refusal::new(format!("{from} names no file"), "give the URL of an image file")
        })?;
        let directory = self.directory(&stage::digest(from.to_string().as_bytes()));
        let older = manifest
            .and_then(|manifest| self.older(state, &manifest.name, manifest.kind, Some(manifest)));
        let wanted = Wanted {
            from,
            size: manifest.map(|manifest| manifest.size),
            digest: manifest.map(|manifest| manifest.digest),
            title: &name,
            older: older.as_ref(),
        };
        self.bring(state, &directory, &wanted, &name, sidecar.as_ref(), Kind::Layer, naming)
    }

    /// The manifest beside an image that an index describes as `told`, with its signatures; where nothing is asked of those and
    /// nobody says that there are any, the index is as good.
    fn described(&self, image: &Location, told: &Manifest) -> Result<Sidecar, Error> {
        if self.guard.verify() == Verify::Off && told.verity.is_none() {
            return Ok(Sidecar::of(told));
        }
        match self.beside(image)? {
            Some(sidecar) if sidecar.manifest == *told => Ok(sidecar),
            Some(_) => {
                let what =
                    format!("the manifest beside {image} is not the one that the index tells");
                let hint = "the repository is being changed, or somebody puts parts of two together: type the command again later";
                Err(Refusal::new(what, hint).into())
            }
            None => {
                let sidecar = Sidecar::of(told);
                sidecar.check(self.guard, &image.to_string())?;
                Ok(sidecar)
            }
        }
    }

    /// The manifest beside an image and the signatures over it, checked.
    fn beside(&self, image: &Location) -> Result<Option<Sidecar>, Error> {
        let from = image.with_ending("toml");
        let Some(text) = self.text(&from, MANIFEST_MAX)? else {
            if self.guard.verify() == Verify::Require {
                let what = format!("{image} is not signed: it has no manifest beside it");
                let hint = "whoever runs the server can mend it: layerctl sign";
                return Err(Refusal::new(what, hint).into());
            }
            return Ok(None);
        };
        let manifest = Manifest::parse(&text).map_err(|error| {
            let hint = "whoever runs the server can mend it: layerctl build makes both";
            Refusal::new(format!("the manifest {from} {error}"), hint)
        })?;
        let signatures = match self.guard.verify() {
            Verify::Off if manifest.verity.is_none() => None,
            _ => self.text(&image.with_ending("toml.minisig"), SIGNATURES_MAX)?,
        };
        let sidecar = Sidecar { manifest, text, signatures };
        sidecar.check(self.guard, &image.to_string())?;
        Ok(Some(sidecar))
    }

    fn text(&self, from: &Location, limit: u64) -> Result<Option<String>, Error> {
        Ok(match refresh::text(self.client, from, None, limit)? {
            Text::New { text, .. } => Some(text),
            Text::Missing | Text::Unchanged => None,
        })
    }

    /// The store's own image of that digest, where it is whole and nothing has to be asked for.
    fn known(&self, state: &State, digest: &Digest) -> Option<ImageFile> {
        let manifest = state.manifests.get(digest).filter(|_| state.is_whole(digest))?;
        let enough = self.guard.verify() != Verify::Require || state.signed.contains_key(digest);
        enough.then(|| self.stored(state, manifest.clone()))
    }

    /// The store's image that is likely to have most of a new one: of its name and kind, and of its format where the `new`
    /// one's is known, the newest.
    fn older(
        &self,
        state: &State,
        name: &Name,
        kind: Kind,
        new: Option<&Manifest>,
    ) -> Option<Older> {
        let alike = |manifest: &&Manifest| {
            manifest.name == *name
                && manifest.kind == kind
                && new.is_none_or(|new| new.format == manifest.format)
                && state.is_whole(&manifest.digest)
        };
        let alike = state.manifests.values().filter(alike);
        let newest = alike.max_by(|a, b| a.version.compare(&b.version))?;
        Some(Older { path: self.layout.image(&newest.digest), title: newest.title() })
    }

    /// Puts a signature beside an image that is in the store without one.
    fn sign_stored(&self, state: &mut State, sidecar: &Sidecar) -> Result<ImageFile, Error> {
        let path = self.layout.image(&sidecar.manifest.digest);
        let (manifest, signed) = (sidecar.manifest.clone(), sidecar.signed());
        self.describe(state, ImageFile { path, manifest, signed, kernel: None })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what offers and URLs have in common, straight through"
    )]
    fn bring(
        &self,
        state: &mut State,
        directory: &Path,
        wanted: &Wanted<'_>,
        name: &str,
        sidecar: Option<&Sidecar>,
        kind: Kind,
        naming: &Naming,
    ) -> Result<ImageFile, Error> {
        make_directory(directory)?;
        let name = if sidecar.is_some() || !is_image(name) { IMAGE } else { name };
        let file = directory.join(name);
        let result = download(self.client, &self.context.ui, wanted, &file).and_then(|digest| {
            if let Some(sidecar) = sidecar {
                write_beside(&file, sidecar)?;
            }
            let image = admission::admit(self.context, self.guard, state, &file, kind, naming)?;
            check_digest(wanted, &image, &file, digest)?;
            self.enter(state, image, &file)
        });
        let kept = matches!(&result, Err(Error::Repository(error)) if error.keeps_part());
        if !kept && self.temporary.is_none() {
            // What cannot be removed here, cleanup removes.
            let _ = publish::remove_any(directory);
        }
        result
    }

    /// Publishes an image that is as it should be.
    fn enter(&self, state: &mut State, image: ImageFile, file: &Path) -> Result<ImageFile, Error> {
        let digest = image.manifest.digest;
        let mut path = image.path.clone();
        if self.temporary.is_none() {
            path = self.layout.image(&digest);
            if state.images.get(&digest) == Some(&image.manifest.size) {
                log::debug!("{} is in the store already", image.manifest.title());
            } else if image.path == file {
                publish::rename(file, &path).map_err(|error| Error::io("publish", &path, error))?;
            } else {
                stage::copy(&image.path, &path, &digest, &mut |_| {})?;
            }
        }
        state.images.insert(digest, image.manifest.size);
        self.describe(state, ImageFile { path, ..image })
    }

    /// Puts manifest, signatures and hash tree beside an image that is in the store.
    fn describe(&self, state: &mut State, image: ImageFile) -> Result<ImageFile, Error> {
        let digest = image.manifest.digest;
        if self.temporary.is_none() {
            let ops = change::stage(state, self.layout, &image);
            self.context.execute(&Plan { ops }, self.layout)?;
        }
        if image.manifest.verity.is_some() {
            state.trees.insert(digest);
        }
        state.manifests.insert(digest, image.manifest.clone());
        if let Some(signed) = &image.signed {
            state.signed.insert(digest, signed.clone());
        }
        Ok(image)
    }

    fn stored(&self, state: &State, manifest: Manifest) -> ImageFile {
        let path = self.layout.image(&manifest.digest);
        let signed = state.signed.get(&manifest.digest).cloned();
        ImageFile { path, manifest, signed, kernel: None }
    }

    fn directory(&self, key: &Digest) -> PathBuf {
        match self.temporary {
            None => self.layout.download(key),
            Some(path) => path.join(key.to_string()),
        }
    }
}

/// Writes what a server gave beside a downloaded image, as it gave it.
fn write_beside(file: &Path, sidecar: &Sidecar) -> Result<(), Error> {
    let path = admission::sidecar_path(file);
    let failed = |error| Error::io("write", &path, error);
    publish::file(&path, &sidecar.text).map_err(failed)?;
    let beside = signatures_path(&path);
    match &sidecar.signatures {
        Some(signatures) => publish::file(&beside, signatures).map_err(failed),
        None => publish::remove_any(&beside).map_err(failed),
    }
}

/// Tells with an error of images that came into the store for a change that is not made; `before` is how many it had.
pub(crate) fn told(error: Error, before: usize, state: &State) -> Error {
    match state.images.len() > before {
        true => Error::Downloaded { source: Box::new(error) },
        false => error,
    }
}

/// Whether a file's name may tell an image's name and version.
fn is_image(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| sums::ENDINGS.contains(&ending))
}

/// An image that was taken as it is has the digest that was hashed on the way; one that was in a disk image has its own.
fn check_digest(
    wanted: &Wanted<'_>,
    image: &ImageFile,
    file: &Path,
    is: Digest,
) -> Result<(), Error> {
    let want = image.manifest.digest;
    if image.path != file || want == is {
        return Ok(());
    }
    Err(RepoError::Digest { url: wanted.from.to_string(), is, want }.into())
}
