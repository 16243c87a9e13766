//! Whether the layers fit the base below them.

use super::{Draft, ImageFile, Refusal, State};
use crate::generation::{Base, Layer};
use crate::id::Digest;
use crate::manifest::{ANY_ARCHITECTURE, Manifest};

/// Names that are links into /usr where the base has no directory of that name (file-hierarchy(7)): a directory in
/// their place, and every program that is named by them is gone.
const LINKS: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// Checks every layer of a draft against its base; `new` are the images that enter the store with it.
pub(super) fn check(draft: &Draft, state: &State, new: &[&ImageFile]) -> Result<(), Refusal> {
    let manifest = |digest: &Digest| {
        let arriving = new.iter().map(|image| &image.manifest);
        arriving.chain(state.manifests.get(digest)).find(|manifest| manifest.digest == *digest)
    };
    let base = manifest(&draft.base.digest);
    for layer in &draft.layers {
        links(layer, &draft.base)?;
        if let (Some(layer), Some(base)) = (manifest(&layer.digest), base) {
            architecture(layer, base)?;
        }
    }
    Ok(())
}

fn links(layer: &Layer, base: &Base) -> Result<(), Refusal> {
    let has = |dirs: &[String], name: &str| dirs.iter().any(|dir| dir == name);
    match LINKS.into_iter().find(|name| has(&layer.dirs, name) && !has(&base.dirs, name)) {
        None => Ok(()),
        Some(name) => Err(Refusal::new(
            format!(
                "layer {} has a directory /{name}, which would hide the base's link to /usr/{name}",
                layer.title()
            ),
            format!("build it with these files in /usr/{name}"),
        )),
    }
}

/// A layer is of its base's architecture, or of none.
fn architecture(layer: &Manifest, base: &Manifest) -> Result<(), Refusal> {
    let fits_all = |manifest: &Manifest| manifest.architecture == ANY_ARCHITECTURE;
    if layer.architecture == base.architecture || fits_all(layer) || fits_all(base) {
        return Ok(());
    }
    Err(Refusal::new(
        format!(
            "layer {} is for {}, the base {} for {}",
            layer.title(),
            layer.architecture,
            base.title(),
            base.architecture
        ),
        format!("get the layer's {} image, or go without it", base.architecture),
    ))
}
