//! `layerctl repo`.

use layers::id::Name;
use layers::layout::Layout;
use layers::plan::change::Refusal;
use layers::store::{self, lock::Lock, publish};
use serde::Serialize;

use super::names;
use crate::cli::{Reading, Repo, RepoAdd, RepoIndex, RepoRefresh, RepoRemove};
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::repo::client::Client;
use crate::repo::definition::{self, Repository};
use crate::repo::index::{self, Index};
use crate::repo::location::Location;
use crate::repo::moment::Moment;
use crate::repo::{cache, make, refresh};
use crate::signing::image;
use crate::signing::key::SigningKey;
use crate::signing::password::PasswordSource;
use crate::trust::Guard;
use crate::ui;

/// A day in seconds.
const DAY: u64 = 86_400;

pub(super) fn run(verb: &Repo, context: &Context) -> Result<Outcome, Error> {
    match verb {
        Repo::Add(args) => add(args, context),
        Repo::Remove(args) => remove(args, context),
        Repo::List(args) => list(*args, context),
        Repo::Refresh(args) => refresh(args, context),
        Repo::Index(args) => make_index(args, context),
    }
}

fn add(args: &RepoAdd, context: &Context) -> Result<Outcome, Error> {
    let name: Name = args.name.parse()?;
    let location = absolute(&args.url)?;
    let layout = store::open(&context.mount_point())?;
    let _lock = Lock::acquire(&layout)?;
    if let Some(known) = find(&definition::all(context, &layout)?, &name) {
        if known.location == location {
            context.ui.say(&format!("{name} is a repository already: {location}"));
            return Ok(Outcome::Unchanged);
        }
        return Err(Refusal::new(
            format!("{name} is a repository already: {}", known.location),
            format!("take that one away first: layerctl repo remove {name}"),
        )
        .into());
    }
    // One that cannot be used is not remembered.
    let guard = Guard::of(context, &layout)?;
    let polled = refresh::poll(&client(context), &guard, &name, &location, None)?;
    cache::write(&layout, &name, &polled.cached)?;
    definition::write(&layout, &name, &location)?;
    context.ui.say(&format!("added repository {name}: {}", describe(&polled.index)));
    Ok(Outcome::Done)
}

fn remove(args: &RepoRemove, context: &Context) -> Result<Outcome, Error> {
    let name: Name = args.name.parse()?;
    let layout = store::open(&context.mount_point())?;
    let _lock = Lock::acquire(&layout)?;
    let all = definition::all(context, &layout)?;
    let known = find(&all, &name).ok_or_else(|| unknown(&name, &all))?;
    if known.file != layout.repository(&name) {
        return Err(Refusal::new(
            format!("repository {name} is this machine's own configuration"),
            format!("remove its file: {}", known.file.display()),
        )
        .into());
    }
    for path in [layout.repository(&name), layout.repository_index(&name)] {
        publish::remove(&path).map_err(|error| Error::io("remove", &path, error))?;
    }
    context.ui.say(&format!("removed repository {name}"));
    Ok(Outcome::Done)
}

/// One repository, in JSON.
#[derive(Serialize)]
struct View<'a> {
    name: &'a Name,
    url: String,
    file: String,
    /// How many images it had when it was last asked.
    images: Option<usize>,
}

/// All repositories, in JSON.
#[derive(Serialize)]
struct Views<'a> {
    schema: u32,
    repositories: Vec<View<'a>>,
}

fn list(args: Reading, context: &Context) -> Result<Outcome, Error> {
    let layout = store::open(&context.mount_point())?;
    let all = definition::all(context, &layout)?;
    let repositories: Vec<View<'_>> = all.iter().map(|it| view(it, &layout)).collect();
    if args.json {
        context.ui.json(&Views { schema: ui::SCHEMA, repositories })?;
        return Ok(Outcome::Done);
    }
    let line = |view: &View<'_>| match view.images {
        Some(1) => format!("{} {} (1 image)\n", view.name, view.url),
        Some(images) => format!("{} {} ({images} images)\n", view.name, view.url),
        None => format!("{} {} (not asked yet)\n", view.name, view.url),
    };
    context.ui.data(repositories.iter().map(line).collect::<String>())?;
    Ok(Outcome::Done)
}

fn view<'a>(repository: &'a Repository, layout: &Layout) -> View<'a> {
    let Repository { name, location, file } = repository;
    let known = cache::read(layout, repository);
    let index = known.and_then(|known| known.form.parse(&known.text).ok());
    let images = index.map(|index| index.entries.len());
    View { name, url: location.to_string(), file: file.display().to_string(), images }
}

fn refresh(args: &RepoRefresh, context: &Context) -> Result<Outcome, Error> {
    let wanted: Vec<Name> = names(&args.names)?;
    let layout = store::open(&context.mount_point())?;
    let _lock = Lock::acquire(&layout)?;
    let all = definition::all(context, &layout)?;
    if let Some(stranger) = wanted.iter().find(|name| find(&all, name).is_none()) {
        return Err(unknown(stranger, &all).into());
    }
    let (client, guard) = (client(context), Guard::of(context, &layout)?);
    let (mut changed, mut failed) = (false, None);
    let chosen = |repository: &&Repository| wanted.is_empty() || wanted.contains(&repository.name);
    for repository in all.iter().filter(chosen) {
        let name = &repository.name;
        let known = cache::read(&layout, repository);
        match refresh::poll(&client, &guard, name, &repository.location, known.as_ref()) {
            Ok(polled) if polled.unchanged => {
                context.ui.say(&format!("{name}: unchanged, {}", describe(&polled.index)));
            }
            Ok(polled) => {
                cache::write(&layout, name, &polled.cached)?;
                context.ui.say(&format!("{name}: {}", describe(&polled.index)));
                changed = true;
            }
            // The others are asked all the same.
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    context.ui.warn(&earlier.to_string());
                }
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None if changed => Ok(Outcome::Done),
        None => Ok(Outcome::Unchanged),
    }
}

fn make_index(args: &RepoIndex, context: &Context) -> Result<Outcome, Error> {
    let (path, mut index) = make::index(context, &args.directory)?;
    if args.key.is_some() {
        let now = context.environment.now;
        // Two within one second are two all the same.
        let next = make::serial(&path).and_then(|last| last.checked_add(1)).unwrap_or_default();
        index.serial = Some(now.max(next));
        index.valid_until = Some(Moment::new(now.saturating_add(u64::from(args.days) * DAY)));
    }
    if args.writing.dry_run {
        context.ui.data(index.to_string())?;
        return Ok(Outcome::Done);
    }
    let said = format!("{}: {}", path.display(), describe(&index));
    if let Some(key) = &args.key {
        let opened = SigningKey::open(key, &PasswordSource::from(&args.password))?;
        make::write_signed(&path, &index, |text| {
            image::sign_text(context, &opened, key, text, index::FILE, None)
        })?;
        context.ui.say(&format!("signed and wrote {said}"));
        return Ok(Outcome::Done);
    }
    if make::write(&path, &index)? {
        context.ui.say(&format!("wrote {said}"));
        Ok(Outcome::Done)
    } else {
        context.ui.say(&format!("unchanged {said}"));
        Ok(Outcome::Unchanged)
    }
}

/// A client for the environment's network.
pub(super) fn client(context: &Context) -> Client {
    Client::new(context.environment.proxies.clone())
}

/// A directory is remembered by its whole path.
fn absolute(typed: &str) -> Result<Location, Error> {
    let location: Location = typed.parse().map_err(crate::repo::error::RepoError::from)?;
    let Location::Path(path) = &location else { return Ok(location) };
    let real = path.canonicalize().map_err(|error| Error::io("open", path, error))?;
    Ok(Location::Path(real))
}

fn find<'a>(all: &'a [Repository], name: &Name) -> Option<&'a Repository> {
    all.iter().find(|repository| repository.name == *name)
}

fn unknown(name: &Name, all: &[Repository]) -> Refusal {
    let known: Vec<&str> = all.iter().map(|repository| repository.name.as_str()).collect();
    let hint = match known.as_slice() {
        [] => format!("add it: layerctl repo add {name} URL"),
        _ => format!("name one of them: {}", known.join(", ")),
    };
    Refusal::new(format!("no repository is named {name}"), hint)
}

fn describe(index: &Index) -> String {
    let images = match index.entries.len() {
        1 => "1 image".to_owned(),
        images => format!("{images} images"),
    };
    match index.unusable {
        0 => images,
        unusable => format!("{images}, and {unusable} that this layerctl cannot use"),
    }
}
