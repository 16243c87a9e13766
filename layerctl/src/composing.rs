//! Between a decision and its execution: the layers of each new choice are looked at together, package triggers run over
//! them, and an index of all is made.

#![expect(clippy::disallowed_methods, reason = "makes a directory for each trigger layer")]

use std::fs;
use std::path::{Path, PathBuf};

use layers::id::Digest;
use layers::layout::{Layout, UNPUBLISHED};
use layers::manifest::Manifest;
use layers::plan::Op;
use layers::plan::change::{Composition, Decision, Made, Refusal, State};

use crate::context::{Context, Store};
use crate::error::Error;
use crate::indexing;
use crate::inspection;
use crate::signing;
use crate::triggers::{self, Stack, StackImage, Table};
use crate::work::WorkDirectory;

/// Looks at the layers of each new choice of a decision together. What people are to be told goes before the last line of its
/// summary. A dry run, which downloads no image, cannot look into one that is not here.
pub(crate) fn check(
    context: &Context,
    table: &Table,
    store: &Store,
    decision: &mut Decision,
    dry_run: bool,
) -> Result<(), Error> {
    if decision.compositions.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = Vec::new();
    let required = inspection::grants::required(context, &store.layout)?;
    for composition in &decision.compositions {
        let stack = stack(composition, decision, &store.state, &store.layout)?;
        if dry_run && stack.images().any(|image| !image.path.exists()) {
            continue;
        }
        for line in inspection::check_stack(context, &store.state, table, &stack, required)? {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    let last = decision.summary.len().saturating_sub(1);
    decision.summary.splice(last..last, lines);
    Ok(())
}

/// Completes a decision with the trigger layers that its generation needs and, where it is to be `indexed`, with the indexes.
/// What was made is there as long as the returned directory is.
pub(crate) fn complete(
    context: &Context,
    table: &Table,
    store: &Store,
    mut decision: Decision,
    indexed: bool,
) -> Result<(Decision, Option<WorkDirectory>), Error> {
    let mut work = None;
    if !decision.compositions.is_empty() {
        let place = place(&mut work, store)?;
        decision = compose(context, table, store, decision, &place)?;
    }
    let indexings = if indexed { decision.indexings(&store.state) } else { Vec::new() };
    if !indexings.is_empty() {
        let place = place(&mut work, store)?;
        let mut made = Vec::new();
        for indexing in &indexings {
            let image = |digest| image(digest, &decision, &store.state, &store.layout);
            let images = indexing.images.iter().map(image).collect::<Result<Vec<_>, Refusal>>()?;
            if let Some(mut one) = indexing::make(context, indexing, &images, &place)? {
                signing::image::sign_own(context, &mut one.image)?;
                made.push(one);
            }
        }
        decision = decision.indexed(&store.state, &store.layout, &made)?;
    }
    Ok((decision, work))
}

/// The directory for what is made, which is there from when it is first asked for.
fn place(work: &mut Option<WorkDirectory>, store: &Store) -> Result<PathBuf, Error> {
    let made = match work.take() {
        Some(made) => made,
        None => WorkDirectory::in_store(UNPUBLISHED, &store.layout.store())?,
    };
    let path = made.path().to_owned();
    *work = Some(made);
    Ok(path)
}

/// Runs the triggers over each new choice of layers.
fn compose(
    context: &Context,
    table: &Table,
    store: &Store,
    decision: Decision,
    work: &Path,
) -> Result<Decision, Error> {
    let mut made: Vec<Made> = Vec::new();
    for (number, composition) in decision.compositions.iter().enumerate() {
        let stack = stack(composition, &decision, &store.state, &store.layout)?;
        let place = work.join(number.to_string());
        fs::create_dir(&place).map_err(|error| Error::io("create", &place, error))?;
        let mut one = triggers::compose(context, table, &stack, &place)?;
        if let Made::Image(image) = &mut one {
            signing::image::sign_own(context, image)?;
        }
        made.push(one);
    }
    Ok(decision.complete(&store.state, &store.layout, &made)?)
}

/// The images of a composition: in the store, or on their way there.
fn stack(
    composition: &Composition,
    decision: &Decision,
    state: &State,
    layout: &Layout,
) -> Result<Stack, Refusal> {
    let image = |digest: &Digest| image(digest, decision, state, layout);
    let layers = composition.layers.iter().map(|(_, digest)| image(digest));
    Ok(Stack { base: image(&composition.base)?, layers: layers.collect::<Result<_, Refusal>>()? })
}

/// An image of a generation that is being made: in the store, or on its way there.
fn image(
    digest: &Digest,
    decision: &Decision,
    state: &State,
    layout: &Layout,
) -> Result<StackImage, Refusal> {
    let manifest = manifest(decision, state, layout, digest);
    let manifest = manifest.ok_or_else(|| StackImage::lost(digest))?;
    let path = arriving(decision, layout, digest).unwrap_or_else(|| layout.image(digest));
    Ok(StackImage::new(manifest, path))
}

/// Where an image is that is to enter the store.
fn arriving(decision: &Decision, layout: &Layout, digest: &Digest) -> Option<PathBuf> {
    let place = layout.image(digest);
    decision.plan.ops.iter().find_map(|op| match op {
        Op::StageImage { from, to, .. } if *to == place => Some(from.clone()),
        _ => None,
    })
}

fn manifest(
    decision: &Decision,
    state: &State,
    layout: &Layout,
    digest: &Digest,
) -> Option<Manifest> {
    let place = layout.manifest(digest);
    let new = decision.plan.ops.iter().find_map(|op| match op {
        Op::WriteFile { path, text } if *path == place => Manifest::parse(text).ok(),
        _ => None,
    });
    new.or_else(|| state.manifests.get(digest).cloned())
}
