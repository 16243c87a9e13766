//! `layerctl sign`.

#![expect(clippy::disallowed_methods, reason = "finds images and writes what describes them")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use layers::id::Digest;
use layers::manifest::Manifest;
use layers::plan::change::{self, Refusal, State};
use layers::store::{publish, read};
use layers::trust::SignedManifest;

use super::install::is_file;
use crate::admission::{self, signatures_path};
use crate::cli::Sign;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::repo::index::{self, Index};
use crate::repo::sums;
use crate::signing::image::{self, Unsigned};
use crate::signing::key::SigningKey;
use crate::signing::password::PasswordSource;
use crate::trust;

pub(super) fn run(args: &Sign, context: &Context) -> Result<Outcome, Error> {
    let (files, stored): (Vec<&String>, Vec<&String>) =
        args.images.iter().partition(|typed| is_file(typed));
    let (indexes, files): (Vec<&String>, Vec<&String>) =
        files.into_iter().partition(|typed| Path::new(typed).ends_with(index::FILE));
    let files: Vec<Described> =
        files.iter().map(|typed| Described::find(Path::new(typed))).collect::<Result<_, _>>()?;
    let key = open(context, args)?;
    // All are looked at before the first is written.
    let made = files.iter().map(|file| sign_file(args, context, &key, file));
    let made = made.collect::<Result<Vec<_>, Error>>()?;
    for (file, signed) in files.iter().zip(&made) {
        publish_signed(args, context, &key, file, signed)?;
    }
    for path in indexes {
        sign_index(args, context, &key, Path::new(path))?;
    }
    for name in stored {
        sign_stored(args, context, &key, name)?;
    }
    Ok(Outcome::Done)
}

fn open(context: &Context, args: &Sign) -> Result<SigningKey, Error> {
    let path = &args.signer.key;
    if SigningKey::is_exposed(path) {
        let path = path.display();
        context.ui.warn(&format!("others than its owner may read {path}: chmod 600 {path}"));
    }
    SigningKey::open(path, &PasswordSource::from(&args.signer.password))
}

/// An image file and the manifest beside it.
struct Described {
    image: PathBuf,
    manifest: PathBuf,
}

impl Described {
    /// What was typed is one of the two.
    fn find(typed: &Path) -> Result<Self, Error> {
        if typed.extension().is_none_or(|ending| ending != "toml") {
            let manifest = admission::sidecar_path(typed);
            return Ok(Self { image: typed.to_owned(), manifest });
        }
        let of = |ending: &&str| typed.with_extension(*ending);
        // The store's images, and those that layerctl build makes, end in .img.
        let image = sums::ENDINGS.iter().map(of).find(|path| path.is_file());
        let image = image.ok_or_else(|| {
            let what = format!("there is no image beside {}", typed.display());
            Refusal::new(what, "its verity hashes are taken from the image: put it there")
        })?;
        Ok(Self { image, manifest: typed.to_owned() })
    }

    fn read(&self) -> Result<(String, Manifest), Error> {
        let text = read::text(&self.manifest).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let what = format!("{} has no manifest beside it", self.image.display());
                Refusal::new(what, "build it with layerctl build, which writes one").into()
            }
            _ => Error::io("read", &self.manifest, error),
        })?;
        let manifest = Manifest::parse(&text).map_err(|_| {
            let why = read::manifest(&self.manifest).err().unwrap_or_default();
            Refusal::new(format!("{} {why}", self.manifest.display()), "build the image again")
        })?;
        Ok((text, manifest))
    }
}

fn sign_file(
    args: &Sign,
    context: &Context,
    key: &SigningKey,
    file: &Described,
) -> Result<SignedManifest, Error> {
    let (text, manifest) = file.read()?;
    let signatures = trust::optional(&signatures_path(&file.manifest))?;
    let unsigned = Unsigned {
        image: &file.image,
        manifest: &manifest,
        text: Some(&text),
        signatures: signatures.as_deref(),
        name: &file_name(&file.manifest),
    };
    image::sign(context, key, &args.signer.key, &unsigned).map(|(_, signed)| signed)
}

fn publish_signed(
    args: &Sign,
    context: &Context,
    key: &SigningKey,
    file: &Described,
    signed: &SignedManifest,
) -> Result<(), Error> {
    let path = signatures_path(&file.manifest);
    if args.writing.dry_run {
        let (manifest, signatures) = (file.manifest.display(), path.display());
        return context.ui.data(format!("write {manifest}\nwrite {signatures}\n"));
    }
    // A manifest that is the same already is another key's as well.
    if file.read()?.0 != signed.manifest {
        publish_like(&file.manifest, &file.manifest, &signed.manifest)?;
    }
    publish_like(&path, &file.manifest, &signed.signatures)?;
    told(context, key, &file.image.display().to_string(), &signed.signatures);
    Ok(())
}

/// Adds a signature to those of a repository's index: where several keys are asked for.
fn sign_index(args: &Sign, context: &Context, key: &SigningKey, path: &Path) -> Result<(), Error> {
    let text = read::text(path).map_err(|error| Error::io("read", path, error))?;
    let serial = Index::parse(&text).ok().and_then(|index| index.serial);
    if serial.is_none() {
        let what = format!("{} is no index that was signed before", path.display());
        let hint = "make it with its first signature: layerctl repo index DIR --key FILE";
        return Err(Refusal::new(what, hint).into());
    }
    let beside = signatures_path(path);
    let others = trust::optional(&beside)?;
    let (name, signer) = (file_name(path), &args.signer.key);
    let signatures = image::sign_text(context, key, signer, &text, &name, others.as_deref())?;
    if args.writing.dry_run {
        return context.ui.data(format!("write {}\n", beside.display()));
    }
    publish_like(&beside, path, &signatures)?;
    told(context, key, &path.display().to_string(), &signatures);
    Ok(())
}

fn sign_stored(args: &Sign, context: &Context, key: &SigningKey, typed: &str) -> Result<(), Error> {
    context
        .change(args.writing.dry_run, |store| {
            let digest = stored(&store.state, typed)?;
            let path = store.layout.image(&digest);
            let known = store.state.manifests.get(&digest).ok_or_else(|| no_manifest(typed))?;
            let old = store.state.signed.get(&digest);
            let unsigned = Unsigned {
                image: &path,
                manifest: known,
                text: old.map(|old| old.manifest.as_str()),
                signatures: old.map(|old| old.signatures.as_str()),
                name: &format!("{digest}.toml"),
            };
            let (manifest, signed) = image::sign(context, key, &args.signer.key, &unsigned)?;
            let said = format!("signed {} with key {}", manifest.title(), key.id());
            let decision = change::sign(&store.state, &store.layout, &manifest, &signed, said);
            Ok(decision)
        })
        .map(drop)
}

/// The image of the store that a name or a digest stands for.
pub(super) fn stored(state: &State, typed: &str) -> Result<Digest, Refusal> {
    let named = |digest: &&Digest| {
        let manifest = state.manifests.get(digest);
        manifest.is_some_and(|manifest| manifest.name.as_str() == typed)
    };
    let is = |digest: &&Digest| typed.len() >= 8 && digest.to_string().starts_with(typed);
    let found: Vec<&Digest> =
        state.images.keys().filter(|digest| named(digest) || is(digest)).collect();
    match found.as_slice() {
        [one] => Ok(**one),
        [] => Err(Refusal::new(
            format!("the store has no image {typed}"),
            "see which there are: layerctl verify",
        )),
        several => {
            let digests: Vec<String> = several.iter().map(|digest| digest.short()).collect();
            let what = format!("the store has {} images {typed}", several.len());
            Err(Refusal::new(what, format!("name one by its digest: {}", digests.join(", "))))
        }
    }
}

fn no_manifest(typed: &str) -> Refusal {
    let hint = "install the file again: layerctl install FILE";
    Refusal::new(format!("the image {typed} has no manifest that can be read"), hint)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Publishes a file that whoever may read `model` may read: a server, for one.
fn publish_like(path: &Path, model: &Path, text: &str) -> Result<(), Error> {
    let failed = |error| Error::io("write", path, error);
    let mode = fs::metadata(model).map_err(failed)?.permissions();
    publish::file(path, text).map_err(failed)?;
    fs::set_permissions(path, mode).map_err(failed)
}

fn told(context: &Context, key: &SigningKey, what: &str, signatures: &str) {
    let count = layers::signature::blocks(signatures).len();
    let others = match count {
        0 | 1 => String::new(),
        count => format!("; it has {count} signatures"),
    };
    context.ui.say(&format!("signed {what} with key {}{others}", key.id()));
}
