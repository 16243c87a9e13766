//! Makes a repository's index from the images in a directory.

#![expect(clippy::disallowed_methods, reason = "lists the directory and reads its images")]

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use layers::id::Digest;
use layers::manifest::Kind;
use layers::plan::change::{ImageFile, Refusal, State};
use layers::store::{publish, read, stage};

use super::blocks::{self, Blocks};
use super::index::{self, Entry, Index};
use super::sums;
use crate::admission::{self, Naming, signatures_path};
use crate::context::Context;
use crate::error::Error;
use crate::trust::{self, Guard};

/// Makes the index of `directory`: every image in it, each hashed, and looked into where no manifest is beside it. Gives it with its file's path.
pub(crate) fn index(context: &Context, directory: &Path) -> Result<(PathBuf, Index), Error> {
    let mut entries = Vec::new();
    for file in images(directory)? {
        let entry = entry(context, directory, &file)?;
        block_index(context, &directory.join(&file), &entry)?;
        entries.push(entry);
    }
    let index = Index::new(entries, 0);
    check_unique(&index)?;
    Ok((directory.join(index::FILE), index))
}

/// Signs an index that has a serial: signatures that are not for a text do not count, so the new one is there before its text
/// and the old one until then.
pub(crate) fn write_signed(
    path: &Path,
    index: &Index,
    sign: impl FnOnce(&str) -> Result<String, Error>,
) -> Result<(), Error> {
    let new = sign(&index.to_string())?;
    let beside = signatures_path(path);
    let old = trust::optional(&beside)?.unwrap_or_default();
    publish_readable(&beside, &format!("{}\n{old}", new.trim_end()))?;
    write(path, index)?;
    publish_readable(&beside, &new)
}

/// Writes an index where a server finds it; `false` where it was the same before.
pub(crate) fn write(path: &Path, index: &Index) -> Result<bool, Error> {
    let text = index.to_string();
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(false);
    }
    publish_readable(path, &text)?;
    Ok(true)
}

/// Servers do not run as root.
fn publish_readable(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |error| Error::io("write", path, error);
    publish::file(path, text).map_err(failed)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(path, mode).map_err(failed)
}

/// The serial of the index that is there, if it has one.
pub(crate) fn serial(path: &Path) -> Option<u64> {
    Index::parse(&trust::optional(path).ok()??).ok()?.serial
}

/// The names of all image files, sorted.
fn images(directory: &Path) -> Result<Vec<String>, Error> {
    let failed = |error| Error::io("read", directory, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        if sums::ENDINGS.contains(&ending) && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn entry(context: &Context, directory: &Path, name: &str) -> Result<Entry, Error> {
    let path = directory.join(name);
    let beside = admission::sidecar_path(&path);
    let manifest = match fs::exists(&beside) {
        Ok(true) => Some(read::manifest(&beside).map_err(|why| {
            let what = format!("the manifest {} {why}", beside.display());
            Refusal::new(what, "build the image again")
        })?),
        Ok(false) => None,
        Err(error) => return Err(Error::io("open", &beside, error)),
    };
    let size = fs::metadata(&path).map_err(|error| Error::io("open", &path, error))?.len();
    let bar = context.ui.bar(name, size);
    let digest = stage::hash(&path, &mut |bytes| bar.inc(bytes))?;
    let Some(manifest) = manifest else {
        let nothing = (State::default(), Naming::default());
        let image = {
            let guard = Guard::off();
            admission::admit(context, &guard, &nothing.0, &path, Kind::Layer, &nothing.1)?
        };
        return Ok(undescribed(name, &path, image, size, digest));
    };
    if manifest.digest != digest {
        let what = format!(
            "the manifest of {} says digest {}, the image has {}",
            path.display(),
            manifest.digest.short(),
            digest.short()
        );
        return Err(Refusal::new(what, "build the image again, or get both again").into());
    }
    Ok(Entry::described(name.to_owned(), manifest))
}

/// An image that was looked into. What is inside a disk image has another digest than its file, so its manifest says
/// nothing about what has to be got.
fn undescribed(name: &str, path: &Path, image: ImageFile, size: u64, digest: Digest) -> Entry {
    let manifest = image.manifest;
    if image.path == path {
        return Entry::described(name.to_owned(), manifest);
    }
    Entry {
        file: name.to_owned(),
        size: Some(size),
        digest,
        name: manifest.name,
        version: manifest.version,
        kind: Some(manifest.kind),
        architecture: Some(manifest.architecture),
        manifest: None,
    }
}

/// Puts the block index beside an image that is worth one, where its own is not there already.
fn block_index(context: &Context, image: &Path, entry: &Entry) -> Result<(), Error> {
    let failed = |error| Error::io("read", image, error);
    let Some(size) = entry.size.filter(|&size| blocks::is_indexed(size)) else { return Ok(()) };
    let mut path = image.as_os_str().to_owned();
    path.push(blocks::ENDING);
    let path = PathBuf::from(path);
    if is_index_of(&path, size, &entry.digest) {
        return Ok(());
    }
    let bar = context.ui.bar(&entry.file, size);
    let file = BufReader::with_capacity(1 << 20, File::open(image).map_err(failed)?);
    let blocks = Blocks::compute(file, size, entry.digest, &mut |bytes| bar.inc(bytes));
    let bytes = blocks.map_err(failed)?.bytes();
    let temporary = publish::beside(&path);
    let written =
        write_flushed(&temporary, &bytes).and_then(|()| publish::rename(&temporary, &path));
    written.map_err(|error| Error::io("write", &path, error))
}

/// Whether a block index is there, and says that it is this image's.
fn is_index_of(path: &Path, size: u64, digest: &Digest) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let whole = file.metadata().is_ok_and(|found| found.len() == blocks::length(size) as u64);
    let mut head = Vec::new();
    let read = file.take(blocks::HEAD as u64).read_to_end(&mut head);
    whole && read.is_ok() && blocks::is_head_of(&head, size, digest)
}

/// A new file that servers can read.
fn write_flushed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.sync_all()
}

/// Nobody could say which of two files of one name, version and architecture to take.
fn check_unique(index: &Index) -> Result<(), Refusal> {
    let same = |pair: &&[Entry]| match pair {
        [a, b] => (&a.name, &a.version, &a.architecture) == (&b.name, &b.version, &b.architecture),
        _ => false,
    };
    match index.entries.windows(2).find(same) {
        Some([a, b]) => Err(Refusal::new(
            format!("{} and {} are both {}", a.file, b.file, a.title()),
            "take one of them away, or build it with another version",
        )),
        _ => Ok(()),
    }
}
