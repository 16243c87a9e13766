//! Images on their way from a server into the store: downloaded, looked into, published.

use std::path::{Path, PathBuf};

use layers::id::Digest;
use layers::layout::Layout;
use layers::manifest::{Kind, Manifest};
use layers::plan::change::{ImageFile, Refusal, State};
use layers::store::{publish, stage};

use super::client::Client;
use super::definition::make_directory;
use super::download::{Wanted, download};
use super::error::RepoError;
use super::location::Location;
use super::refresh::{self, Offer, Text};
use super::sums;
use crate::admission::{self, Naming};
use crate::context::Context;
use crate::error::Error;
use crate::resolve::Candidate;

/// The name of an image whose manifest says all that there is to know.
const IMAGE: &str = "image.img";

/// What brings images in.
pub(crate) struct Fetcher<'a> {
    /// The terminal.
    pub(crate) context: &'a Context,
    /// The client.
    pub(crate) client: &'a Client,
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
            Candidate::Stored(manifest) => Ok(self.stored(manifest.clone())),
            Candidate::Offered(offer) => self.offer(state, offer, kind),
        }
    }

    /// Brings an offered image in, unless the store has it; `state` then has it as well. What the index does not tell
    /// is taken to be of `kind`.
    fn offer(&self, state: &mut State, offer: &Offer, kind: Kind) -> Result<ImageFile, Error> {
        let entry = &offer.entry;
        if let Some(manifest) = state.manifests.get(&entry.digest)
            && state.is_whole(&entry.digest)
        {
            return Ok(self.stored(manifest.clone()));
        }
        let directory = self.directory(&entry.digest);
        let title = entry.title();
        let wanted = Wanted {
            from: &offer.location,
            size: entry.size,
            digest: Some(entry.digest),
            title: &title,
        };
        let name = offer.location.file_name().unwrap_or_else(|| IMAGE.to_owned());
        let kind = entry.kind.unwrap_or(kind);
        let naming = Naming::default();
        self.bring(state, &directory, &wanted, &name, entry.manifest.as_ref(), kind, &naming)
    }

    /// Brings the layer's image at a URL in, with the manifest that is beside it, if one is.
    pub(crate) fn url(
        &self,
        state: &mut State,
        from: &Location,
        naming: &Naming,
    ) -> Result<ImageFile, Error> {
        let manifest = self.manifest_beside(from)?;
        if let Some(manifest) = &manifest
            && state.manifests.get(&manifest.digest) == Some(manifest)
            && state.is_whole(&manifest.digest)
        {
            return Ok(self.stored(manifest.clone()));
        }
        let name = from.file_name().ok_or_else(|| {
            Refusal::new(format!("{from} names no file"), "give the URL of an image file")
        })?;
        let directory = self.directory(&stage::digest(from.to_string().as_bytes()));
        let wanted = Wanted {
            from,
            size: manifest.as_ref().map(|manifest| manifest.size),
            digest: manifest.as_ref().map(|manifest| manifest.digest),
            title: &name,
        };
        self.bring(state, &directory, &wanted, &name, manifest.as_ref(), Kind::Layer, naming)
    }

    fn manifest_beside(&self, image: &Location) -> Result<Option<Manifest>, Error> {
        let from = image.with_ending("toml");
        match refresh::text(self.client, &from, None)? {
            Text::New { text, .. } => {
                let read = Manifest::parse(&text).map_err(|error| {
                    let hint = "whoever runs the server can mend it: layerctl build makes both";
                    Refusal::new(format!("the manifest {from} {error}"), hint)
                });
                Ok(Some(read?))
            }
            Text::Missing | Text::Unchanged => Ok(None),
        }
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
        manifest: Option<&Manifest>,
        kind: Kind,
        naming: &Naming,
    ) -> Result<ImageFile, Error> {
        make_directory(directory)?;
        let name = if manifest.is_some() || !is_image(name) { IMAGE } else { name };
        let file = directory.join(name);
        let result = download(self.client, &self.context.ui, wanted, &file).and_then(|digest| {
            if let Some(manifest) = manifest {
                let path = admission::sidecar_path(&file);
                publish::file(&path, &manifest.to_string())
                    .map_err(|error| Error::io("write", &path, error))?;
            }
            let image = admission::admit(self.context, state, &file, kind, naming)?;
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
            let beside = self.layout.manifest(&digest);
            publish::file(&beside, &image.manifest.to_string())
                .map_err(|error| Error::io("write", &beside, error))?;
        }
        state.images.insert(digest, image.manifest.size);
        state.manifests.insert(digest, image.manifest.clone());
        Ok(ImageFile { path, ..image })
    }

    fn stored(&self, manifest: Manifest) -> ImageFile {
        let path = self.layout.image(&manifest.digest);
        ImageFile { path, manifest, signed: None, kernel: None }
    }

    fn directory(&self, key: &Digest) -> PathBuf {
        match self.temporary {
            None => self.layout.download(key),
            Some(path) => path.join(key.to_string()),
        }
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
