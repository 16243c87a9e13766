//! `layerctl verify`.

use std::fmt::Write as _;

use layers::generation::Layer;
use layers::id::{Digest, GenerationId};
use layers::kernel::{Kernel, KernelFile};
use layers::layout::Layout;
use layers::plan::change::State;
use layers::store::verify::{self, Verdict};
use serde::Serialize;

use crate::cli::Reading;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::ui::{self, Colour, Ui};

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
}

#[derive(Serialize)]
struct Record {
    path: String,
    why: String,
    hint: String,
}

pub(super) fn run(args: Reading, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let images = images(&store, &context.ui);
    let records = records(&store);
    let good = records.is_empty() && images.iter().all(|image| image.why.is_none());
    let findings = Findings { schema: ui::SCHEMA, good, images, records };
    if args.json {
        context.ui.json(&findings)?;
    } else {
        context.ui.data(text(&findings, &context.ui))?;
        let bad = findings.images.iter().filter(|image| image.why.is_some()).count();
        context.ui.say(&format!(
            "{} images checked, {bad} not good, {} other problems",
            findings.images.len(),
            findings.records.len()
        ));
    }
    Ok(if good { Outcome::Done } else { Outcome::Unsound })
}

fn images(store: &Store, ui: &Ui) -> Vec<Image> {
    let (state, layout) = (&store.state, &store.layout);
    let bar = ui.bar("verifying", state.images.values().chain(state.kernels.values()).sum());
    let look = |digest: Digest| {
        let verdict = verify::image(layout, &digest, &mut |bytes| bar.inc(bytes));
        let (title, users) = (title(state, &digest), users(state, &digest));
        Image::new(&digest, title, verdict, users, |verdict, users| {
            hint(layout, &digest, verdict, users)
        })
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
    let mut images: Vec<Image> = verify::all(state).into_iter().map(look).collect();
    images.extend(verify::all_kernels(state).into_iter().map(look_at_kernel));
    bar.finish_and_clear();
    // By what people call them; nameless ones last.
    images.sort_by_cached_key(|image| (image.title.is_none(), image.title.clone()));
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
        Self { digest: digest.to_string(), title, verdict, why, generations, hint }
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
        let colour = if image.why.is_some() { Colour::Red } else { Colour::Green };
        let verdict = ui.paint(colour, &format!("{:<10}", image.verdict));
        let title = image.title.as_deref().unwrap_or("an image without a manifest");
        let users = match image.generations.as_slice() {
            [] => "no generation".to_owned(),
            [one] => format!("generation {one}"),
            many => format!("generations {}", list(many)),
        };
        let short: String = image.digest.chars().take(12).collect();
        let _ = writeln!(text, "{verdict} {short}  {title}  ({users})");
        explain(&mut text, image.why.as_deref(), image.hint.as_deref());
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
