//! `layerctl sign` of an image that the store has: its manifest with verity data, its signatures, its hash tree.

use super::{Decision, State, describe};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::plan::Op;
use crate::trust::SignedManifest;

/// Decides how a signed manifest takes its place beside the store's image; the tree that it needs comes first.
pub fn sign(
    state: &State,
    layout: &Layout,
    manifest: &Manifest,
    signed: &SignedManifest,
    said: String,
) -> Decision {
    let digest = &manifest.digest;
    let mut ops = Vec::new();
    if let Some(verity) = manifest.verity.clone().filter(|_| !state.trees.contains(digest)) {
        ops.push(Op::StageCover { image: layout.image(digest), tree: layout.tree(digest), verity });
    }
    ops.extend(describe(state, layout, digest, signed));
    Decision::of(ops, vec![said])
}

#[cfg(test)]
mod tests {
    use super::super::compose::tests::{image, layout, store};
    use super::*;
    use crate::manifest::{Kind, Verity};
    use crate::plan::check::check_change;

    fn signed(manifest: &Manifest, signatures: &str) -> SignedManifest {
        SignedManifest { manifest: manifest.to_string(), signatures: signatures.into() }
    }

    #[test]
    fn the_tree_comes_before_the_manifest_and_that_before_its_signatures() {
        let (mut state, layout) = (store(), layout());
        let mut manifest = image("debian", Kind::Base).manifest;
        let digest = manifest.digest;
        let verity = Verity { root: digest, salt: String::new(), data_blocks: 1, fsverity: digest };
        manifest.verity = Some(verity.clone());
        let one = signed(&manifest, "one\n");
        let decision = sign(&state, &layout, &manifest, &one, "signed".into());
        check_change(&decision.plan, &layout).unwrap();
        assert_eq!(
            decision.plan.ops,
            [
                Op::StageCover { image: layout.image(&digest), tree: layout.tree(&digest), verity },
                Op::WriteFile { path: layout.manifest(&digest), text: one.manifest.clone() },
                Op::WriteFile { path: layout.signatures(&digest), text: one.signatures.clone() },
            ]
        );
        // Another signature over the same text is one file.
        state.trees.insert(digest);
        state.signed.insert(digest, one.clone());
        let both = signed(&manifest, "one\ntwo\n");
        let decision = sign(&state, &layout, &manifest, &both, "signed".into());
        assert_eq!(
            decision.plan.ops,
            [Op::WriteFile { path: layout.signatures(&digest), text: both.signatures }]
        );
        assert!(sign(&state, &layout, &manifest, &one, "signed".into()).is_unchanged());
    }
}
