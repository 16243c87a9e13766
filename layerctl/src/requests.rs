//! Requests to the base's package manager, resolved for a base: each becomes a layer that is built on this machine.

#![expect(clippy::disallowed_methods, reason = "makes directories to build in")]

use std::fs;
use std::path::{Path, PathBuf};

use layers::config;
use layers::id::Digest;
use layers::intent::Intent;
use layers::plan::change::{self, ImageFile, Refusal, Resolved};

use crate::build::{self, Built, PackagesRequest, build_packages};
use crate::cli::PackageSources;
use crate::context::{Context, Store};
use crate::error::Error;
use crate::signing;
use crate::triggers::StackImage;

/// What the package manager is given for all requests of one change.
pub(crate) struct Resolver<'a> {
    context: &'a Context,
    /// The base that they are resolved for.
    base: StackImage,
    /// The layers that override it, bottom first.
    overrides: Vec<StackImage>,
    sources: Option<PathBuf>,
    cache: Option<PathBuf>,
    /// Where layers are built.
    work: &'a Path,
}

impl<'a> Resolver<'a> {
    /// A resolver for `base`; what the command line says of sources wins over the configuration.
    pub(crate) fn new(
        context: &'a Context,
        base: StackImage,
        typed: &PackageSources,
        configured: &config::Packages,
        work: &'a Path,
    ) -> Self {
        Self {
            context,
            base,
            overrides: Vec::new(),
            sources: typed.sources.clone().or_else(|| configured.sources.clone()),
            cache: typed.cache.clone().or_else(|| configured.cache.clone()),
            work,
        }
    }

    /// Resolves all requests: overrides first, since packages are built on what they leave of the base.
    pub(crate) fn all(
        &mut self,
        store: &Store,
        intents: &[Intent],
        files: &[(Digest, PathBuf)],
    ) -> Result<Vec<Resolved>, Error> {
        let mut resolved: Vec<Option<Resolved>> = intents.iter().map(|_| None).collect();
        for overrides in [true, false] {
            for (intent, place) in intents.iter().zip(&mut resolved) {
                if intent.is_override() == overrides {
                    *place = Some(self.one(store, intent, files)?);
                }
            }
        }
        Ok(resolved.into_iter().flatten().collect())
    }

    /// Builds on the overrides that a generation has, without building them again.
    pub(crate) fn on_overrides_of(
        &mut self,
        store: &Store,
        intents: &[Intent],
    ) -> Result<(), Error> {
        let start = store.state.start()?;
        for layer in &start.layers {
            let is_its = |intent: &&Intent| intent.layer().is_ok_and(|name| name == layer.name);
            if intents.iter().filter(|intent| intent.is_override()).any(|it| is_its(&it)) {
                self.overrides.push(stored(store, &layer.digest)?);
            }
        }
        Ok(())
    }

    /// Resolves one request.
    pub(crate) fn one(
        &mut self,
        store: &Store,
        intent: &Intent,
        files: &[(Digest, PathBuf)],
    ) -> Result<Resolved, Error> {
        let name = intent.layer()?;
        let mut request = PackagesRequest::on_base(build::Base::Image(Box::new(self.base.clone())));
        request.name = Some(name.clone());
        request.on.clone_from(&self.overrides);
        request.sources.clone_from(&self.sources);
        request.cache.clone_from(&self.cache);
        let mut package = None;
        match intent {
            Intent::Packages { packages, .. } => request.wanted.packages.clone_from(packages),
            Intent::Remove { package } => {
                request.wanted.remove.push(package.clone());
                // What is not there has no version; it is not there in this base.
                request.version = Some(self.base.manifest.version.clone());
            }
            Intent::Replace { file, .. } => {
                let arriving = files.iter().find(|(digest, _)| digest == file);
                let path = arriving.map(|(_, path)| path.clone());
                if let Some(path) = &path {
                    package = Some((path.clone(), length(path)?));
                }
                request.wanted.files.push(path.unwrap_or_else(|| store.layout.package_file(file)));
            }
        }
        let work = self.work.join(name.as_str());
        fs::create_dir_all(&work).map_err(|error| Error::io("create", &work, error))?;
        match build_packages(self.context, &request, &work)? {
            Built::Image(mut image) => {
                signing::image::sign_own(self.context, &mut image)?;
                if intent.is_override() {
                    self.overrides.push(new(&image));
                }
                Ok(Resolved { intent: active(intent), image: Some(*image), package })
            }
            Built::Satisfied(why) => match intent {
                Intent::Packages { layer, packages, .. } => {
                    let (layer, packages) = (layer.clone(), packages.clone());
                    let inactive = Some(format!("the base has {why}"));
                    let intent = Intent::Packages { layer, packages, inactive };
                    Ok(Resolved { intent, image: None, package })
                }
                Intent::Remove { .. } | Intent::Replace { .. } => {
                    Ok(Resolved { intent: intent.clone(), image: None, package })
                }
            },
        }
    }
}

fn active(intent: &Intent) -> Intent {
    match intent.clone() {
        Intent::Packages { layer, packages, .. } => {
            Intent::Packages { layer, packages, inactive: None }
        }
        other => other,
    }
}

fn length(path: &Path) -> Result<u64, Error> {
    let metadata = fs::metadata(path).map_err(|error| Error::io("read", path, error))?;
    Ok(metadata.len())
}

/// An image that is to enter the store.
pub(crate) fn new(image: &ImageFile) -> StackImage {
    StackImage::new(image.manifest.clone(), image.path.clone())
}

/// An image of the store.
pub(crate) fn stored(store: &Store, digest: &Digest) -> Result<StackImage, Refusal> {
    let manifest = store.state.manifests.get(digest).ok_or_else(|| StackImage::lost(digest))?;
    Ok(StackImage::new(manifest.clone(), store.layout.image(digest)))
}

/// Resolves all requests of the generation that a change starts from anew; none where nothing is asked for.
pub(crate) fn for_present_base(
    context: &Context,
    store: &Store,
    typed: &PackageSources,
    work: &Path,
) -> Result<Option<Vec<Resolved>>, Error> {
    let base = stored(store, &store.state.start()?.base.digest)?;
    of_all(context, store, base, typed, work)
}

/// Resolves all requests of the generation that a change starts from for a new base; none where nothing is asked for.
pub(crate) fn for_base(
    context: &Context,
    store: &Store,
    base: &ImageFile,
    typed: &PackageSources,
    work: &Path,
) -> Result<Option<Vec<Resolved>>, Error> {
    of_all(context, store, new(base), typed, work)
}

fn of_all(
    context: &Context,
    store: &Store,
    base: StackImage,
    typed: &PackageSources,
    work: &Path,
) -> Result<Option<Vec<Resolved>>, Error> {
    let Ok(start) = store.state.start() else { return Ok(None) };
    let intents = change::intents(start)?;
    if intents.is_empty() {
        return Ok(None);
    }
    let configured = context.config()?.map(|file| file.config.packages).unwrap_or_default();
    let mut resolver = Resolver::new(context, base, typed, &configured, work);
    resolver.all(store, &intents, &[]).map(Some)
}
