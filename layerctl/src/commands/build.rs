//! `layerctl build`.

#![expect(clippy::disallowed_methods, reason = "writes image and manifest")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use layers::manifest::Kind;
use layers::plan::change::Refusal;
use layers::requirement::Requirement;
use layers::store::publish;
use layers::superblock::Format;

use crate::admission::{native_architecture, sidecar_path};
use crate::archive;
use crate::cli::Build;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::packing::{self, Recipe};
use crate::source::SourceTree;
use crate::work::{Holds, WorkDirectory};

pub(super) fn run(args: &Build, context: &Context) -> Result<Outcome, Error> {
    let recipe = recipe(args)?;
    let output = absolute(&args.output)?;
    let directory = output_directory(args)?;
    if args.writing.dry_run {
        return dry_run(args, context, &recipe);
    }
    let work = WorkDirectory::new(".layerctl-build-", &directory, Holds::Files)?;
    let tree = SourceTree::open(context, &args.input, work.path())?;
    let image = work.path().join("image");
    let manifest = packing::pack(context, &tree, recipe, &image)?;

    let sidecar = work.path().join("manifest");
    fs::write(&sidecar, manifest.to_string())
        .map_err(|error| Error::io("write", &sidecar, error))?;
    for path in [&image, &sidecar] {
        File::open(path)
            .and_then(|file| file.sync_all())
            .map_err(|error| Error::io("flush", path, error))?;
    }
    let put = |from: &Path, to: &Path| {
        publish::rename(from, to).map_err(|error| Error::io("write", to, error))
    };
    let described = sidecar_path(&output);
    let half = |error| Error::HalfBuilt { source: Box::new(error) };
    put(&image, &output).map_err(|error| if error.is_unsettled() { half(error) } else { error })?;
    put(&sidecar, &described).map_err(half)?;
    context.ui.say(&format!(
        "built {}: {} {}, {} bytes, SHA-256 {}",
        args.output.display(),
        manifest.kind,
        manifest.title(),
        manifest.size,
        manifest.digest
    ));
    Ok(Outcome::Done)
}

fn recipe(args: &Build) -> Result<Recipe, Error> {
    let kind = Kind::from(args.kind);
    let format = args.format.map_or(
        match kind {
            Kind::Layer | Kind::Trigger => Format::Erofs,
            Kind::Base => Format::Squashfs,
        },
        Format::from,
    );
    Ok(Recipe {
        name: args.name.parse()?,
        version: args.version.parse()?,
        kind,
        architecture: args.architecture.clone().unwrap_or_else(native_architecture),
        format,
        requires: requirements(&args.requires)?,
        conflicts: requirements(&args.conflicts)?,
        required: args.required,
        deletes: args.deletes.clone(),
    })
}

fn requirements(texts: &[String]) -> Result<Vec<Requirement>, Error> {
    Ok(texts.iter().map(|text| text.trim().parse()).collect::<Result<_, _>>()?)
}

/// The directory that the image will be in: it must be there, and not in the tree that the image is made from.
fn output_directory(args: &Build) -> Result<PathBuf, Error> {
    if args.output.extension().is_some_and(|extension| extension == "toml") {
        let what = format!("{} is the manifest's name, not an image's", args.output.display());
        return Err(Refusal::new(what, "end it in .img: -o FILE.img").into());
    }
    let output = absolute(&args.output)?;
    let parent = output.parent().unwrap_or(Path::new("/"));
    let directory = parent.canonicalize().map_err(|error| Error::io("open", parent, error))?;
    let input = args.input.canonicalize().map_err(|error| Error::io("open", &args.input, error))?;
    if input.is_dir() && directory.starts_with(&input) {
        let what = format!("{} lies in the tree that it is made from", args.output.display());
        return Err(Refusal::new(what, "write it to another directory: -o DIR/FILE.img").into());
    }
    Ok(directory)
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| Error::io("open", path, error))
}

fn dry_run(args: &Build, context: &Context, recipe: &Recipe) -> Result<Outcome, Error> {
    let input = args.input.display();
    let mut plan = String::new();
    if !args.input.is_dir() {
        archive::check(&args.input)?;
        plan += &format!("unpack {input}\n");
    }
    plan += &format!("pack {input} as {} {}\n", recipe.format, args.output.display());
    plan += &format!("write {}\n", sidecar_path(&args.output).display());
    context.ui.data(plan)?;
    Ok(Outcome::Done)
}
