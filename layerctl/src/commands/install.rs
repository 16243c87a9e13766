//! `layerctl install`.

#![expect(clippy::disallowed_methods, reason = "tells files from names")]

use std::path::Path;

use layers::id::{Name, SetName};
use layers::manifest::{Kind, Manifest};
use layers::plan::change::{self, ImageFile, Refusal};

use super::{base, packages, repo, words};
use crate::admission::{self, Naming};
use crate::cli::Install;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::repo::error::RepoError;
use crate::repo::fetch::Fetcher;
use crate::repo::location::{self, Location};
use crate::repo::refresh::{self, Offers};
use crate::repo::sums;
use crate::resolve::{Candidate, Ground, Resolution, Resolver};
use crate::trust::Guard;
use crate::work::WorkDirectory;

pub(super) fn run(args: &Install, context: &Context) -> Result<Outcome, Error> {
    if args.packages {
        return packages::install(args, context);
    }
    let (urls, others): (Vec<&String>, Vec<&String>) =
        args.items.iter().partition(|item| location::is_url(item));
    let (files, typed): (Vec<&String>, Vec<&String>) =
        others.into_iter().partition(|item| is_file(item));
    let naming = Naming::from(&args.naming);
    let images = files.len() + urls.len();
    if (naming.name.is_some() || naming.version.is_some()) && images != 1 {
        let what = format!("--name and --version are for one image file, not for {images}");
        return Err(Refusal::new(what, "install the files one by one").into());
    }
    let urls = urls.into_iter().map(|url| url.parse().map_err(RepoError::from));
    let urls = urls.collect::<Result<Vec<Location>, _>>()?;
    let names = typed.into_iter().map(|text| text.parse()).collect::<Result<Vec<Name>, _>>()?;
    let set: Option<SetName> = args.set.as_deref().map(str::parse).transpose()?;
    let dry_run = args.pointing.writing.dry_run;
    let client = repo::client(context);
    // What a dry run downloads lives until its plan has been printed.
    let mut made: Option<WorkDirectory> = None;
    // What is built lives until the plan has been carried out.
    let mut built: Option<WorkDirectory> = None;
    let configured = context.config()?.map(|file| file.config.packages).unwrap_or_default();
    context.make_generation(dry_run, |store| {
        let guard = Guard::of(context, &store.layout)?;
        let mut files = files
            .iter()
            .map(|file| admit(context, &guard, &store.state, Path::new(file), &naming))
            .collect::<Result<Vec<_>, Error>>()?;
        let temporary = match dry_run {
            true => Some(made.insert(base::work_directory(store, true)?).path()),
            false => None,
        };
        let layout = store.layout.clone();
        let fetcher =
            Fetcher { context, client: &client, guard: &guard, layout: &layout, temporary };
        for url in &urls {
            files.push(fetcher.url(&mut store.state, url, &naming)?);
        }
        let mut asked: Vec<String> = files.iter().map(|file| file.manifest.title()).collect();
        asked.extend(names.iter().map(ToString::to_string));
        let Brought { stay, packages: wanted } =
            bring(&fetcher, store, &mut files, &names, configured.install)?;
        let mut resolved = Vec::new();
        if !wanted.is_empty() {
            let work = built.insert(base::work_directory(store, dry_run)?).path();
            resolved.push(packages::build(args, &wanted, &configured, context, store, work)?);
        }
        if args.replace {
            asked.push("--replace".to_owned());
        }
        asked.extend(set.iter().map(|set| format!("--set {set}")));
        let request =
            context.request_once(format!("install {}", words(&asked)), args.pointing.try_once);
        let install = change::Install { files, names: stay, set, replace: args.replace, resolved };
        Ok(change::install(&store.state, &store.layout, &install, &request)?)
    })
}

/// What is left of names when those that images stand for are in the store.
#[derive(Default)]
struct Brought {
    /// Names that are for the store alone: of what is installed, and of what nobody has where there is no repository.
    stay: Vec<Name>,
    /// Names that are for the package manager.
    packages: Vec<String>,
}

/// Brings what `names` stand for, and what all of it needs, into the store; files that were chosen join `files`. Those
/// that nobody has are packages, if `as_packages`.
fn bring(
    fetcher: &Fetcher<'_>,
    store: &mut Store,
    files: &mut Vec<ImageFile>,
    names: &[Name],
    as_packages: bool,
) -> Result<Brought, Error> {
    let before = store.state.clone();
    let base = before.start()?.base.digest;
    let ground = Ground::of(before.manifests.get(&base));
    let here: Vec<&Manifest> = files.iter().map(|file| &file.manifest).collect();
    // Repositories are asked only for what is not here.
    let mut local = Resolver::new(&before, &[], ground.clone());
    let installed = names.iter().all(|name| local.name(name) == Resolution::Installed);
    let all = match installed && local.lacks(&here).is_empty() {
        true => Offers::default(),
        false => refresh::offers(fetcher.context, &store.layout, fetcher.client, true)?,
    };
    let mut resolver = Resolver::new(&before, &all.offers, ground);
    let mut left = Brought::default();
    let (mut missing, mut chosen) = (Vec::new(), Vec::new());
    for name in names {
        match resolver.name(name) {
            _ if here.iter().any(|manifest| manifest.name == *name) => {}
            Resolution::Installed => left.stay.push(name.clone()),
            Resolution::Found(candidate) => chosen.push(candidate),
            Resolution::NotFound if as_packages => left.packages.push(name.to_string()),
            Resolution::NotFound => missing.push(name.clone()),
        }
    }
    let known = here.iter().copied().chain(chosen.iter().filter_map(Candidate::manifest));
    let needed = resolver.needed(&known.collect::<Vec<_>>());
    resolver.notes.iter().for_each(|note| fetcher.context.ui.warn(note));
    left.stay.extend(not_found(missing, &all)?);
    all.failed.iter().for_each(|failed| fetcher.context.ui.warn(&failed.warning()));
    for candidate in chosen {
        files.push(fetcher.candidate(&mut store.state, candidate, Kind::Layer)?);
    }
    for candidate in needed {
        fetcher.candidate(&mut store.state, candidate, Kind::Layer)?;
    }
    Ok(left)
}

/// What becomes of names that neither the store nor a repository has.
fn not_found(missing: Vec<Name>, all: &Offers) -> Result<Vec<Name>, Refusal> {
    let Some(name) = missing.first().filter(|_| all.repositories > 0) else { return Ok(missing) };
    let what = format!("neither the store nor a repository has a layer named {name} that fits");
    Err(match all.failed.first() {
        Some(failed) => Refusal::new(
            format!("{what}, and repository {} could not be asked: {}", failed.name, failed.error),
            "type the command again when it can be reached",
        ),
        None => Refusal::new(what, "see what there is: layerctl search"),
    })
}

fn admit(
    context: &Context,
    guard: &Guard,
    state: &change::State,
    file: &Path,
    naming: &Naming,
) -> Result<ImageFile, Error> {
    if file.is_dir() {
        let what = format!("{} is a directory, not an image", file.display());
        let hint = format!(
            "make an image of it: layerctl build {} --name N --version V -o N_V.img",
            file.display()
        );
        return Err(Refusal::new(what, hint).into());
    }
    admission::admit(context, guard, state, file, Kind::Layer, naming)
}

pub(super) fn is_file(item: &str) -> bool {
    let path = Path::new(item);
    item.contains('/')
        || path.exists()
        || path.extension().is_some_and(|ending| sums::ENDINGS.iter().any(|known| ending == *known))
}
