//! Whether enough trusted keys have signed a text.

use thiserror::Error;

use super::{Key, Purpose, Trust};
use crate::signature::{self, KeyId};

/// Why a text is not trusted. Texts are ends of sentences.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Distrust {
    /// Nobody signed it.
    #[error("is not signed")]
    Unsigned,
    /// Its signature file holds something else.
    #[error("has a damaged signature")]
    Damaged,
    /// No key that is trusted signed it.
    #[error("is signed by key {0}, which is not trusted")]
    Unknown(KeyId),
    /// The key was revoked.
    #[error("is signed by key {0}, which is revoked")]
    Revoked(KeyId),
    /// The key's last day is over.
    #[error("is signed by key {0}, which is expired")]
    Expired(KeyId),
    /// The text is another than the one that was signed.
    #[error("has a signature of key {0} that is not for it")]
    Wrong(KeyId),
    /// The key may not sign this.
    #[error("is signed by key {0}, which may not sign it")]
    NotAllowed(KeyId),
    /// Too few keys.
    #[error("is signed by {have} of {need} keys")]
    TooFew {
        /// How many signatures count.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// Signed, and all the same not to be used.
    #[error("{0}")]
    Refused(String),
}

/// The trusted keys that have signed a text, and why others do not count.
#[derive(Debug)]
pub struct Signers<'a> {
    keys: Vec<&'a Key>,
    threshold: usize,
    /// Why the first signature that does not count doesn't.
    reason: Option<Distrust>,
}

impl Trust {
    /// Finds out who signed `bytes`; `now` in seconds since 1970, UTC. What it says may be read only after
    /// [`Signers::allow`].
    pub fn check(
        &self,
        bytes: &[u8],
        signatures: Option<&str>,
        now: u64,
    ) -> Result<Signers<'_>, Distrust> {
        let signatures = signatures.ok_or(Distrust::Unsigned)?;
        let signatures = signature::parse(signatures).map_err(|_| Distrust::Damaged)?;
        let mut signers = Signers { keys: Vec::new(), threshold: self.threshold, reason: None };
        for signature in &signatures {
            let id = signature.key;
            let key = self.keys.iter().find(|key| key.public.id() == id);
            let reason = match key {
                _ if self.revoked.contains(&id) => Distrust::Revoked(id),
                None => Distrust::Unknown(id),
                Some(key) if !key.public.verifies(bytes, signature) => Distrust::Wrong(id),
                Some(key) if key.is_expired(now) => Distrust::Expired(id),
                Some(key) => {
                    // One key counts once, however often it signed.
                    if !signers.keys.iter().any(|other| other.public.id() == id) {
                        signers.keys.push(key);
                    }
                    continue;
                }
            };
            signers.reason.get_or_insert(reason);
        }
        signers.enough(signers.keys.len())?;
        Ok(signers)
    }
}

impl Signers<'_> {
    /// Whether enough of them may sign what has that purpose and name; gives who.
    pub fn allow(&self, purpose: Purpose, name: &str) -> Result<Vec<KeyId>, Distrust> {
        let (may, not): (Vec<&Key>, Vec<&Key>) =
            self.keys.iter().partition(|key| key.may_sign(purpose, name));
        if may.len() < self.threshold
            && let Some(key) = not.first()
        {
            return Err(Distrust::NotAllowed(key.public.id()));
        }
        self.enough(may.len())?;
        Ok(may.iter().map(|key| key.public.id()).collect())
    }

    fn enough(&self, have: usize) -> Result<(), Distrust> {
        let need = self.threshold.max(1);
        if have >= need {
            return Ok(());
        }
        Err(self.reason.clone().unwrap_or(Distrust::TooFew { have, need }))
    }
}
