//! `layerctl base import`: a new base under the layers that are there.

use std::collections::BTreeMap;

use super::{Decision, Draft, ImageFile, Refusal, Request, State, fit, next_boot, publish};
use crate::generation::Base;
use crate::id::SetName;
use crate::layout::Layout;
use crate::manifest::Kind;
use crate::policy::Policy;

/// Decides how `image` becomes the base; in an empty store it makes the first generation.
pub fn import_base(
    state: &State,
    layout: &Layout,
    image: &ImageFile,
    request: &Request,
) -> Result<Decision, Refusal> {
    let manifest = &image.manifest;
    if manifest.kind != Kind::Base {
        return Err(Refusal::new(
            format!("{} is a layer, not a base", image.path.display()),
            format!("install it: layerctl install {}", image.path.display()),
        ));
    }
    let base = Base::from_manifest(manifest);
    let mut draft = if state.is_new() {
        let sets = BTreeMap::from([(SetName::default_set(), Vec::new())]);
        Draft { base: base.clone(), layers: Vec::new(), sets, writable: Policy::default() }
    } else {
        Draft::of(state.start()?)
    };
    if state.pointers.default.is_some()
        && draft.base == base
        && state.images.get(&base.digest) == Some(&manifest.size)
    {
        return Ok(Decision::unchanged(format!("{} is the base already", manifest.title())));
    }
    draft.base = base;
    fit::check(&draft, state, &[image])?;
    let (generation, ops) = publish(state, layout, request, draft, &[image])?;
    Ok(Decision {
        plan: super::Plan { ops },
        summary: vec![
            format!("base {}", manifest.title()),
            next_boot(state, request, generation.id),
        ],
    })
}
