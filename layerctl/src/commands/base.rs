//! `layerctl base import`.

#![expect(clippy::disallowed_methods, reason = "tells a directory from an image")]

use std::path::Path;

use layers::layout::UNPUBLISHED;
use layers::manifest::{ANY_ARCHITECTURE, Kind, Manifest};
use layers::plan::change::{self, ImageFile, NewKernel, Refusal};
use layers::superblock::Format;

use crate::admission::{self, Naming};
use crate::cli::BaseImport;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::kernel::{self, Source};
use crate::os_release;
use crate::packing::{self, Recipe};
use crate::requests;
use crate::signing;
use crate::source::SourceTree;
use crate::trust::Guard;
use crate::work::WorkDirectory;

pub(super) fn import(args: &BaseImport, context: &Context) -> Result<Outcome, Error> {
    let naming = Naming { name: args.naming.name.clone(), version: args.naming.version.clone() };
    let dry_run = args.pointing.writing.dry_run;
    // Lives until the plan has been carried out: image, kernel and initrd are copied from it.
    let mut made: Option<WorkDirectory> = None;
    context.make_generation(dry_run, |store| {
        let work = made.insert(work_directory(store, dry_run)?).path();
        let mut image = if args.input.is_dir() {
            let mut image = pack(context, &args.input, &naming, work)?;
            signing::image::sign_own(context, &mut image)?;
            image
        } else {
            {
                let guard = Guard::of(context, &store.layout)?;
                admission::admit(context, &guard, &store.state, &args.input, Kind::Base, &naming)?
            }
        };
        check_machine(context, &image.manifest)?;
        let tree = args.input.is_dir().then_some(args.input.as_path());
        image.kernel = take_kernel(context, store, &image, tree, args.init.as_deref(), work)?;
        let request = context.request_once(
            format!("base import {}", image.manifest.title()),
            args.pointing.try_once,
        );
        let resolved = requests::for_base(context, store, &image, &args.sources, work)?;
        let resolved = resolved.as_deref();
        Ok(change::import_base(&store.state, &store.layout, &image, resolved, &request)?)
    })
}

/// Takes a base's kernel, if it has one, from its `tree` or its image, and makes the initrd with the program `init`.
pub(super) fn take_kernel(
    context: &Context,
    store: &Store,
    image: &ImageFile,
    tree: Option<&Path>,
    init: Option<&Path>,
    work: &Path,
) -> Result<Option<NewKernel>, Error> {
    let manifest = &image.manifest;
    if manifest.kernels.is_empty() {
        return Ok(None);
    }
    let take = |root: &Path| {
        let source = Source {
            root,
            title: format!("base {}", manifest.title()),
            versions: &manifest.kernels,
            init,
            needed: store.state.boot.is_some(),
        };
        kernel::take(context, &source, work)
    };
    match tree {
        Some(tree) => take(tree),
        None => take(admission::open(&image.path, manifest.format)?.root()),
    }
}

/// A place for what is made of the base: in the store's file system, where cleanup finds it after a crash.
pub(super) fn work_directory(store: &Store, dry_run: bool) -> Result<WorkDirectory, Error> {
    let parent = if dry_run { std::env::temp_dir() } else { store.layout.store() };
    WorkDirectory::in_store(UNPUBLISHED, &parent)
}

fn pack(
    context: &Context,
    directory: &Path,
    naming: &Naming,
    work: &Path,
) -> Result<ImageFile, Error> {
    let tree = SourceTree::open(directory, work)?;
    let os_release = tree.contents.os_release.as_deref().unwrap_or_default();
    let (os_name, os_version) = os_release::name_and_version(os_release);
    let known = |what: &str, typed: &Option<String>, found: Option<String>| {
        typed.clone().or(found).ok_or_else(|| {
            let path = directory.display();
            Refusal::new(
                format!("{path} has no os-release that says its {what}"),
                format!("give it: --{what}"),
            )
        })
    };
    let recipe = Recipe {
        name: known("name", &naming.name, os_name)?.parse()?,
        version: known("version", &naming.version, os_version)?.parse()?,
        kind: Kind::Base,
        architecture: admission::native_architecture(),
        format: Format::Squashfs,
        requires: Vec::new(),
        conflicts: Vec::new(),
        required: false,
        deletes: Vec::new(),
    };
    let path = work.join("image");
    let manifest = packing::pack(context, &tree, recipe, &path)?;
    Ok(ImageFile { path, manifest, signed: None, kernel: None })
}

/// The running system's next base must run on this machine; a disk in another machine's hands may be anything.
pub(super) fn check_machine(context: &Context, manifest: &Manifest) -> Result<(), Refusal> {
    let native = admission::native_architecture();
    let fits = [native.as_str(), ANY_ARCHITECTURE].contains(&manifest.architecture.as_str());
    if fits || !context.is_running_system() {
        return Ok(());
    }
    Err(Refusal::new(
        format!(
            "base {} is for {}, this machine is {native}",
            manifest.title(),
            manifest.architecture
        ),
        "get the base for this machine; for another machine's disk: layerctl --root DIR base import",
    ))
}
