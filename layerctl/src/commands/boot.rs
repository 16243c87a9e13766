//! `layerctl boot list` and `boot sync`.

use std::fmt::Write as _;

use layers::boot_partition::BootPartition;
use layers::entry::{EntryName, Said};
use layers::id::GenerationId;
use layers::kernel::Kernel;
use layers::plan::change::{self, Refusal, State};
use layers::store::partition::Look;
use serde::Serialize;

use crate::cli::{BootSync, Reading};
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::ui::{self, Colour, Ui};

/// The boot partition, in JSON.
#[derive(Serialize)]
struct View {
    schema: u32,
    /// Where it is mounted.
    partition: String,
    /// Bytes that are free.
    free: u64,
    /// In the order of a boot loader's menu.
    entries: Vec<EntryView>,
    files: Vec<FileView>,
}

#[derive(Serialize)]
struct EntryView {
    file: String,
    generation: GenerationId,
    /// Whether it leaves the choice of the generation to the store.
    default: bool,
    /// Attempts left; null where they are not counted.
    left: Option<u32>,
    /// Attempts made; null where they are not counted.
    done: Option<u32>,
    /// Whether its text is whole.
    sound: bool,
    title: Option<String>,
    sort_key: Option<String>,
    options: Vec<String>,
    #[serde(skip)]
    name: EntryName,
}

#[derive(Serialize)]
struct FileView {
    file: String,
    size: u64,
    /// `kernel` or `initrd`.
    part: &'static str,
    /// The kernel's release; null where no generation uses the file.
    version: Option<String>,
    /// Generations that use it.
    generations: Vec<GenerationId>,
}

pub(super) fn list(args: Reading, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let partition = context.partition(Look::Quick)?.ok_or_else(|| {
        Refusal::new(
            "there is no boot partition that goes with this store",
            "mount it, or name the directory where it is mounted: --boot DIR",
        )
    })?;
    let view = view(&partition, &store.state);
    match args.json {
        true => context.ui.json(&view)?,
        false => context.ui.data(text(&view, &context.ui))?,
    }
    Ok(Outcome::Done)
}

pub(super) fn sync(args: &BootSync, context: &Context) -> Result<Outcome, Error> {
    context.mend(args.writing.dry_run, |store| {
        let request = context.request("boot sync");
        Ok(change::sync_boot(&store.state, &store.layout, &request)?)
    })
}

fn view(partition: &BootPartition, state: &State) -> View {
    let mut entries: Vec<EntryView> =
        partition.entries.iter().map(|(name, text)| entry(name, text)).collect();
    // As boot loaders order them: the bad ones last, then by sort-key, then the newest first (UAPI.1, "Sorting").
    entries.sort_by_key(|entry| {
        let key = entry.sort_key.clone();
        (entry.left == Some(0), key.is_none(), key, std::cmp::Reverse(entry.generation))
    });
    let files = partition.files.iter().map(|(file, facts)| {
        let users = |kernel: &Kernel| kernel.files().iter().any(|(used, _)| used == file);
        let users = state
            .generations
            .values()
            .filter(|generation| generation.kernel.as_ref().is_some_and(users));
        let users: Vec<_> = users.collect();
        let kernel = users.first().and_then(|generation| generation.kernel.as_ref());
        FileView {
            file: partition.dir.file(file).display().to_string(),
            size: facts.size,
            part: file.part.name(),
            version: kernel.map(|kernel| kernel.version.clone()),
            generations: users.iter().map(|generation| generation.id).collect(),
        }
    });
    View {
        schema: ui::SCHEMA,
        partition: partition.dir.top().display().to_string(),
        free: partition.free,
        entries,
        files: files.collect(),
    }
}

fn entry(name: &EntryName, text: &str) -> EntryView {
    let sound = name.fits(text);
    let said = if sound { Said::parse(text) } else { Said::default() };
    EntryView {
        file: name.to_string(),
        generation: name.id,
        default: name.default,
        left: name.counters.map(|counters| counters.left),
        done: name.counters.map(|counters| counters.done.unwrap_or(0)),
        sound,
        title: said.title,
        sort_key: said.sort_key,
        options: said.options,
        name: *name,
    }
}

fn text(view: &View, ui: &Ui) -> String {
    let mut text = format!("boot partition {}: {} bytes free\n", view.partition, view.free);
    for entry in &view.entries {
        let state = match (entry.sound, entry.left) {
            (false, _) => format!("  {}", ui.paint(Colour::Red, "damaged")),
            (true, Some(0)) => format!("  {}", ui.paint(Colour::Red, "attempts used up")),
            (true, Some(left)) => {
                let left = format!("{left} attempts left, {} made", entry.done.unwrap_or(0));
                format!("  {}", ui.paint(Colour::Yellow, &left))
            }
            (true, None) => String::new(),
        };
        let title = entry.title.as_deref().unwrap_or("-");
        let what = if entry.default { "default" } else { "entry" };
        let _ = writeln!(text, "{what:<8}{title}{state}\n        {}", entry.name);
        let _ = writeln!(text, "        {}", entry.options.join(" "));
    }
    for file in &view.files {
        let users: Vec<String> = file.generations.iter().map(ToString::to_string).collect();
        let users = match users.as_slice() {
            [] => "no generation".to_owned(),
            [one] => format!("generation {one}"),
            many => format!("generations {}", many.join(", ")),
        };
        let version = file.version.as_deref().unwrap_or("-");
        let _ = writeln!(text, "{:<8}{version}  {} bytes  ({users})", file.part, file.size);
        let _ = writeln!(text, "        {}", file.file);
    }
    text
}
