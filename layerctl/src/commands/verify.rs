//! `layerctl verify`.

use std::cmp::Reverse;
use std::fmt::Write as _;

use layers::generation::Layer;
use layers::id::{Digest, GenerationId};
use layers::kernel::{Kernel, KernelFile};
use layers::layout::Layout;
use layers::plan::change::State;
use layers::store::verify::{self, Verdict};
use serde::Serialize;

use signed::{Cover, Signed};

use crate::cli::VerifyArgs;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::trust::Guard;
use crate::ui::{self, Colour, Ui};

mod signed;

/// What was found, in JSON.
#[derive(Serialize)]
struct Findings {
    schema: u32,
    /// Whether nothing is wrong.
    good: bool,
    /// Images, kernels and initrds.
    images: Vec<Image>,
    /// Manifests, generations and pointers that cannot be used.
    records: Vec<Record>,
}

#[derive(Serialize)]
struct Image {
    digest: String,
    /// `name version`, as a generation or the manifest says; null where nothing does.
    title: Option<String>,
    /// `good`, `damaged`, `missing` or `unreadable`.
    verdict: &'static str,
    /// Why it is not good.
    why: Option<String>,
    /// Generations that use it.
    generations: Vec<GenerationId>,
    /// What to do about it.
    hint: Option<String>,
    /// Who signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<Signed>,
    /// What covers its bytes while they are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    cover: Option<Cover>,
}

#[derive(Serialize)]
struct Record {
    path: String,
    why: String,
    hint: String,
}

pub(super) fn run(args: &VerifyArgs, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let guard = Guard::of(context, &store.layout)?;
    let wanted = wanted(args, &store.state)?;
    let images = images(&store, &guard, wanted.as_deref(), &context.ui);
    let records = if wanted.is_none() { records(&store) } else { Vec::new() };
    let good = records.is_empty() && images.iter().all(Image::is_good);
    let findings = Findings { schema: ui::SCHEMA, good, images, records };
    if args.reading.json {
        context.ui.json(&findings)?;
    } else {
        context.ui.data(text(&findings, &context.ui))?;
        let bad = findings.images.iter().filter(|image| !image.is_good()).count();
        context.ui.say(&format!(
            "{} images checked, {bad} not good, {} other problems",
            findings.images.len(),
            findings.records.len()
        ));
    }
    Ok(if good { Outcome::Done } else { Outcome::Unsound })
}

/// The images that were named; all where none is.
fn wanted(args: &VerifyArgs, state: &State) -> Result<Option<Vec<Digest>>, Error> {
    if args.all || args.images.is_empty() {
        return Ok(None);
    }
    let found = args.images.iter().map(|typed| super::sign::stored(state, typed));
    Ok(Some(found.collect::<Result<_, _>>()?))
}

fn images(store: &Store, guard: &Guard, wanted: Option<&[Digest]>, ui: &Ui) -> Vec<Image> {
    let (state, layout) = (&store.state, &store.layout);
    let is_wanted = |digest: &Digest| wanted.is_none_or(|wanted| wanted.contains(digest));
    let all = state.images.iter().filter(|(digest, _)| is_wanted(digest)).map(|(_, size)| size);
    let kernels = state.kernels.values().filter(|_| wanted.is_none());
    let bar = ui.bar("verifying", all.chain(kernels).sum());
    let look = |digest: Digest| {
        let verdict = verify::image(layout, &digest, &mut |bytes| bar.inc(bytes));
        let (title, users) = (title(state, &digest), users(state, &digest));
        let whole = verdict == Verdict::Good;
        let image = Image::new(&digest, title, verdict, users, |verdict, users| {
            hint(layout, &digest, verdict, users)
        });
        let covered = state.manifests.get(&digest).filter(|_| whole);
        Image {
            signed: signed::look(store, guard, &digest),
            cover: covered.and_then(|manifest| signed::cover(store, manifest)),
            ..image
        }
    };
    let look_at_kernel = |file: KernelFile| {
        let verdict = verify::kernel(layout, &file, &mut |bytes| bar.inc(bytes));
        let (title, users) = kernel_title_and_users(state, &file);
        Image::new(&file.digest, title, verdict, users, |_, users| match users {
            [] => "no generation uses it: layerctl cleanup".to_owned(),
            _ => {
                let path = layout.kernel_file(&file);
                format!(
                    "bring it back: rm -f {}; layerctl base import FILE, with the file of its base",
                    path.display()
                )
            }
        })
    };
    let mut images: Vec<Image> =
        verify::all(state).into_iter().filter(is_wanted).map(look).collect();
    let kernels = verify::all_kernels(state).into_iter().filter(|_| wanted.is_none());
    images.extend(kernels.map(look_at_kernel));
    bar.finish_and_clear();
    // By what people call them, newest first; nameless ones last. Versions of what is made here are digests, which say nothing.
    images.sort_by_cached_key(|image| {
        let name = image.title.as_deref().and_then(|title| title.split(' ').next());
        let newest = image.generations.iter().max().copied();
        (image.title.is_none(), name.map(str::to_owned), Reverse(newest), image.title.clone())
    });
    images
}

impl Image {
    fn new(
        digest: &Digest,
        title: Option<String>,
        verdict: Verdict,
        generations: Vec<GenerationId>,
        hint: impl FnOnce(&str, &[GenerationId]) -> String,
    ) -> Self {
        let (verdict, why) = match verdict {
            Verdict::Good => ("good", None),
            Verdict::Damaged { is } => {
                ("damaged", Some(format!("its bytes hash to {}", is.short())))
            }
            Verdict::Missing => ("missing", Some("it is not in the store".to_owned())),
            Verdict::Unreadable(why) => ("unreadable", Some(why)),
        };
        let hint = why.as_ref().map(|_| hint(verdict, &generations));
        let digest = digest.to_string();
        Self { digest, title, verdict, why, generations, hint, signed: None, cover: None }
    }

    fn is_good(&self) -> bool {
        let signed = self.signed.iter().filter_map(|signed| signed.why.as_ref());
        let cover = self.cover.iter().filter_map(|cover| cover.why.as_ref());
        self.why.iter().chain(signed).chain(cover).next().is_none()
    }
}

fn kernel_title_and_users(state: &State, file: &KernelFile) -> (Option<String>, Vec<GenerationId>) {
    let kernels = state
        .generations
        .values()
        .filter_map(|generation| generation.kernel.as_ref().map(|kernel| (generation.id, kernel)));
    let users: Vec<(GenerationId, &Kernel)> =
        kernels.filter(|(_, kernel)| kernel.files().iter().any(|(used, _)| used == file)).collect();
    let title = users.first().map(|(_, kernel)| format!("{} {}", file.part.name(), kernel.version));
    (title, users.iter().map(|(id, _)| *id).collect())
}

fn title(state: &State, digest: &Digest) -> Option<String> {
    if let Some(manifest) = state.manifests.get(digest) {
        return Some(manifest.title());
    }
    state.generations.values().find_map(|generation| {
        let base = &generation.base;
        if base.digest == *digest {
            return Some(format!("{} {}", base.name, base.version));
        }
        let layer = generation.layers.iter().find(|layer| layer.digest == *digest);
        layer.map(Layer::title)
    })
}

fn users(state: &State, digest: &Digest) -> Vec<GenerationId> {
    let users = state.generations.values();
    users
        .filter(|generation| generation.digests().any(|used| used == *digest))
        .map(|generation| generation.id)
        .collect()
}

fn hint(layout: &Layout, digest: &Digest, verdict: &str, users: &[GenerationId]) -> String {
    let path = layout.image(digest);
    let again = "layerctl install FILE (a base: layerctl base import FILE)";
    match (verdict, users) {
        ("missing", _) => format!("bring its file back: {again}"),
        (_, []) => "no generation uses it: layerctl cleanup".to_owned(),
        _ => format!("take the bad file away and bring a good one: rm {}; {again}", path.display()),
    }
}

fn records(store: &Store) -> Vec<Record> {
    let (layout, state) = (&store.layout, &store.state);
    let manifests = verify::bad_manifests(layout, state).into_iter().map(|(digest, why)| Record {
        path: layout.manifest(&digest).display().to_string(),
        why,
        hint: "a new manifest comes with the image: layerctl install FILE (a base: layerctl base import FILE)".to_owned(),
    });
    let generations = state.damaged.iter().map(|(id, why)| {
        let path = layout.generation_file(*id).display().to_string();
        let why = why.strip_prefix(&path).unwrap_or(why).trim_start().to_owned();
        let hint = format!("drop it: rm -r {}", layout.generation(*id).display());
        Record { path, why, hint }
    });
    let pointers = state.damaged_pointers.iter().map(|(path, why)| Record {
        path: path.display().to_string(),
        why: why.clone(),
        hint: if [layout.default(), layout.next()].contains(path) {
            "choose the generation to boot: layerctl rollback ID".to_owned()
        } else {
            format!("boots go on without it: rm {}", path.display())
        },
    });
    manifests.chain(generations).chain(pointers).collect()
}

fn text(findings: &Findings, ui: &Ui) -> String {
    let mut text = String::new();
    for image in &findings.images {
        let colour = if image.is_good() { Colour::Green } else { Colour::Red };
        // Whole, and all the same none that would boot.
        let word = if image.is_good() || image.why.is_some() { image.verdict } else { "refused" };
        let verdict = ui.paint(colour, &format!("{word:<10}"));
        let title = image.title.as_deref().unwrap_or("an image without a manifest");
        let users = match image.generations.as_slice() {
            [] => "no generation".to_owned(),
            [one] => format!("generation {one}"),
            many => format!("generations {}", list(many)),
        };
        let short: String = image.digest.chars().take(12).collect();
        let _ = writeln!(text, "{verdict} {short}  {title}  ({users})");
        explain(&mut text, image.why.as_deref(), image.hint.as_deref());
        if let Some(signed) = &image.signed {
            let by = match signed.keys.as_slice() {
                [] => String::new(),
                keys => format!(" by {}", keys.join(", ")),
            };
            let _ = writeln!(text, "           signature: {}{by}", signed.verdict);
            explain(&mut text, signed.why.as_deref(), signed.hint.as_deref());
        }
        if let Some(cover) = &image.cover {
            let short: String = cover.root.chars().take(12).collect();
            let _ = writeln!(text, "           verity: {} {short}", cover.verdict);
            let hint = "make it anew: layerctl sign, or install the file again";
            explain(&mut text, cover.why.as_deref(), cover.why.as_ref().map(|_| hint));
        }
    }
    for record in &findings.records {
        let verdict = ui.paint(Colour::Red, &format!("{:<10}", "damaged"));
        let _ = writeln!(text, "{verdict} {}", record.path);
        explain(&mut text, Some(&record.why), Some(&record.hint));
    }
    text
}

fn explain(text: &mut String, why: Option<&str>, hint: Option<&str>) {
    for (label, words) in [("why", why), ("hint", hint)] {
        if let Some(words) = words {
            let _ = writeln!(text, "           {label}: {words}");
        }
    }
}

fn list(ids: &[GenerationId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
