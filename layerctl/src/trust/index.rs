//! Signed indexes of repositories: nobody between the repository and this machine can give an older one, keep a newer one
//! back for long, or put indexes together.

use layers::plan::change::Refusal;
use layers::trust::{Distrust, Purpose, Verify};

use super::Guard;
use crate::repo::index::Index;

/// How far a repository's clock may be ahead, in seconds.
const AHEAD: u64 = 24 * 60 * 60;

/// An index as it was got, or as it was kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// Its text.
    pub(crate) text: &'a str,
    /// What it says.
    pub(crate) index: &'a Index,
    /// The signatures beside it.
    pub(crate) signatures: Option<&'a str>,
}

impl Guard {
    /// Checks the index of the repository `name`; `known` is the last one that was taken.
    pub(crate) fn check_index(
        &self,
        name: &str,
        new: Signed<'_>,
        known: Option<Signed<'_>>,
    ) -> Result<(), Refusal> {
        let refused = |why: String, hint: &str| {
            Err(Refusal::new(format!("the index of repository {name} {why}"), hint))
        };
        let known = known.filter(|known| known.signatures.is_some());
        let again = "whoever runs the repository can mend it: layerctl repo index DIR --key FILE";
        if new.signatures.is_none() {
            return match (self.verify(), known) {
                (Verify::Off, _) | (Verify::IfSigned, None) => Ok(()),
                (Verify::Require, None) => refused(Distrust::Unsigned.to_string(), again),
                (_, Some(_)) => refused("was signed before and is not any more".to_owned(), again),
            };
        }
        if self.verify() == Verify::Off {
            return Ok(());
        }
        if let Err(distrust) = self.check_text(new.text, new.signatures, Purpose::Index, name) {
            let mixed = "it may be on its way to being replaced: type the command again later";
            let hint = if matches!(distrust, Distrust::Wrong(_)) { mixed } else { again };
            return refused(distrust.to_string(), hint);
        }
        let (Some(serial), Some(until)) = (new.index.serial, new.index.valid_until) else {
            return refused(
                "is signed without a serial and the time that it is valid until".to_owned(),
                again,
            );
        };
        if until.seconds() < self.now() {
            let hint = "what is newer may be kept from you; look at the clock and the network, or ask whoever runs it";
            return refused(format!("was valid until {until}"), hint);
        }
        if serial > self.now().saturating_add(AHEAD) {
            return refused("is from the future".to_owned(), "look at the clock: date");
        }
        let before = known.and_then(|known| Some((known.index.serial?, known.text)));
        match before {
            Some((before, _)) if serial < before => refused(
                format!("is older than the one that was taken last: serial {serial}, not {before}"),
                "somebody may keep newer images from you: try another network, or ask whoever runs it",
            ),
            Some((before, text)) if serial == before && text != new.text => {
                refused(format!("is another one of the same serial {serial}"), again)
            }
            _ => Ok(()),
        }
    }
}
