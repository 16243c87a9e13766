//! What is built on, and trees that need no base: found, opened, copied.

#![expect(clippy::disallowed_methods, reason = "looks at images and makes trees")]

use std::path::{Path, PathBuf};

use layers::id::Name;
use layers::manifest::Kind;
use layers::plan::change::{ImageFile, Refusal, State};
use layers::store::{StoreError, stage, tree};

use super::{Base, PutFile, Release, make_directory, put_file, release, tidy};
use crate::admission::{self, Naming};
use crate::archive;
use crate::context::Context;
use crate::error::Error;
use crate::triggers::StackImage;
use crate::trust::Guard;

/// The base that was named, or the one under the generation that a change would start from.
pub(crate) fn base(context: &Context, named: Option<&Path>) -> Result<Base, Error> {
    if let Some(path) = named {
        if path.is_dir() {
            let whole = path.canonicalize().map_err(|error| Error::io("open", path, error))?;
            return Ok(Base::Directory(whole));
        }
        return image(context, path, Kind::Base).map(|image| Base::Image(Box::new(image)));
    }
    let store = context.read().map_err(|error| match error {
        Error::Store(StoreError::Missing(_)) => {
            let what = "packages and scripts need a base, and there is no store to take it from";
            Refusal::new(what, "name one: --base IMAGE|DIR").into()
        }
        other => other,
    })?;
    let base = &store.state.start()?.base;
    let Some(manifest) = store.state.manifests.get(&base.digest) else {
        let what = format!("the store has no base {} {}", base.name, base.version);
        return Err(Refusal::new(what, "name one: --base IMAGE|DIR").into());
    };
    let path = store.layout.image(&base.digest);
    Ok(Base::Image(Box::new(StackImage::new(manifest.clone(), path))))
}

/// The layers that were named.
pub(crate) fn layers(context: &Context, paths: &[PathBuf]) -> Result<Vec<StackImage>, Error> {
    paths.iter().map(|path| image(context, path, Kind::Layer)).collect()
}

fn image(context: &Context, path: &Path, kind: Kind) -> Result<StackImage, Error> {
    let path = path.canonicalize().map_err(|error| Error::io("open", path, error))?;
    let naming = Naming::default();
    let ImageFile { path, manifest, .. } =
        admission::admit(context, &Guard::off(), &State::default(), &path, kind, &naming)?;
    Ok(StackImage::new(manifest, path))
}

/// A directory as it is, or an archive unpacked into `work`.
pub(crate) fn open_tree(
    context: &Context,
    input: &Path,
    work: &Path,
    max_size: Option<u64>,
) -> Result<PathBuf, Error> {
    if input.is_dir() {
        return input.canonicalize().map_err(|error| Error::io("open", input, error));
    }
    let free =
        stage::free(work).map_err(|error| Error::io("ask for free space in", work, error))?;
    let limit = max_size.map_or(free, |max| max.min(free));
    let to = work.join("unpacked");
    let spinner = context.ui.spinner("unpacking");
    archive::unpack(input, &to, context.environment.root, limit)?;
    spinner.finish_and_clear();
    Ok(to)
}

/// Makes a tree of files of this machine alone, in `work`.
pub(crate) fn put_files(
    context: &Context,
    files: &[PutFile],
    work: &Path,
) -> Result<PathBuf, Error> {
    let started = archive::file_time(work)?;
    let tree = work.join("files");
    make_directory(&tree)?;
    files.iter().try_for_each(|file| put_file(file, &tree))?;
    tidy::settle_times(&tree, started, context.environment.epoch)?;
    Ok(tree)
}

/// The tree with the file that says which systems it fits: itself where it has one, else a copy in `work`.
pub(crate) fn with_release(
    context: &Context,
    root: PathBuf,
    name: &Name,
    release: &Release,
    work: &Path,
) -> Result<PathBuf, Error> {
    if release::has(&root, name) {
        return Ok(root);
    }
    let started = archive::file_time(work)?;
    let copy = if root.starts_with(work) {
        root
    } else {
        let copy = work.join("copy");
        tree::copy_tree(&root, &copy, &mut tree::Links::new())?;
        copy
    };
    release::write(&copy, name, release)?;
    tidy::settle_times(&copy, started, context.environment.epoch)?;
    Ok(copy)
}
