//! `layerctl base import`: a new base under the layers that are there.

use std::collections::BTreeMap;

use super::resolve::{self, Resolved, intents};
use super::{Decision, Draft, ImageFile, Refusal, Request, State, fit, publish};
use crate::generation::Base;
use crate::id::SetName;
use crate::kernel::Kernel;
use crate::layout::Layout;
use crate::manifest::Kind;
use crate::policy::Policy;

/// Decides how `image` becomes the base; in an empty store it makes the first generation. `resolved` are all requests of
/// the generation that the change starts from, resolved for the new base; without, what came of them for the old base stays.
pub fn import_base(
    state: &State,
    layout: &Layout,
    image: &ImageFile,
    resolved: Option<&[Resolved]>,
    request: &Request,
) -> Result<Decision, Refusal> {
    let manifest = &image.manifest;
    if manifest.kind != Kind::Base {
        return Err(Refusal::new(
            format!("{} is a layer, not a base", image.path.display()),
            format!("install it: layerctl install {}", image.path.display()),
        ));
    }
    let mut draft = if state.is_new() {
        let sets = BTreeMap::from([(SetName::default_set(), Vec::new())]);
        Draft {
            options: Vec::new(),
            base: Base::from_manifest(manifest),
            kernel: None,
            layers: Vec::new(),
            sets,
            requests: Vec::new(),
            writable: Policy::default(),
        }
    } else {
        Draft::of(state.start()?)
    };
    let had = (state.pointers.default.is_some()).then(|| draft.base.clone());
    let kernel = draft.kernel.clone();
    replace(&mut draft, image);
    let whole = |kernel: &Kernel| {
        kernel.files().iter().all(|(file, size)| state.kernels.get(file) == Some(size))
    };
    if had.as_ref() == Some(&draft.base)
        && draft.kernel == kernel
        && draft.kernel.as_ref().is_none_or(whole)
        && state.images.get(&manifest.digest) == Some(&manifest.size)
    {
        return Ok(Decision::unchanged(format!("{} is the base already", manifest.title())));
    }
    let mut summary = vec![format!("base {}", manifest.title())];
    let images = arriving(state, &mut draft, image, resolved, &mut summary)?;
    fit::check(&draft, state, &images, &mut summary)?;
    publish(state, layout, request, draft, &images, summary)
}

/// Puts `image` under the layers of a draft, with its kernel.
pub(super) fn replace(draft: &mut Draft, image: &ImageFile) {
    let base = Base::from_manifest(&image.manifest);
    // The same base without a kernel is one whose initrd could not be built this time: the one that it has stays.
    let kept = draft.kernel.take().filter(|_| draft.base == base && image.kernel.is_none());
    let new = image.kernel.as_ref().map(|new| new.kernel.clone());
    draft.kernel = new.or(kept);
    draft.base = base;
}

/// Puts what came of all requests for the new base `image` into a draft; gives all images that arrive with it.
pub(super) fn arriving<'a>(
    state: &State,
    draft: &mut Draft,
    image: &'a ImageFile,
    resolved: Option<&'a [Resolved]>,
    summary: &mut Vec<String>,
) -> Result<Vec<&'a ImageFile>, Refusal> {
    let before = state.start().map_or_else(|_| Ok(Vec::new()), intents)?;
    if let Some(resolved) = resolved {
        resolve::put_all(draft, &before, resolved, summary)?;
    }
    let mut images = vec![image];
    images.extend(resolve::images(resolved.unwrap_or_default()));
    Ok(images)
}
