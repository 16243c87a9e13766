//! What is built on, and trees that need no base: found, opened, copied.

#![expect(clippy::disallowed_methods, reason = "looks at images and makes trees")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use layers::id::Name;
use layers::manifest::Kind;
use layers::plan::change::{ImageFile, Refusal, State};
use layers::store::{StoreError, stage, tree};

use super::union::{Survey, Union};
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

/// A tree that has the file that says which systems it fits.
pub(crate) struct Complete {
    /// Where it is.
    pub(crate) root: PathBuf,
    /// Where nothing was copied, what shows it there.
    _union: Option<Union>,
}

impl From<PathBuf> for Complete {
    fn from(root: PathBuf) -> Self {
        Self { root, _union: None }
    }
}

/// The tree with the file that says which systems it fits: itself where it has one, else a union with it, or a copy, in
/// `work`. An image of a copy is the same as one of a union.
pub(crate) fn with_release(
    context: &Context,
    root: PathBuf,
    name: &Name,
    release: &Release,
    work: &Path,
) -> Result<Complete, Error> {
    if release::has(&root, name) {
        return Ok(root.into());
    }
    let started = archive::file_time(work)?;
    let epoch = context.environment.epoch;
    if root.starts_with(work) {
        release::write(&root, name, release)?;
        tidy::settle_times(&root, started, epoch)?;
        return Ok(root.into());
    }
    let survey = Survey::of(&root)?;
    let epoch_time = epoch.map(|epoch| SystemTime::UNIX_EPOCH + Duration::from_secs(epoch));
    let limit = epoch_time.unwrap_or(survey.newest);
    // Nothing in it has a time that would have to be another one.
    if survey.plain && survey.newest <= limit && survey.newest < started {
        let lacking = work.join("release");
        make_directory(&lacking)?;
        release::write(&lacking, name, release)?;
        tidy::limit_times(&lacking, limit)?;
        let at = work.join("union");
        if let Some(union) = Union::mount(&root, &lacking, &at) {
            return Ok(Complete { root: at, _union: Some(union) });
        }
    }
    let copy = work.join("copy");
    tree::copy_tree(&root, &copy, &mut tree::Links::new())?;
    let above = release::path(name);
    let mut above = above.ancestors().skip(1).map(|above| copy.join(above));
    let parent = above.find(|above| above.is_dir()).unwrap_or_else(|| copy.clone());
    let failed = |error| Error::io("set the time of", &parent, error);
    let time = fs::metadata(&parent).and_then(|found| found.modified()).map_err(failed)?;
    release::write(&copy, name, release)?;
    File::open(&parent).and_then(|parent| parent.set_modified(time)).map_err(failed)?;
    tidy::settle_times(&copy, started, epoch)?;
    Ok(copy.into())
}
