//! `layerctl build`.

#![expect(clippy::disallowed_methods, reason = "writes image and manifest")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use layers::id::{Name, Version};
use layers::manifest::{Kind, Manifest};
use layers::plan::change::{ImageFile, Refusal};
use layers::requirement::Requirement;
use layers::store::publish;
use layers::superblock::Format;

use crate::admission::{native_architecture, sidecar_path};
use crate::archive;
use crate::build::{
    self, About, Built, Input, PackagesRequest, PutFile, RecipeFile, Release, Wanted,
};
use crate::cli::Build;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::packing::{self, Recipe};
use crate::source::SourceTree;
use crate::work::{Holds, WorkDirectory};

pub(super) fn run(args: &Build, context: &Context) -> Result<Outcome, Error> {
    let job = Job::new(args)?;
    let directory = output_directory(args)?;
    if args.writing.dry_run {
        return dry_run(args, context, &job);
    }
    let work = WorkDirectory::new(".layerctl-build-", &directory, Holds::Files)?;
    let image = match job.make(args, context, work.path())? {
        Built::Image(image) => *image,
        Built::Satisfied(packages) => {
            context.ui.say(&format!("the base has {packages}: there is nothing to build"));
            return Ok(Outcome::Unchanged);
        }
    };
    let output = match &args.output {
        Some(output) => output.clone(),
        None => format!("{}_{}.img", image.manifest.name, image.manifest.version).into(),
    };
    publish_image(&image, &absolute(&output)?, work.path())?;
    let manifest = &image.manifest;
    context.ui.say(&format!(
        "built {}: {} {}, {} bytes, SHA-256 {}",
        output.display(),
        manifest.kind,
        manifest.title(),
        manifest.size,
        manifest.digest
    ));
    Ok(Outcome::Done)
}

/// Puts image and manifest to their places.
fn publish_image(image: &ImageFile, output: &Path, work: &Path) -> Result<(), Error> {
    let sidecar = work.join("manifest");
    fs::write(&sidecar, image.manifest.to_string())
        .map_err(|error| Error::io("write", &sidecar, error))?;
    for path in [&image.path, &sidecar] {
        File::open(path)
            .and_then(|file| file.sync_all())
            .map_err(|error| Error::io("flush", path, error))?;
    }
    let put = |from: &Path, to: &Path| {
        publish::rename(from, to).map_err(|error| Error::io("write", to, error))
    };
    let described = sidecar_path(output);
    let half = |error| Error::HalfBuilt { source: Box::new(error) };
    put(&image.path, output)
        .map_err(|error| if error.is_unsettled() { half(error) } else { error })?;
    put(&sidecar, &described).map_err(half)
}

/// What the command line and a recipe ask for.
struct Job {
    name: Option<Name>,
    version: Option<Version>,
    kind: Kind,
    deletes: Vec<String>,
    source: Source,
    about: About,
    base: Option<PathBuf>,
    on: Vec<PathBuf>,
    sources: Option<PathBuf>,
}

enum Source {
    /// A directory or an archive.
    Tree(PathBuf),
    /// Files of a recipe.
    Files(Vec<PutFile>),
    /// What a base's programs make.
    Packages { wanted: Wanted, files: Vec<PutFile>, scripts: Vec<String> },
}

impl Job {
    fn new(args: &Build) -> Result<Self, Error> {
        let (recipe, source) = match Input::of(&args.inputs, &args.packages)? {
            Input::Tree(path) => (RecipeFile::default(), Source::Tree(path)),
            Input::Packages(wanted) => {
                let source = Source::Packages { wanted, files: Vec::new(), scripts: Vec::new() };
                (RecipeFile::default(), source)
            }
            Input::Recipe(path) => from_recipe(&path)?,
        };
        let fits = args.fits.as_ref().or(recipe.fits.as_ref());
        let requirements = |typed: &[String], said: Vec<Requirement>| -> Result<_, Error> {
            if typed.is_empty() { Ok(said) } else { requirements(typed) }
        };
        let on = if args.on.is_empty() { recipe.on } else { args.on.clone() };
        let job = Self {
            name: args.name.as_deref().map(str::parse).transpose()?.or(recipe.name),
            version: args.version.as_deref().map(str::parse).transpose()?.or(recipe.version),
            kind: Kind::from(args.kind),
            deletes: args.deletes.clone(),
            source,
            about: About {
                format: args.format.map(Format::from).or(recipe.format),
                architecture: args.architecture.clone().or(recipe.architecture),
                requires: requirements(&args.requires, recipe.requires)?,
                conflicts: requirements(&args.conflicts, recipe.conflicts)?,
                required: args.required || recipe.required,
                fits: fits.map(|typed| Release::parse(typed)).transpose()?,
            },
            base: args.base.clone().or(recipe.base),
            on,
            sources: args.sources.clone().or(recipe.sources),
        };
        job.check()?;
        Ok(job)
    }

    /// What packages tell of themselves, other input has to be given.
    fn check(&self) -> Result<(), Refusal> {
        let what = match &self.source {
            Source::Packages { .. } if self.kind == Kind::Base => {
                let what = "packages make a layer, not a base";
                return Err(Refusal::new(what, "build a base from a directory: --kind base DIR"));
            }
            Source::Packages { .. } => return Ok(()),
            Source::Tree(_) | Source::Files(_) => match (&self.name, &self.version) {
                (None, _) => "name",
                (_, None) => "version",
                _ => return Ok(()),
            },
        };
        Err(Refusal::new(format!("the image needs a {what}"), format!("give it: --{what}")))
    }

    fn make(self, args: &Build, context: &Context, work: &Path) -> Result<Built, Error> {
        match self.source {
            Source::Packages { wanted, files, scripts } => {
                let request = PackagesRequest {
                    name: self.name,
                    version: self.version,
                    wanted,
                    files,
                    scripts,
                    on: build::layers(context, &self.on)?,
                    sources: self.sources,
                    cache: args.cache.clone(),
                    offline: args.offline,
                    max_size: args.max_size,
                    about: self.about,
                    ..PackagesRequest::on_base(build::base(context, self.base.as_deref())?)
                };
                build::build_packages(context, &request, work)
            }
            Source::Tree(ref path) => {
                let tree = build::open_tree(context, path, work, args.max_size)?;
                let name = path.display().to_string();
                self.pack(context, tree, name, work)
            }
            Source::Files(ref files) => {
                let tree = build::put_files(context, files, work)?;
                self.pack(context, tree, "the recipe".to_owned(), work)
            }
        }
    }

    /// Packs the tree at `root`, which messages call `what` and which is not changed where it is the user's own.
    fn pack(
        self,
        context: &Context,
        root: PathBuf,
        what: String,
        work: &Path,
    ) -> Result<Built, Error> {
        let (Some(name), Some(version)) = (self.name, self.version) else {
            return Err(Refusal::new("the image needs a name and a version", "give both").into());
        };
        let complete = match self.kind {
            Kind::Base => root.into(),
            Kind::Layer | Kind::Trigger | Kind::Index => {
                let release = self.about.fits.unwrap_or_else(Release::any);
                build::with_release(context, root, &name, &release, work)?
            }
        };
        let tree = SourceTree { name: what, ..SourceTree::open(&complete.root, work)? };
        let default = if self.kind == Kind::Base { Format::Squashfs } else { Format::Erofs };
        let recipe = Recipe {
            name,
            version,
            kind: self.kind,
            architecture: self.about.architecture.unwrap_or_else(native_architecture),
            format: self.about.format.unwrap_or(default),
            requires: self.about.requires,
            conflicts: self.about.conflicts,
            required: self.about.required,
            deletes: self.deletes,
        };
        let path = work.join("image");
        let manifest: Manifest = packing::pack(context, &tree, recipe, &path)?;
        Ok(Built::Image(Box::new(ImageFile { path, manifest, signed: None, kernel: None })))
    }
}

fn from_recipe(path: &Path) -> Result<(RecipeFile, Source), Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
    let mut recipe = RecipeFile::parse(&text).map_err(|(line, message)| Error::Recipe {
        path: path.to_owned(),
        line,
        message,
    })?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let files = recipe.put_files(directory)?;
    let here = |path: &PathBuf| directory.join(path);
    recipe.base = recipe.base.as_ref().map(here);
    recipe.sources = recipe.sources.as_ref().map(here);
    recipe.on = recipe.on.iter().map(here).collect();
    let source = if recipe.needs_base() {
        let files_of = |paths: &[PathBuf]| paths.iter().map(here).collect::<Vec<_>>();
        let wanted = Wanted {
            packages: recipe.packages.clone(),
            files: [files_of(&recipe.debs), files_of(&recipe.rpms)].concat(),
            remove: Vec::new(),
        };
        Source::Packages { wanted, files, scripts: recipe.scripts.clone() }
    } else {
        Source::Files(files)
    };
    Ok((recipe, source))
}

fn requirements(texts: &[String]) -> Result<Vec<Requirement>, Error> {
    Ok(texts.iter().map(|text| text.trim().parse()).collect::<Result<_, _>>()?)
}

/// The directory that the image will be in: it must be there, and not in the tree that the image is made from.
fn output_directory(args: &Build) -> Result<PathBuf, Error> {
    let output = args.output.as_deref().unwrap_or(Path::new("x.img"));
    if output.extension().is_some_and(|extension| extension == "toml") {
        let what = format!("{} is the manifest's name, not an image's", output.display());
        return Err(Refusal::new(what, "end it in .img: -o FILE.img").into());
    }
    let whole = absolute(output)?;
    let parent = whole.parent().unwrap_or(Path::new("/"));
    let directory = parent.canonicalize().map_err(|error| Error::io("open", parent, error))?;
    for input in &args.inputs {
        let input = input.canonicalize().map_err(|error| Error::io("open", input, error))?;
        if input.is_dir() && directory.starts_with(&input) {
            let what = format!("{} lies in the tree that it is made from", output.display());
            let hint = "write it to another directory: -o DIR/FILE.img";
            return Err(Refusal::new(what, hint).into());
        }
    }
    Ok(directory)
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| Error::io("open", path, error))
}

fn dry_run(args: &Build, context: &Context, job: &Job) -> Result<Outcome, Error> {
    let mut plan = String::new();
    let what = match &job.source {
        Source::Tree(path) => {
            if !path.is_dir() {
                archive::check(path, args.max_size)?;
                plan += &format!("unpack {}\n", path.display());
            }
            path.display().to_string()
        }
        Source::Files(files) => {
            files.iter().for_each(|file| plan += &put_line(file));
            "the files".to_owned()
        }
        Source::Packages { wanted, files, scripts } => {
            let paths = wanted.files.iter().map(|path| path.display().to_string());
            let all: Vec<String> = wanted.packages.iter().cloned().chain(paths).collect();
            if !all.is_empty() {
                plan += &format!("install {} in a sandbox\n", all.join(", "));
            }
            files.iter().for_each(|file| plan += &put_line(file));
            plan += &scripts.iter().map(|it| format!("run {it}\n")).collect::<String>();
            "what is new".to_owned()
        }
    };
    let default = if job.kind == Kind::Base { Format::Squashfs } else { Format::Erofs };
    let format = job.about.format.unwrap_or(default);
    let output = match (&args.output, &job.name, &job.version) {
        (Some(output), ..) => output.clone(),
        (None, Some(name), Some(version)) => format!("{name}_{version}.img").into(),
        _ => "NAME_VERSION.img".into(),
    };
    plan += &format!("pack {what} as {format} {}\n", output.display());
    plan += &format!("write {}\n", sidecar_path(&output).display());
    context.ui.data(plan)?;
    Ok(Outcome::Done)
}

fn put_line(file: &PutFile) -> String {
    format!("put {} to {}\n", file.from.display(), file.to.display())
}
