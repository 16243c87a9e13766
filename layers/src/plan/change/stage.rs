//! What brings an image, its description and a base's kernel into the store.

use super::{ImageFile, NewKernel, State};
use crate::id::Digest;
use crate::layout::Layout;
use crate::plan::Op;
use crate::trust::SignedManifest;

/// What brings an image into the store: nothing for one that is there in its full length.
pub fn stage(state: &State, layout: &Layout, image: &ImageFile) -> Vec<Op> {
    let manifest = &image.manifest;
    let mut ops = Vec::new();
    if state.images.get(&manifest.digest) != Some(&manifest.size) {
        ops.push(Op::StageImage {
            from: image.path.clone(),
            to: layout.image(&manifest.digest),
            digest: manifest.digest,
            size: manifest.size,
        });
    }
    ops.extend(image.kernel.iter().flat_map(|kernel| stage_kernel(state, layout, kernel)));
    let digest = &manifest.digest;
    if let Some(verity) = manifest.verity.clone().filter(|_| !state.trees.contains(digest)) {
        let (image, tree) = (layout.image(digest), layout.tree(digest));
        ops.push(Op::StageCover { image, tree, verity });
    }
    match &image.signed {
        Some(signed) => ops.extend(describe(state, layout, digest, signed)),
        None if state.manifests.get(digest) != Some(manifest) => {
            // They were over another text. Without them the old one is unsigned, with them the new one would be forged.
            if state.signed.contains_key(digest) {
                ops.push(Op::Remove { path: layout.signatures(digest) });
            }
            let text = manifest.to_string();
            ops.push(Op::WriteFile { path: layout.manifest(digest), text });
        }
        None => {}
    }
    ops
}

/// What puts a signed manifest into the store, so that at each moment the manifest that is there is signed by whoever signed
/// the one before: where there are signatures, old and new ones together come first, since those that are not for a text do
/// not count.
pub fn describe(
    state: &State,
    layout: &Layout,
    digest: &Digest,
    signed: &SignedManifest,
) -> Vec<Op> {
    let old = state.signed.get(digest);
    if old == Some(signed) {
        return Vec::new();
    }
    let signatures = |text: String| Op::WriteFile { path: layout.signatures(digest), text };
    let manifest = Op::WriteFile { path: layout.manifest(digest), text: signed.manifest.clone() };
    let new = signatures(signed.signatures.clone());
    match old {
        Some(old) if old.manifest == signed.manifest => vec![new],
        Some(old) => {
            let both = format!("{}\n{}", signed.signatures.trim_end(), old.signatures);
            vec![signatures(both), manifest, new]
        }
        None => vec![manifest, new],
    }
}

/// What brings a kernel and its initrd into the store, where they are not there.
fn stage_kernel(state: &State, layout: &Layout, new: &NewKernel) -> Vec<Op> {
    let from = [&new.linux, &new.initrd];
    let files = new.kernel.files().into_iter().zip(from);
    files
        .filter(|((file, size), _)| state.kernels.get(file) != Some(size))
        .map(|((file, size), from)| Op::StageImage {
            from: from.clone(),
            to: layout.kernel_file(&file),
            digest: file.digest,
            size,
        })
        .collect()
}
