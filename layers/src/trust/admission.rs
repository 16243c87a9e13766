//! Whether an image may be used: who signed its manifest, what that says, and whether it is too old.

use super::{Distrust, Essence, Floors, Purpose, Trust, Verify};
use crate::manifest::BLOCK;
use crate::signature::KeyId;

/// A manifest's text and the signatures beside it: what is signed is these very bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    /// The manifest.
    pub manifest: String,
    /// Its signatures, as [`crate::signature`] reads them.
    pub signatures: String,
}

/// What there is of an image's description. What is missing is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Document<'a> {
    /// The manifest's text.
    pub manifest: Option<&'a str>,
    /// The signatures beside it.
    pub signatures: Option<&'a str>,
}

/// A manifest that enough trusted keys have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What it says; it has verity data for every byte of the image.
    pub manifest: Essence,
    /// Who signed it.
    pub keys: Vec<KeyId>,
}

impl Trust {
    /// Checks a manifest and its signatures: `None` where nothing has to be signed and nothing is. `floors` are the lowest
    /// versions besides those of the trust file; `now` is in seconds since 1970, UTC.
    pub fn admit(
        &self,
        document: Document<'_>,
        floors: &Floors,
        now: u64,
    ) -> Result<Option<Admitted>, Distrust> {
        match (self.verify, document.signatures) {
            (Verify::Off, _) | (Verify::IfSigned, None) => return Ok(None),
            _ => {}
        }
        let refused = |why: &str| Distrust::Refused(why.to_owned());
        let text = document.manifest.ok_or_else(|| refused("has no manifest"))?;
        let signers = self.check(text.as_bytes(), document.signatures, now)?;
        let manifest = Essence::parse(text)
            .map_err(|why| Distrust::Refused(format!("has a signed manifest of no use: {why}")))?;
        let keys = signers.allow(manifest.kind.into(), manifest.name.as_str())?;
        let verity = &manifest.verity;
        let hex = verity.salt.bytes().all(|digit| digit.is_ascii_hexdigit());
        let whole = verity.data_blocks.checked_mul(BLOCK) == Some(manifest.size);
        if !hex || !whole || verity.data_blocks == 0 {
            return Err(refused("has a signed manifest whose verity data are not for the image"));
        }
        let purpose = Purpose::from(manifest.kind);
        let floor =
            |floors: &Floors| floors.refuse(purpose, &manifest.name, &manifest.version).cloned();
        if let Some(floor) = floor(&self.minimum).or_else(|| floor(floors)) {
            return Err(Distrust::Refused(format!(
                "has version {}, which is below {floor}",
                manifest.version
            )));
        }
        Ok(Some(Admitted { manifest, keys }))
    }
}
