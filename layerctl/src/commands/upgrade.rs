//! `layerctl upgrade`.

use std::path::Path;

use layers::id::Name;
use layers::layout::Layout;
use layers::manifest::{self, Kind, Links, Manifest};
use layers::plan::change::{self, Decision, ImageFile, State};
use layers::store::{self, lock::Lock};
use layers::superblock::Format;

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
    if !store.state.start()?.requests.is_empty() {
        context.ui.say(
            "layers of packages are not looked at; to make them anew: layerctl upgrade --packages",
        );
    }
    if upgrades.is_empty() {
        context.ui.say("all is up to date");
        return Ok(if args.check { Outcome::UpToDate } else { Outcome::Unchanged });
    }
    foresee(&store.state, &store.layout, &upgrades, context)?;
    let mut text = String::new();
    for line in upgrades.lines(args.preview) {
        text += &format!("{line}\n");
    }
    context.ui.data(text)?;
    Ok(Outcome::Done)
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
                schema: manifest::SCHEMA,
                name: entry.name.clone(),
                version: entry.version.clone(),
                kind,
                architecture: entry
                    .architecture
                    .clone()
                    .unwrap_or_else(admission::native_architecture),
                format: Format::Squashfs,
                size: entry.size.unwrap_or_default(),
                digest: entry.digest,
                dirs: vec!["usr".to_owned()],
                kernels: Vec::new(),
                marks_good: false,
                requires: Vec::new(),
                conflicts: Vec::new(),
                required: false,
                deletes: Vec::new(),
                packages: Vec::new(),
                os: None,
                fits: None,
                links: Links::default(),
                grants: Vec::new(),
                verity: None,
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
