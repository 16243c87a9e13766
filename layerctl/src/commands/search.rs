//! `layerctl search`.

use layers::generation::Generation;
use layers::id::{Digest, Name, Version};
use layers::manifest::Kind;
use serde::Serialize;

use super::repo;
use crate::cli::Search;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::repo::refresh::{self, Offer};
use crate::ui;

/// One image, in JSON.
#[derive(Serialize)]
struct View<'a> {
    name: &'a Name,
    version: &'a Version,
    kind: Option<Kind>,
    architecture: Option<&'a str>,
    size: Option<u64>,
    digest: Digest,
    repository: &'a str,
    /// Whether this very image is in the generation that boots next.
    installed: bool,
}

/// What was found, in JSON.
#[derive(Serialize)]
struct Found<'a> {
    schema: u32,
    images: Vec<View<'a>>,
}

pub(super) fn run(args: &Search, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let all = refresh::offers(context, &store.layout, &repo::client(context), false)?;
    all.failed.iter().for_each(|failed| context.ui.warn(&failed.warning()));
    let start = store.state.start().ok();
    let mut found: Vec<&Offer> =
        all.offers.iter().filter(|offer| is_meant(offer, args.term.as_deref())).collect();
    found.sort_by(|a, b| {
        let names = a.entry.name.cmp(&b.entry.name);
        names.then_with(|| b.entry.version.compare(&a.entry.version))
    });
    let images: Vec<View<'_>> = found.iter().map(|offer| view(offer, start)).collect();
    if args.reading.json {
        context.ui.json(&Found { schema: ui::SCHEMA, images })?;
        return Ok(Outcome::Done);
    }
    if images.is_empty() {
        context.ui.say(if all.repositories == 0 {
            "no repository is configured: layerctl repo add NAME URL"
        } else {
            "no image of that name is in any repository"
        });
    }
    context.ui.data(images.iter().map(line).collect::<String>())?;
    Ok(Outcome::Done)
}

/// Whether the term is part of the image's name, or of the name of a package in it.
fn is_meant(offer: &Offer, term: Option<&str>) -> bool {
    let Some(term) = term else { return true };
    let term = term.to_lowercase();
    let named = |name: &str| name.to_lowercase().contains(&term);
    let packages = offer.entry.manifest.iter().flat_map(|manifest| &manifest.packages);
    let mut packages = packages.map(|package| package.split(' ').next().unwrap_or_default());
    named(offer.entry.name.as_str()) || packages.any(named)
}

fn view<'a>(offer: &'a Offer, start: Option<&Generation>) -> View<'a> {
    let entry = &offer.entry;
    View {
        name: &entry.name,
        version: &entry.version,
        kind: entry.kind,
        architecture: entry.architecture.as_deref(),
        size: entry.size,
        digest: entry.digest,
        repository: &offer.repository,
        installed: start.is_some_and(|start| start.digests().any(|it| it == entry.digest)),
    }
}

fn line(view: &View<'_>) -> String {
    let mut words = vec![format!("{} {}", view.name, view.version)];
    words.extend(view.kind.filter(|kind| *kind == Kind::Base).map(|kind| kind.to_string()));
    words.extend(view.architecture.map(str::to_owned));
    words.extend(view.size.map(|size| format!("{size} bytes")));
    words.push(format!("repository {}", view.repository));
    if view.installed {
        words.push("installed".to_owned());
    }
    words.join(", ") + "\n"
}
