//! What is trusted on this machine, and the check of all that enters its store: the same as at boot.

#![expect(clippy::disallowed_methods, reason = "reads the trust file")]

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use layers::layout::Layout;
use layers::manifest::Manifest;
use layers::plan::change::Refusal;
use layers::trust::{Admitted, Distrust, Document, Floors, Purpose, Trust, Verify};

use crate::context::Context;
use crate::error::Error;

mod generation;
pub(crate) mod index;

pub(crate) use generation::{check_decision, check_generation, check_triggers};

/// The machine's own trust file.
pub(crate) const PATH: &str = Trust::FILE;

/// What to type for trigger layers and layers of packages that are signed where they are made.
const MACHINE_KEY: &str = "layerctl key generate --no-password, its public line in the trust file, its file as sign.key in layerctl.toml";

/// Where to read about it.
const DOCUMENT: &str = "docs/verification.md";

/// How long before a key's last day people are told, in seconds.
const SOON: u64 = 30 * 24 * 60 * 60;

/// A trust file that was read, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrustFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) text: String,
    /// What it says.
    pub(crate) trust: Trust,
}

impl TrustFile {
    /// Reads the file that was named; it must be there.
    pub(crate) fn named(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        let path = path.to_owned();
        match Trust::parse(&text) {
            Ok(trust) => Ok(Self { path, text, trust }),
            Err(source) => Err(Error::Trust { path, source }),
        }
    }

    /// Reads a file that need not be there.
    pub(crate) fn optional(path: &Path) -> Result<Option<Self>, Error> {
        match Self::named(path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// What may keep a machine with this file from booting, one sentence each.
    pub(crate) fn doubts(&self, now: u64) -> Vec<String> {
        let Trust { keys, revoked, threshold, verify, .. } = &self.trust;
        let mut doubts = Vec::new();
        let counts = |key: &&layers::trust::Key, at| {
            let bases = key.kinds.is_empty() || key.kinds.contains(&Purpose::Base);
            bases && !revoked.contains(&key.public.id()) && !key.is_expired(at)
        };
        let usable = |at| keys.iter().filter(|key| counts(key, at)).count();
        if *verify == Verify::Require && usable(now) < *threshold {
            doubts.push(format!(
                "{} requires {threshold} keys for a base and has {}: nothing boots with it",
                self.path.display(),
                usable(now)
            ));
        } else if *verify == Verify::Require && usable(now.saturating_add(SOON)) < *threshold {
            doubts.push(format!(
                "{} requires signatures, and within 30 days too few of its keys count: nothing boots with it then",
                self.path.display()
            ));
        }
        doubts
    }
}

/// What is in force for a store: the machine's file, raised by the store's own and by what this boot asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    trust: Trust,
    /// The highest versions that were marked good, as far as nobody signed older ones off.
    floors: Floors,
    /// Why what was signed off does not count, where it doesn't.
    ignored: Option<String>,
    /// Seconds since 1970.
    now: u64,
}

impl Guard {
    /// One that asks for nothing.
    pub(crate) fn off() -> Self {
        Self::default()
    }

    /// The guard of the store at `layout`. What cannot be read is an error: nothing is let in for that.
    pub(crate) fn of(context: &Context, layout: &Layout) -> Result<Self, Error> {
        let now = context.environment.now;
        let file = context.trust_file()?;
        let mut trust = file.map(|file| file.trust).unwrap_or_default();
        if let Some(stricter) = TrustFile::optional(&layout.trust())? {
            trust.raise(&stricter.trust);
        }
        if let Some(verify) = context.booted_verify()? {
            trust.verify = trust.verify.max(verify);
        }
        let mut guard = Self { trust, now, ..Self::default() };
        if guard.trust.verify != Verify::Off {
            guard.read_floors(layout)?;
        }
        Ok(guard)
    }

    /// What is asked.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// How much has to be signed.
    pub(crate) fn verify(&self) -> Verify {
        self.trust.verify
    }

    /// The same that asks for everything to be signed.
    pub(crate) fn requiring(&self) -> Self {
        let mut stricter = self.clone();
        stricter.trust.verify = Verify::Require;
        stricter
    }

    /// Checks what is there of the description of `what`; nothing is known of an image that needs no signature and has none.
    pub(crate) fn check(
        &self,
        what: &dyn fmt::Display,
        document: Document<'_>,
    ) -> Result<Option<Admitted>, Refusal> {
        self.trust.admit(document, &self.floors, self.now).map_err(|distrust| {
            let hint = match &self.ignored {
                Some(why) if matches!(distrust, Distrust::Refused(_)) => {
                    format!("{}; what is signed off {why}", hint(&distrust, document))
                }
                _ => hint(&distrust, document),
            };
            Refusal::new(format!("{what} {distrust}"), hint)
        })
    }

    /// Checks a text that is no manifest.
    pub(crate) fn check_text(
        &self,
        text: &str,
        signatures: Option<&str>,
        purpose: Purpose,
        name: &str,
    ) -> Result<(), Distrust> {
        let signers = self.trust.check(text.as_bytes(), signatures, self.now)?;
        signers.allow(purpose, name).map(drop)
    }

    /// Reads the lowest versions that the store knows of: those that were marked good, lowered by what an administrator has
    /// signed.
    fn read_floors(&mut self, layout: &Layout) -> Result<(), Error> {
        let Some(floors) = read_floors(&layout.versions())? else { return Ok(()) };
        self.floors = floors;
        let Some(text) = optional(&layout.downgrade())? else { return Ok(()) };
        let signatures = optional(&layout.downgrade_signatures())?;
        match self.trust.signed_off(&text, signatures.as_deref(), self.now) {
            Ok(lower) => self.floors.lower(&lower),
            Err(why) => self.ignored = Some(why),
        }
        Ok(())
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }
}

fn read_floors(path: &Path) -> Result<Option<Floors>, Error> {
    let Some(text) = optional(path)? else { return Ok(None) };
    text.parse().map(Some).map_err(|why: String| {
        let what = format!("{} is damaged: {why}", path.display());
        let hint = "it is written anew by: layerctl mark-good; without it no version is too old";
        Refusal::new(what, format!("take it away: rm {}; {hint}", path.display())).into()
    })
}

/// A file's text, where there is one.
pub(crate) fn optional(path: &Path) -> Result<Option<String>, Error> {
    match layers::store::read::text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// What to type where something is not trusted.
fn hint(distrust: &Distrust, document: Document<'_>) -> String {
    match distrust {
        Distrust::Unsigned => {
            "get the .toml.minisig that belongs to its manifest, or sign it: layerctl sign IMAGE --key FILE".to_owned()
        }
        Distrust::Damaged => "get the .minisig file again".to_owned(),
        Distrust::Unknown(_) => format!(
            "if you trust that key, put its line into {PATH}, and make the initrd anew: {DOCUMENT}"
        ),
        Distrust::Revoked(_) | Distrust::Expired(_) => {
            "get one that is signed by another key, or sign it: layerctl sign IMAGE --key FILE".to_owned()
        }
        Distrust::Wrong(_) => "the manifest is not the one that was signed: get both again".to_owned(),
        Distrust::NotAllowed(_) => {
            format!("the trust file limits the key to other kinds or names: {DOCUMENT}")
        }
        Distrust::TooFew { .. } => {
            "have it signed by more keys: layerctl sign IMAGE --key FILE".to_owned()
        }
        Distrust::Refused(_) => refused_hint(document),
    }
}

fn refused_hint(document: Document<'_>) -> String {
    match document.manifest.map(Manifest::parse) {
        Some(Ok(manifest)) if manifest.verity.is_some() => format!(
            "to take it all the same: layerctl downgrade allow {} {} {} --key FILE",
            Purpose::from(manifest.kind).name(),
            manifest.name,
            manifest.version
        ),
        _ => "sign it again: layerctl sign IMAGE --key FILE".to_owned(),
    }
}
