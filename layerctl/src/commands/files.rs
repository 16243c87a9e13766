//! `layerctl files`.

use layers::overlap::{Entry, Node};
use layers::plan::change::Refusal;
use serde::Serialize;

use super::stack::{chosen, stack_of};
use crate::admission;
use crate::cli::Files;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::inspection::entries;
use crate::ui;

/// An image's files, in JSON.
#[derive(Serialize)]
struct Listing {
    schema: u32,
    /// The image, as `layer htop 3.4`.
    image: String,
    files: Vec<FileView>,
}

#[derive(Serialize)]
struct FileView {
    path: String,
    /// `directory`, `file`, `link`, `device`, `whiteout` or `other`.
    kind: &'static str,
    /// Permission bits, in octal digits.
    mode: String,
    uid: u32,
    gid: u32,
    /// The length of a file in bytes.
    size: Option<u64>,
    /// Where a link leads.
    target: Option<String>,
}

pub(super) fn run(args: &Files, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let generation = chosen(&store, args.choice)?;
    let images = stack_of(&store, Some(generation));
    let mut named = images.iter().filter(|image| image.manifest.name.as_str() == args.name);
    let image = named.next_back().ok_or_else(|| {
        Refusal::new(
            format!("generation {} has no layer {}", generation.id, args.name),
            "see which there are: layerctl status",
        )
    })?;
    let opened = admission::open(&image.path, image.manifest.format)?;
    let mut entries = entries::all(opened.root())?;
    entries.remove("");
    if args.reading.json {
        let files = entries.into_iter().map(FileView::new).collect();
        context.ui.json(&Listing { schema: ui::SCHEMA, image: image.title(), files })?;
    } else {
        context.ui.data(entries.keys().map(|path| format!("/{path}\n")).collect::<String>())?;
    }
    Ok(Outcome::Done)
}

impl FileView {
    fn new((path, entry): (String, Entry)) -> Self {
        let (mut size, mut target) = (None, None);
        let kind = match entry.node {
            Node::Directory { .. } => "directory",
            Node::File(bytes) => {
                size = Some(bytes);
                "file"
            }
            Node::Link(to) => {
                target = Some(to);
                "link"
            }
            Node::Whiteout => "whiteout",
            Node::Device(_) => "device",
            Node::Other => "other",
        };
        let (uid, gid) = entry.owner;
        let mode = format!("{:04o}", entry.mode);
        Self { path: format!("/{path}"), kind, mode, uid, gid, size, target }
    }
}
