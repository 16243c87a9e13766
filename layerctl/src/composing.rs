//! Between a decision and its execution: the layers of each new choice are looked at together, and package triggers run
//! over them.

#![expect(clippy::disallowed_methods, reason = "makes a directory for each trigger layer")]

use std::fs;
use std::path::PathBuf;

use layers::id::Digest;
use layers::layout::{Layout, UNPUBLISHED};
use layers::manifest::Manifest;
use layers::plan::Op;
use layers::plan::change::{Composition, Decision, Made, Refusal, State};

use crate::context::{Context, Store};
use crate::error::Error;
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

/// Completes a decision with the trigger layers that its generation needs. What was made is there as long as the returned
/// directory is.
pub(crate) fn complete(
    context: &Context,
    table: &Table,
    store: &Store,
    decision: Decision,
) -> Result<(Decision, Option<WorkDirectory>), Error> {
    if decision.compositions.is_empty() {
        return Ok((decision, None));
    }
    let work = WorkDirectory::in_store(UNPUBLISHED, &store.layout.store())?;
    let mut made: Vec<Made> = Vec::new();
    for (number, composition) in decision.compositions.iter().enumerate() {
        let stack = stack(composition, &decision, &store.state, &store.layout)?;
        let place = work.path().join(number.to_string());
        fs::create_dir(&place).map_err(|error| Error::io("create", &place, error))?;
        let mut one = triggers::compose(context, table, &stack, &place)?;
        if let Made::Image(image) = &mut one {
            signing::image::sign_own(context, image)?;
        }
        made.push(one);
    }
    let kept = made.iter().any(|one| matches!(one, Made::Image(_))).then_some(work);
    Ok((decision.complete(&store.state, &store.layout, &made)?, kept))
}

/// The images of a composition: in the store, or on their way there.
fn stack(
    composition: &Composition,
    decision: &Decision,
    state: &State,
    layout: &Layout,
) -> Result<Stack, Refusal> {
    let image = |digest: &Digest| {
        let manifest = manifest(decision, state, layout, digest);
        let manifest = manifest.ok_or_else(|| StackImage::lost(digest))?;
        let path = arriving(decision, layout, digest).unwrap_or_else(|| layout.image(digest));
        Ok(StackImage::new(manifest, path))
    };
    let layers = composition.layers.iter().map(|(_, digest)| image(digest));
    Ok(Stack { base: image(&composition.base)?, layers: layers.collect::<Result<_, Refusal>>()? })
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
