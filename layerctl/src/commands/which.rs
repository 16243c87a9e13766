//! `layerctl which`.

use std::path::{Component, Path};

use layers::overlap::{Entry, Node};
use layers::plan::change::Refusal;
use layers::store::inspect::OpenImage;
use serde::Serialize;

use super::stack::{StackedImage, chosen, stack_of};
use crate::admission;
use crate::cli::Which;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::inspection::entries;
use crate::ui;

/// How many links are followed on the way to a path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Where a path comes from, in JSON.
#[derive(Serialize)]
struct Origin {
    schema: u32,
    generation: layers::id::GenerationId,
    /// The path as it was asked for.
    asked: String,
    /// The path without links on the way.
    path: String,
    /// The image that is seen, as `layer htop 3.4`.
    from: String,
    /// Those that it hides, topmost first; a directory hides none.
    hides: Vec<String>,
    /// Those that have the directory too, topmost first.
    shared_with: Vec<String>,
}

pub(super) fn run(args: &Which, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let generation = chosen(&store, args.choice)?;
    let images = stack_of(&store, Some(generation));
    let mut opened = Vec::new();
    for image in images.iter().rev() {
        opened.push((image, admission::open(&image.path, image.manifest.format)?));
    }
    let stack = Stack { images: opened };
    let found = stack.resolve(&args.path)?;
    let Some((path, seen)) = found else {
        let what = format!("no image of generation {} has {}", generation.id, args.path.display());
        let hint = "what is written to /etc, /var and /home is in no image: layerctl etc status";
        return Err(Refusal::new(what, hint).into());
    };
    let titles: Vec<String> = seen.iter().map(|(image, _)| image.title()).collect();
    let directory = seen.first().is_some_and(|(_, entry)| is_directory(entry));
    let others = titles.get(1..).unwrap_or_default().to_vec();
    let (hides, shared_with) = if directory { (Vec::new(), others) } else { (others, Vec::new()) };
    let origin = Origin {
        schema: ui::SCHEMA,
        generation: generation.id,
        asked: args.path.display().to_string(),
        path: format!("/{path}"),
        from: titles.into_iter().next().unwrap_or_default(),
        hides,
        shared_with,
    };
    if args.reading.json {
        context.ui.json(&origin)?;
    } else {
        context.ui.data(text(&origin))?;
    }
    Ok(Outcome::Done)
}

fn text(origin: &Origin) -> String {
    let mut text = format!("{}: {}\n", origin.path, origin.from);
    for (word, titles) in [("hides", &origin.hides), ("shared with", &origin.shared_with)] {
        for title in titles {
            text += &format!("  {word} {title}\n");
        }
    }
    text
}

/// A path's images, topmost first, each with its entry there.
type Seen<'a> = Vec<(&'a StackedImage<'a>, Entry)>;

/// Opened images, topmost first.
struct Stack<'a> {
    images: Vec<(&'a StackedImage<'a>, OpenImage)>,
}

impl<'a> Stack<'a> {
    /// Follows the links of all directories on the way, as the kernel does over the union.
    fn resolve(&self, path: &Path) -> Result<Option<(String, Seen<'a>)>, Error> {
        let mut todo: Vec<String> = names(path);
        todo.reverse();
        let mut at = String::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                at.truncate(at.rfind('/').unwrap_or(0));
                continue;
            }
            let here = if at.is_empty() { name } else { format!("{at}/{name}") };
            let seen = self.look(&here)?;
            match seen.first().map(|(_, entry)| &entry.node) {
                None => return Ok(None),
                Some(Node::Link(target)) if !todo.is_empty() => {
                    links += 1;
                    if links > LINKS_MAX {
                        let what = format!("too many links on the way to {}", path.display());
                        return Err(Refusal::new(what, "look at them: ls -l").into());
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    todo.extend(names(Path::new(target)).into_iter().rev());
                }
                Some(_) => at = here,
            }
        }
        let seen = self.look(&at)?;
        Ok((!seen.is_empty()).then_some((at, seen)))
    }

    /// What the images have at a path whose directories are no links in the union, topmost first, as far down as it is
    /// not hidden on purpose.
    fn look(&self, path: &str) -> Result<Seen<'a>, Error> {
        let mut seen: Seen<'a> = Vec::new();
        for (image, opened) in &self.images {
            let (entry, hidden) = inside(opened.root(), path)?;
            if let Some(entry) = entry {
                if entry.node == Node::Whiteout {
                    break;
                }
                let opaque = entry.node == Node::Directory { opaque: true };
                seen.push((image, entry));
                if opaque {
                    break;
                }
            }
            if hidden {
                break;
            }
        }
        Ok(seen)
    }
}

/// What one image has at a path, and whether it hides what those below it have there.
fn inside(root: &Path, path: &str) -> Result<(Option<Entry>, bool), Error> {
    let mut hidden = false;
    for (end, _) in path.match_indices('/') {
        match entries::entry(root, path.get(..end).unwrap_or_default())? {
            Some(Entry { node: Node::Directory { opaque }, .. }) => hidden |= opaque,
            Some(_) => return Ok((None, true)),
            None => return Ok((None, hidden)),
        }
    }
    Ok((entries::entry(root, path)?, hidden))
}

fn is_directory(entry: &Entry) -> bool {
    matches!(entry.node, Node::Directory { .. })
}

/// The names in a path, without `.`.
fn names(path: &Path) -> Vec<String> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        Component::ParentDir => Some("..".to_owned()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}
