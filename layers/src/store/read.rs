//! Reads a store: schema, pointers, generations, images, manifests. Nothing is repaired and nothing is skipped in
//! silence: what cannot be read is named with its reason.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{StoreError, publish, reserve};
use crate::attempts::{Attempts, NoAttempts};
use crate::generation::{Generation, GenerationError};
use crate::id::{Digest, GenerationId};
use crate::kernel::{KernelFile, Part};
use crate::layout::{Layout, SCHEMA};
use crate::manifest::{Manifest, ManifestError};
use crate::plan::boot::Pointers;
use crate::plan::change::State;
use crate::policy::{Dir, Scope};
use crate::record::RecordError;
use crate::reset::Reset;
use crate::trust::{Floors, SignedManifest};

/// Longest record, manifest or generation that is read, in bytes: 500 layers need a fifth of it.
const TEXT_MAX: u64 = 1 << 20;

/// Checks that the state file system mounted at `state` has a store that this code knows.
pub fn open(state: &Path) -> Result<Layout, StoreError> {
    let layout = Layout::new(state);
    let path = layout.schema();
    let text = match text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::Missing(layout.top().to_owned()));
        }
        Err(error) => return Err(StoreError::io("read", &path, error)),
    };
    match text.trim().parse::<u32>() {
        Ok(SCHEMA) => Ok(layout),
        Ok(found) => Err(StoreError::Newer { path: layout.top().to_owned(), found }),
        Err(_) => Err(StoreError::Schema(path)),
    }
}

/// Makes an empty store; `false` if there is one already. The schema comes last, so a half-made one is made again.
pub fn init(state: &Path) -> Result<bool, StoreError> {
    match open(state) {
        Ok(_) => return Ok(false),
        Err(StoreError::Missing(_)) => {}
        Err(error) => return Err(error),
    }
    let layout = Layout::new(state);
    for directory in layout.directories() {
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("create", &directory, error));
            }
            _ => {}
        }
    }
    // A store without it is whole; a disk that has no room for it has none for the schema.
    let _ = reserve::keep(&layout);
    // On disk before the schema says that they are there.
    for directory in std::iter::once(state.to_owned()).chain(layout.directories()) {
        publish::sync(&directory).map_err(|error| StoreError::io("flush", &directory, error))?;
    }
    publish::file(&layout.schema(), &format!("{SCHEMA}\n"))
        .map_err(|error| StoreError::io("create", &layout.schema(), error))?;
    Ok(true)
}

/// Reads all that a change depends on. `booted` is the generation that runs now, where that is known.
pub fn read_state(layout: &Layout, booted: Option<GenerationId>) -> Result<State, StoreError> {
    let mut state = State { booted, ..State::default() };
    (state.pointers, state.damaged_pointers) = pointers(layout);
    for id in generation_ids(layout)? {
        match generation(layout, id) {
            Ok(found) => drop(state.generations.insert(id, found)),
            Err(why) => drop(state.damaged.insert(id, why)),
        }
    }
    state.booted = booted.filter(|id| state.ids().contains(id));
    state.pinned = entries(&layout.pins())?.iter().filter_map(|name| name.parse().ok()).collect();
    for id in counted(layout)? {
        // What cannot be read gives no start, at boot too.
        let left = attempts(layout, id).and_then(Result::ok).unwrap_or(Attempts(0));
        state.tries.insert(id, left);
    }
    state.versions = match text(&layout.versions()) {
        Ok(text) => text.parse().ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Floors::default()),
        Err(_) => None,
    };
    state.serial = serial(layout)?;
    state.etc_uppers = etc_uppers(layout)?;
    images(layout, &mut state)?;
    state.leftovers = leftovers(layout)?;
    Ok(state)
}

/// The highest number ever given. Text that is no number tells nothing; one that cannot be read might, and a number must
/// not be given twice.
fn serial(layout: &Layout) -> Result<Option<GenerationId>, StoreError> {
    let path = layout.serial();
    match text(&path) {
        Ok(text) => Ok(text.trim_end_matches('\n').parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", &path, error)),
    }
}

/// What was never published or is half removed: by a change that was interrupted, or by a boot that was.
fn leftovers(layout: &Layout) -> Result<Vec<PathBuf>, StoreError> {
    let mut directories = layout.directories();
    directories.extend([layout.repositories(), layout.repository_indexes()]);
    directories.extend(Dir::ALL.map(|dir| layout.shared_upper(dir)));
    let mut left = Vec::new();
    for name in entries(&layout.etc_uppers())? {
        let Ok(id) = name.parse() else { continue };
        let upper = layout.upper(Dir::Etc, id, Scope::Generation);
        match fs::symlink_metadata(upper.join("upper")) {
            // It was being made when the power went.
            Err(error) if error.kind() == io::ErrorKind::NotFound => left.push(upper),
            // One that cannot be looked at is somebody's /etc all the same.
            _ => directories.push(upper),
        }
    }
    for directory in directories {
        let names = entries(&directory)?;
        let unpublished = names.iter().filter(|name| publish::is_unpublished(name.as_ref()));
        left.extend(unpublished.map(|name| directory.join(name)));
    }
    Ok(left)
}

/// Reads a generation's record; the error is a sentence's end: `cannot be read: …`.
pub fn generation(layout: &Layout, id: GenerationId) -> Result<Generation, String> {
    let path = layout.generation_file(id);
    let text =
        text(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let generation = Generation::parse(&text).map_err(|error| match error {
        // The message of a TOML error has several lines; a console line is one.
        GenerationError::Syntax(syntax) => {
            let syntax = match &syntax {
                RecordError::Syntax(error) => one_line(error),
                value => value.to_string(),
            };
            format!("{} does not parse: {syntax}", path.display())
        }
        other => format!("{} {other}", path.display()),
    })?;
    if generation.id != id {
        return Err(format!("{} says that it is generation {}", path.display(), generation.id));
    }
    Ok(generation)
}

/// Reads a manifest, in the store or beside an image; the error is a sentence's end: `cannot be read: …`.
pub fn manifest(path: &Path) -> Result<Manifest, String> {
    let text = text(path).map_err(|error| format!("cannot be read: {error}"))?;
    Manifest::parse(&text).map_err(|error| match error {
        ManifestError::Syntax(syntax) => format!("does not parse: {}", one_line(&syntax)),
        other => other.to_string(),
    })
}

/// A TOML error on one line: the place and the message, without the quoted text.
fn one_line(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let place = text.lines().next().unwrap_or_default().trim_start_matches("TOML parse error ");
    format!("{} ({place})", error.message())
}

/// The numbers of all generations, readable or not.
pub fn generation_ids(layout: &Layout) -> Result<BTreeSet<GenerationId>, StoreError> {
    Ok(numbers(&mut entries(&layout.generations())?.iter()))
}

/// Generations that have an /etc upper of their own, whole.
pub fn etc_uppers(layout: &Layout) -> Result<BTreeSet<GenerationId>, StoreError> {
    let directory = layout.etc_uppers();
    let names = entries(&directory)?;
    let mut whole = names.iter().filter(|name| directory.join(name).join("upper").is_dir());
    Ok(numbers(&mut whole))
}

/// The names that are numbers of generations.
fn numbers(names: &mut dyn Iterator<Item = &String>) -> BTreeSet<GenerationId> {
    let mut numbers = BTreeSet::new();
    numbers.extend(names.filter_map(|name| name.parse::<GenerationId>().ok()));
    numbers
}

/// The pointers in `boot/`, and those that are there but cannot be read.
pub fn pointers(layout: &Layout) -> (Pointers, Vec<(PathBuf, String)>) {
    let mut damaged = Vec::new();
    let mut read = |path: PathBuf| match pointer(&path) {
        Ok(found) => found,
        Err(why) => {
            damaged.push((path, why));
            None
        }
    };
    let pointers = Pointers {
        default: read(layout.default()),
        next: read(layout.next()),
        good: read(layout.good()),
        ran: read(layout.ran()),
    };
    (pointers, damaged)
}

/// The attempts that a generation has left, where they are counted; the error is a sentence's end.
pub fn attempts(layout: &Layout, id: GenerationId) -> Option<Result<Attempts, String>> {
    match text(&layout.tries_of(id)) {
        Ok(text) => Some(text.parse().map_err(|error: NoAttempts| error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(format!("cannot be read: {error}"))),
    }
}

/// Generations whose attempts are counted.
pub fn counted(layout: &Layout) -> Result<BTreeSet<GenerationId>, StoreError> {
    Ok(numbers(&mut entries(&layout.tries())?.iter()))
}

/// What `layerctl reset` asked for; the error says why it is not understood, as the end of a sentence.
pub fn reset(layout: &Layout) -> Option<Result<Reset, String>> {
    match text(&layout.reset()) {
        Ok(text) => Some(Reset::parse(&text).map_err(|why| format!("does not parse: {why}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(format!("cannot be read: {error}"))),
    }
}

fn pointer(path: &Path) -> Result<Option<GenerationId>, String> {
    match text(path) {
        Ok(text) => GenerationId::from_str(text.trim_end_matches('\n')).map(Some).map_err(|_| {
            format!(
                "holds no generation number but {:?}",
                text.chars().take(20).collect::<String>()
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

fn images(layout: &Layout, state: &mut State) -> Result<(), StoreError> {
    let directory = layout.store();
    for name in entries(&directory)? {
        let path = directory.join(&name);
        if let Some(digest) = digest_of(&name, ".img") {
            state.images.insert(digest, length(&path)?);
        } else if let Some(digest) = digest_of(&name, ".deb") {
            state.packages.insert(digest, length(&path)?);
        } else if let Some(digest) = digest_of(&name, ".verity") {
            state.trees.insert(digest);
        } else if let Some(digest) = digest_of(&name, ".toml.minisig") {
            // What cannot be read is empty: no signature is for that.
            let manifest = text(&layout.manifest(&digest)).unwrap_or_default();
            let signatures = text(&path).unwrap_or_default();
            state.signed.insert(digest, SignedManifest { manifest, signatures });
        } else if let Some(file) = kernel_file(&name) {
            state.kernels.insert(file, length(&path)?);
        } else if let Some(digest) = digest_of(&name, ".toml")
            && let Ok(manifest) = manifest(&path)
            && manifest.digest == digest
        {
            state.manifests.insert(digest, manifest);
        }
    }
    Ok(())
}

fn length(path: &Path) -> Result<u64, StoreError> {
    let metadata = fs::metadata(path).map_err(|error| StoreError::io("read", path, error))?;
    Ok(metadata.len())
}

fn digest_of(name: &str, ending: &str) -> Option<Digest> {
    name.strip_suffix(ending)?.parse().ok()
}

fn kernel_file(name: &str) -> Option<KernelFile> {
    [Part::Linux, Part::Initrd].into_iter().find_map(|part| {
        let digest = digest_of(name, &format!(".{}", part.name()))?;
        Some(KernelFile { part, digest })
    })
}

/// Names in a directory, sorted; a missing directory has none. Names that are no UTF-8 are none of ours.
fn entries(directory: &Path) -> Result<Vec<String>, StoreError> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", directory, error)),
    };
    let mut names = BTreeSet::new();
    for entry in listing {
        let entry = entry.map_err(|error| StoreError::io("read", directory, error))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.insert(name);
        }
    }
    Ok(names.into_iter().collect())
}

/// A small text file's content.
pub fn text(path: &Path) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > TEXT_MAX {
        let what = format!("it has {length} bytes, more than a record can have");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    fs::read_to_string(path)
}
