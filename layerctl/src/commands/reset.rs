//! `layerctl reset`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use layers::etc::report::escaped;
use layers::generation::Generation;
use layers::id::GenerationId;
use layers::layout::Layout;
use layers::plan::change::{self, Refusal};
use layers::policy::{self, Dir, Mode};
use layers::reset::Reset;
use layers::store::{facts, read};
use serde::Serialize;

use crate::cli;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::preview::{Amount, Preview};
use crate::ui::{self, Colour};

pub(super) fn run(args: &cli::Reset, context: &Context) -> Result<Outcome, Error> {
    if args.preview {
        return preview(args, context);
    }
    context.change(args.writing.dry_run, |store| {
        let (state, layout) = (&store.state, &store.layout);
        let pending = read::reset(layout);
        if args.cancel {
            let request = context.request("reset --cancel");
            return Ok(change::cancel_reset(state, layout, pending.as_ref(), &request)?);
        }
        let asked = asked(args, state.next_boot()?)?;
        let mut words = vec!["reset".to_owned()];
        words.extend(asked.dirs.iter().map(|dir| format!("--{dir}")));
        words.extend(asked.keep.iter().map(|path| format!("--keep {path}")));
        let request = context.request(words.join(" "));
        Ok(change::reset(state, layout, &asked, pending.as_ref(), &request)?)
    })
}

/// The directories that were named; without any, all that are persistent.
fn asked(args: &cli::Reset, generation: &Generation) -> Result<Reset, Refusal> {
    let named = [(args.etc, Dir::Etc), (args.var, Dir::Var), (args.home, Dir::Home)];
    let mut dirs: Vec<Dir> = named.into_iter().filter_map(|(is, dir)| is.then_some(dir)).collect();
    if dirs.is_empty() {
        let persistent = |dir: &Dir| generation.writable.mode(*dir) == Mode::Persistent;
        dirs = Dir::ALL.into_iter().filter(persistent).collect();
    }
    if dirs.is_empty() {
        return Err(Refusal::new(
            format!("none of /etc, /var and /home is persistent in generation {}", generation.id),
            "there is nothing to empty; see the policy: layerctl policy",
        ));
    }
    Ok(Reset { dirs, keep: args.keep.clone() })
}

/// What a reset would do, in JSON.
#[derive(Serialize)]
struct View {
    schema: u32,
    /// The generation that boots next.
    generation: GenerationId,
    directories: Vec<DirectoryView>,
}

#[derive(Serialize)]
struct DirectoryView {
    directory: Dir,
    goes: Vec<EntryView>,
    stays: Vec<EntryView>,
}

#[derive(Serialize)]
struct EntryView {
    path: String,
    #[serde(flatten)]
    amount: Amount,
}

fn preview(args: &cli::Reset, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let generation = store.state.next_boot()?;
    let asked = asked(args, generation)?;
    change::refused_reset(generation, &asked).map_or(Ok(()), Err)?;
    let mut directories = Vec::new();
    for dir in asked.dirs.iter().copied() {
        let mut keep = generation.writable.kept_in(dir);
        keep.extend(policy::relative(&asked.keep, dir));
        let preview = Preview::of(&uppers(&store, generation, dir)?, &keep)?;
        let root = Path::new("/").join(dir.name());
        let view = |entries: BTreeMap<PathBuf, Amount>| {
            let view = |(path, amount): (PathBuf, Amount)| EntryView {
                path: escaped(root.join(path).as_os_str().as_encoded_bytes()),
                amount,
            };
            entries.into_iter().map(view).collect()
        };
        let (goes, stays) = (view(preview.goes), view(preview.stays));
        directories.push(DirectoryView { directory: dir, goes, stays });
    }
    let view = View { schema: ui::SCHEMA, generation: generation.id, directories };
    if args.json {
        context.ui.json(&view)?;
    } else {
        context.ui.data(text(&view, context))?;
    }
    Ok(Outcome::Done)
}

/// The directories that the next boot would empty; for an /etc that is not there yet, the one that it is made of.
fn uppers(store: &Store, generation: &Generation, dir: Dir) -> Result<Vec<PathBuf>, Error> {
    let layout = &store.layout;
    if dir != Dir::Etc {
        let home = layout.shared_upper(dir);
        return Ok(vec![home.join("upper"), Layout::bound(&home)]);
    }
    let mut known = facts::store(layout);
    facts::generation(layout, generation, &mut known)?;
    let own = layout.upper(dir, generation.id, generation.writable.etc.scope);
    let source = known.etc_source.map(|source| layout.etc_upper(source.owner));
    let home = known.etc.map(|_| own).or(source);
    Ok(home.map(|home| home.join("upper")).into_iter().collect())
}

fn text(view: &View, context: &Context) -> String {
    let ui = &context.ui;
    let mut text = String::new();
    for directory in &view.directories {
        let labelled = [
            (&directory.goes, ui.paint(Colour::Red, "goes ")),
            (&directory.stays, ui.paint(Colour::Green, "stays")),
        ];
        if labelled.iter().all(|(entries, _)| entries.is_empty()) {
            let _ = writeln!(text, "/{}: nothing was written there", directory.directory);
        }
        for (entries, label) in labelled {
            for EntryView { path, amount: Amount { entries, bytes } } in entries {
                let _ = writeln!(text, "{label} {entries:>6} entries {bytes:>12} bytes  {path}");
            }
        }
    }
    text
}
