//! What a layer needs against what its manifest grants.

use layers::grants::{Flaw, Grants, Judgement};
use layers::layout::Layout;
use layers::manifest::Manifest;
use layers::plan::change::Refusal;
use layers::trust::Verify;

use crate::context::Context;
use crate::error::Error;
use crate::trust::Guard;

/// The most lines that a message has; the others are counted.
const LISTED: usize = 5;

/// What to do about what no grant makes right.
const REBUILD: &str = "build the layer without them; what a layer may have: docs/grants.md";

/// Whether a store takes only what is signed.
pub(crate) fn required(context: &Context, layout: &Layout) -> Result<bool, Error> {
    Ok(Guard::of(context, layout)?.verify() == Verify::Require)
}

/// Refuses a layer with something that no grant makes right or, where `required`, that its manifest does not grant.
pub(crate) fn check(
    manifest: &Manifest,
    judgement: &Judgement,
    required: bool,
) -> Result<(), Refusal> {
    let title = manifest.title();
    flaws(&title, &judgement.flaws).map_or(Ok(()), Err)?;
    match required {
        true => missing(manifest, judgement).map_or(Ok(()), Err),
        false => Ok(()),
    }
}

/// What no grant makes right.
pub(crate) fn flaws(title: &str, flaws: &[Flaw]) -> Option<Refusal> {
    let lines: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    if lines.is_empty() {
        return None;
    }
    Some(Refusal::new(
        format!("layer {title} has what no layer may have: {}", list(&lines)),
        REBUILD,
    ))
}

/// What a manifest does not grant, or that it grants nothing because a line cannot be read.
pub(crate) fn missing(manifest: &Manifest, judgement: &Judgement) -> Option<Refusal> {
    let title = manifest.title();
    let hint = format!(
        "who signs it lists them with: layerctl lint --grants IMAGE, copies what is meant into the manifest of {}, and signs it again",
        manifest.name
    );
    let grants = match Grants::parse(&manifest.grants) {
        Ok(grants) => grants,
        Err(error) => return Some(Refusal::new(format!("the manifest of {title}: {error}"), hint)),
    };
    let missing = grants.missing(&judgement.needs);
    if missing.is_empty() {
        return None;
    }
    let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let what =
        format!("layer {title} has what its signed manifest does not grant: {}", list(&lines));
    Some(Refusal::new(what, hint))
}

fn list(lines: &[String]) -> String {
    let shown = lines.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match lines.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
