//! The signature of an image: over its manifest, which names the image's bytes and the hashes that cover them.

use std::path::Path;

use layers::manifest::Manifest;
use layers::plan::change::{ImageFile, Refusal};
use layers::trust::SignedManifest;
use layers::verity::{self, Measured};

use super::key::SigningKey;
use super::password::PasswordSource;
use super::sheet;
use crate::context::Context;
use crate::error::Error;

/// What is to be signed.
pub(crate) struct Unsigned<'a> {
    /// The image's file.
    pub(crate) image: &'a Path,
    /// Its manifest.
    pub(crate) manifest: &'a Manifest,
    /// The manifest's text, as others may have signed it.
    pub(crate) text: Option<&'a str>,
    /// Their signatures.
    pub(crate) signatures: Option<&'a str>,
    /// What the manifest's file is called.
    pub(crate) name: &'a str,
}

/// Signs an image that is what its manifest says. A manifest that has verity data already stays as it is, and so do the
/// signatures over it.
pub(crate) fn sign(
    context: &Context,
    key: &SigningKey,
    path: &Path,
    unsigned: &Unsigned<'_>,
) -> Result<(Manifest, SignedManifest), Error> {
    let Measured { digest, size, verity: measured } = measure(context, unsigned.image)?;
    // Nobody signs an image that is another one than its manifest says.
    if (size, digest) != (unsigned.manifest.size, unsigned.manifest.digest) {
        let what = format!(
            "{} has {size} bytes and SHA-256 {digest}: its manifest says another image",
            unsigned.image.display()
        );
        return Err(Refusal::new(what, "get or build both again").into());
    }
    let (manifest, text, others) = match &unsigned.manifest.verity {
        Some(verity) if *verity != measured => {
            let what = format!(
                "{} is not the image that its manifest has hashes of",
                unsigned.image.display()
            );
            return Err(Refusal::new(what, "get or build both again").into());
        }
        Some(_) => {
            let text = unsigned.text.map_or_else(|| unsigned.manifest.to_string(), str::to_owned);
            (unsigned.manifest.clone(), text, unsigned.signatures)
        }
        None => {
            let manifest = Manifest { verity: Some(measured), ..unsigned.manifest.clone() };
            let text = manifest.to_string();
            (manifest, text, None)
        }
    };
    let signatures = sign_text(context, key, path, &text, unsigned.name, others)?;
    Ok((manifest, SignedManifest { manifest: text, signatures }))
}

/// Signs a text, and puts the signature among those of other keys.
pub(crate) fn sign_text(
    context: &Context,
    key: &SigningKey,
    path: &Path,
    text: &str,
    name: &str,
    others: Option<&str>,
) -> Result<String, Error> {
    let time = context.environment.epoch.unwrap_or(context.environment.now);
    let new = key
        .sign(text.as_bytes(), name, time)
        .map_err(|source| Error::Key { path: path.to_owned(), source })?;
    sheet::with(others, &new).ok_or_else(|| {
        let what = format!("{name} has as many signatures as anyone reads");
        Refusal::new(what, "take signatures out of its .minisig file that nobody needs").into()
    })
}

fn measure(context: &Context, image: &Path) -> Result<Measured, Error> {
    let spinner = context.ui.spinner("hashing blocks");
    let measured = verity::measure(image);
    spinner.finish_and_clear();
    measured.map_err(Error::from)
}

/// Signs what this machine made itself, where its configuration names a key for that.
pub(crate) fn sign_own(context: &Context, image: &mut ImageFile) -> Result<(), Error> {
    let Some(config) = context.config()? else { return Ok(()) };
    let sign = config.config.sign;
    let Some(path) = sign.key else { return Ok(()) };
    let source = sign.password_file.map_or(PasswordSource::Terminal, PasswordSource::File);
    let key = SigningKey::open(&path, &source)?;
    let name = format!("{}.toml", image.manifest.digest);
    let unsigned = Unsigned {
        image: &image.path,
        manifest: &image.manifest,
        text: None,
        signatures: None,
        name: &name,
    };
    let (manifest, signed) = self::sign(context, &key, &path, &unsigned)?;
    (image.manifest, image.signed) = (manifest, Some(signed));
    Ok(())
}
