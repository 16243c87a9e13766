//! Who signed the store's images, what the policy says of it, and whether what covers their bytes is whole.

use layers::id::Digest;
use layers::manifest::Manifest;
use layers::signature;
use layers::store::verify;
use layers::trust::{Document, Verify};
use serde::Serialize;

use crate::context::Store;
use crate::trust::Guard;

/// What there is to say of one image's signatures.
#[derive(Debug, Serialize)]
pub(super) struct Signed {
    /// `trusted`, `unsigned`, `refused`, or `unchecked` where nothing is asked of signatures.
    pub(super) verdict: &'static str,
    /// The IDs of the keys that say to have signed it.
    pub(super) keys: Vec<String>,
    /// Why it is refused.
    pub(super) why: Option<String>,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

/// What covers an image's bytes while they are read.
#[derive(Debug, Serialize)]
pub(super) struct Cover {
    /// dm-verity's root hash.
    pub(super) root: String,
    /// `good`, `damaged` or `missing`.
    pub(super) verdict: &'static str,
    /// Why it is not good.
    pub(super) why: Option<String>,
}

/// Looks at the signatures over an image's manifest.
pub(super) fn look(store: &Store, guard: &Guard, digest: &Digest) -> Option<Signed> {
    let state = &store.state;
    let manifest = state.manifests.get(digest)?;
    let signed = state.signed.get(digest);
    let text = signed.map_or_else(|| manifest.to_string(), |signed| signed.manifest.clone());
    let signatures = signed.map(|signed| signed.signatures.as_str());
    let keys = signatures.and_then(|text| signature::parse(text).ok()).unwrap_or_default();
    let mut keys: Vec<String> = keys.iter().map(|one| one.key.to_string()).collect();
    keys.dedup();
    let document = Document { manifest: Some(&text), signatures };
    let (verdict, refusal) = match guard.check(&manifest.title(), document) {
        Err(refusal) => ("refused", Some(refusal)),
        Ok(Some(admitted)) if admitted.manifest.digest == *digest => ("trusted", None),
        Ok(Some(_)) => ("refused", None),
        Ok(None) if signed.is_none() => ("unsigned", None),
        Ok(None) => ("unchecked", None),
    };
    // A store that nobody asks for signatures need not speak of them.
    if verdict == "unsigned" && guard.verify() == Verify::Off {
        return None;
    }
    let why = match (&refusal, verdict) {
        (Some(refusal), _) => Some(refusal.what.clone()),
        (None, "refused") => Some("its signed manifest is of another image".to_owned()),
        _ => None,
    };
    let hint = refusal.map(|refusal| refusal.hint);
    Some(Signed { verdict, keys, why, hint })
}

/// Looks at an image's hash tree.
pub(super) fn cover(store: &Store, manifest: &Manifest) -> Option<Cover> {
    let verity = manifest.verity.as_ref()?;
    let (verdict, why) = match verify::cover(&store.layout, manifest) {
        verify::Verdict::Good => ("good", None),
        verify::Verdict::Missing => ("missing", Some("it has no hash tree".to_owned())),
        verify::Verdict::Damaged { .. } => {
            ("damaged", Some("the image is not the one that its verity hashes are of".to_owned()))
        }
        verify::Verdict::Unreadable(why) => ("damaged", Some(why)),
    };
    Some(Cover { root: verity.root.to_string(), verdict, why })
}
