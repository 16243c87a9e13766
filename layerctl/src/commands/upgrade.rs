//! `layerctl upgrade`.

use std::path::Path;

use layers::generation::Generation;
use layers::id::{Digest, GenerationId, Name, Version};
use layers::layout::Layout;
use layers::manifest::{Kind, Manifest};
use layers::plan::change::{self, Decision, ImageFile, State};
use layers::store::{self, lock::Lock};
use layers::superblock::Format;
use serde::Serialize;

use super::{base, names, repo, words};
use crate::admission;
use crate::cli::Upgrade;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::repo::client::Client;
use crate::repo::fetch::Fetcher;
use crate::repo::refresh::{self, Offers};
use crate::requests;
use crate::resolve::{Candidate, Upgrades};
use crate::trust::Guard;
use crate::ui;
use crate::work::WorkDirectory;

pub(super) fn run(args: &Upgrade, context: &Context) -> Result<Outcome, Error> {
    let wanted: Vec<Name> = names(&args.names)?;
    if args.check || args.preview {
        tell(args, &wanted, context)
    } else if args.download_only {
        download(&wanted, context)
    } else {
        upgrade(args, &wanted, context)
    }
}

/// `--check` and `--preview`: what would change, or why it cannot.
fn tell(args: &Upgrade, wanted: &[Name], context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let all = refresh::offers(context, &store.layout, &repo::client(context), false)?;
    // What a repository had once says nothing about what it has now.
    if let Some(failed) = all.failed.into_iter().next() {
        return Err(failed.error);
    }
    let upgrades = Upgrades::among(&store.state, &all.offers, wanted)?;
    upgrades.notes.iter().for_each(|note| context.ui.warn(note));
    let start = store.state.start()?;
    let unasked = !start.requests.is_empty();
    if unasked && !args.json {
        context.ui.say(
            "layers of packages are not looked at; to make them anew: layerctl upgrade --packages",
        );
    }
    let outcome = match upgrades.is_empty() {
        false => Outcome::Done,
        true if args.check => Outcome::UpToDate,
        true => Outcome::Unchanged,
    };
    if !upgrades.is_empty() {
        foresee(&store.state, &store.layout, &upgrades, context)?;
    } else if !args.json {
        context.ui.say("all is up to date");
        return Ok(outcome);
    }
    if args.json {
        context.ui.json(&view(start, &upgrades, unasked))?;
        return Ok(outcome);
    }
    let mut text = String::new();
    for line in upgrades.lines(args.preview) {
        text += &format!("{line}\n");
    }
    context.ui.data(text)?;
    Ok(outcome)
}

/// What an upgrade would bring, in JSON.
#[derive(Serialize)]
struct View<'a> {
    schema: u32,
    /// The generation that an upgrade would start from.
    generation: GenerationId,
    base: Option<ImageView<'a>>,
    layers: Vec<ImageView<'a>>,
    /// Layers that come because newer ones need them.
    needed: Vec<ImageView<'a>>,
    /// Bytes to download in all.
    download: u64,
    /// What is newer and does not fit, and why, one line each.
    passed_over: &'a [String],
    /// Whether there are layers of packages, which are not looked at.
    packages: bool,
}

/// One image, in JSON.
#[derive(Serialize)]
struct ImageView<'a> {
    name: &'a Name,
    /// The version that is installed.
    from: Option<&'a Version>,
    to: &'a Version,
    digest: Digest,
    /// None where the store has it.
    repository: Option<&'a str>,
    /// Bytes, where their number is known.
    download: Option<u64>,
}

fn view<'a>(start: &Generation, upgrades: &'a Upgrades<'_>, packages: bool) -> View<'a> {
    let image = |from: Option<&'a Version>, new: &'a Candidate<'_>| ImageView {
        name: new.name(),
        from,
        to: new.version(),
        digest: new.digest(),
        repository: new.repository(),
        download: new.download(),
    };
    let layers = upgrades.layers.iter();
    View {
        schema: ui::SCHEMA,
        generation: start.id,
        base: upgrades.base.as_ref().map(|(old, new)| image(Some(&old.version), new)),
        layers: layers.map(|(old, new)| image(Some(&old.version), new)).collect(),
        needed: upgrades.needed.iter().map(|new| image(None, new)).collect(),
        download: upgrades.download(),
        passed_over: &upgrades.notes,
        packages,
    }
}

/// Makes the decision on what is known of the images before they are here.
fn foresee(
    state: &State,
    layout: &Layout,
    upgrades: &Upgrades<'_>,
    context: &Context,
) -> Result<(), Error> {
    // Without the new base's kernel nothing can be said of the boot partition.
    let mut state = State { boot: None, ..state.clone() };
    let mut presume = |candidate: &Candidate<'_>, kind| {
        let manifest = presumed(candidate, kind);
        state.images.insert(manifest.digest, manifest.size);
        state.manifests.insert(manifest.digest, manifest.clone());
        ImageFile { path: layout.image(&manifest.digest), manifest, signed: None, kernel: None }
    };
    let layers = upgrades.layers.iter().map(|(_, new)| presume(new, Kind::Layer)).collect();
    let base = upgrades.base.iter().map(|(_, new)| presume(new, Kind::Base)).next();
    upgrades.needed.iter().for_each(|new| drop(presume(new, Kind::Layer)));
    // Layers that are made here are made anew for a new base: the old ones need not fit it.
    let resolved = base.is_some().then(Vec::new);
    let asked = change::Upgrade { layers, base, resolved };
    change::upgrade(&state, layout, &asked, &context.request("upgrade"))?;
    Ok(())
}

/// The manifest of an image; of one that nobody describes, one that asks for nothing.
fn presumed(candidate: &Candidate<'_>, kind: Kind) -> Manifest {
    match candidate {
        Candidate::Stored(manifest) => (*manifest).clone(),
        Candidate::Offered(offer) => {
            let entry = &offer.entry;
            entry.manifest.clone().unwrap_or_else(|| Manifest {
                architecture: entry
                    .architecture
                    .clone()
                    .unwrap_or_else(admission::native_architecture),
                format: Format::Squashfs,
                size: entry.size.unwrap_or_default(),
                dirs: vec!["usr".to_owned()],
                ..Manifest::plain(kind, entry.name.clone(), entry.version.clone(), entry.digest)
            })
        }
    }
}

/// `--download-only`: images into the store, and nothing else.
fn download(wanted: &[Name], context: &Context) -> Result<Outcome, Error> {
    let layout = store::open(&context.mount_point())?;
    let _lock = Lock::acquire(&layout)?;
    let mut store = context.read()?;
    let client = repo::client(context);
    let all = offers(context, &store, &client)?;
    let guard = Guard::of(context, &layout)?;
    let fetcher =
        Fetcher { context, client: &client, guard: &guard, layout: &layout, temporary: None };
    let before = store.state.images.len();
    let images = fetch(context, &mut store.state, &all, wanted, &fetcher)?;
    if store.state.images.len() == before {
        context.ui.say("nothing is left to download");
        return Ok(Outcome::Unchanged);
    }
    for image in images.base.iter().chain(&images.layers) {
        context.ui.say(&format!("downloaded {}", image.manifest.title()));
    }
    context.ui.say("to put it in place: layerctl upgrade");
    Ok(Outcome::Done)
}

fn upgrade(args: &Upgrade, wanted: &[Name], context: &Context) -> Result<Outcome, Error> {
    let dry_run = args.pointing.writing.dry_run;
    let client = repo::client(context);
    // Lives until the plan has been carried out: a kernel's initrd is copied from it.
    let mut made: Option<WorkDirectory> = None;
    context.make_generation(dry_run, |store| {
        let work = made.insert(base::work_directory(store, dry_run)?).path();
        let all = offers(context, store, &client)?;
        let layout = store.layout.clone();
        let temporary = dry_run.then_some(work);
        let guard = Guard::of(context, &layout)?;
        let fetcher =
            Fetcher { context, client: &client, guard: &guard, layout: &layout, temporary };
        let mut images = fetch(context, &mut store.state, &all, wanted, &fetcher)?;
        if let Some(image) = &mut images.base {
            take_base(args.init.as_deref(), context, store, image, work)?;
            images.resolved = requests::for_base(context, store, image, &args.sources, work)?;
        } else if args.packages {
            images.resolved = requests::for_present_base(context, store, &args.sources, work)?;
        }
        let request = context
            .request_once(format!("upgrade {}", words(wanted)).trim_end(), args.pointing.try_once);
        if images == change::Upgrade::default() {
            return Ok(Decision::unchanged("all is up to date".to_owned()));
        }
        Ok(change::upgrade(&store.state, &store.layout, &images, &request)?)
    })
}

fn take_base(
    init: Option<&Path>,
    context: &Context,
    store: &Store,
    image: &mut ImageFile,
    work: &Path,
) -> Result<(), Error> {
    base::check_machine(context, &image.manifest)?;
    image.kernel = base::take_kernel(context, store, image, None, init, work)?;
    Ok(())
}

/// What the repositories have; each that could not be asked is told.
fn offers(context: &Context, store: &Store, client: &Client) -> Result<Offers, Error> {
    let mut all = refresh::offers(context, &store.layout, client, true)?;
    if let Some(at) = all.failed.iter().position(|failed| !failed.known) {
        return Err(all.failed.swap_remove(at).error);
    }
    all.failed.iter().for_each(|failed| context.ui.warn(&failed.warning()));
    Ok(all)
}

/// Brings all that is newer, and what it needs, into the store.
fn fetch(
    context: &Context,
    state: &mut State,
    all: &Offers,
    wanted: &[Name],
    fetcher: &Fetcher<'_>,
) -> Result<change::Upgrade, Error> {
    let found = state.clone();
    let upgrades = Upgrades::among(&found, &all.offers, wanted)?;
    upgrades.notes.iter().for_each(|note| context.ui.warn(note));
    if !upgrades.is_empty() {
        // What is refused need not be downloaded.
        foresee(&found, fetcher.layout, &upgrades, context)?;
    }
    let mut images = change::Upgrade::default();
    if let Some((_, new)) = upgrades.base {
        images.base = Some(fetcher.candidate(state, new, Kind::Base)?);
    }
    for (_, new) in &upgrades.layers {
        images.layers.push(fetcher.candidate(state, *new, Kind::Layer)?);
    }
    for new in &upgrades.needed {
        fetcher.candidate(state, *new, Kind::Layer)?;
    }
    Ok(images)
}
