//! What an image's manifest says of its files beyond names and sizes: which system it is or fits, which shared libraries
//! its programs need and bring, which packages it has.

#![expect(clippy::disallowed_methods, reason = "reads the files of an image or tree")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use layers::id::Name;
use layers::links::Glibc;
use layers::manifest::{ANY_ARCHITECTURE, Kind, Links};
use layers::os::{self, Fits};
use layers::plan::change::Refusal;
use layers::store::inspect;
use object::ReadCache;
use rustix::fs::{Mode, OFlags};

use crate::error::Error;

mod elf;
mod packages;

/// Where extensions say which systems they fit (os-release(5)).
const RELEASES: &str = "usr/lib/extension-release.d";

/// How such a file's name begins.
const RELEASE: &str = "extension-release.";

/// Where layers keep what belongs into files that packages share.
const FRAGMENTS: &str = "usr/lib/layerctl/layers";

/// Where an extension-release says the extension's own version, and not that of the system that it fits
/// (portablectl(1) and mkosi(1) know these keys).
const VERSIONS: [&str; 4] =
    ["SYSEXT_IMAGE_VERSION", "SYSEXT_VERSION_ID", "SYSEXT_BUILD_ID", "IMAGE_VERSION"];

/// The most that is read of a text: dpkg's status of a big desktop has 10 MB.
const TEXT_MAX: u64 = 256 << 20;

/// Who an image is, from a few small files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The systems that a layer fits.
    pub(crate) fits: Option<Fits>,
    /// The architecture that a layer's extension-release names.
    pub(crate) architecture: Option<String>,
    /// The layer's name, as the name of its extension-release has it.
    pub(crate) name: Option<String>,
    /// The layer's own version, where its extension-release says one.
    pub(crate) version: Option<String>,
    /// Its packages, as a manifest lists them.
    pub(crate) packages: Vec<String>,
}

/// Reads who the image with this root directory is. `name` tells which extension-release counts where there are several.
pub(crate) fn identity(root: &Path, kind: Kind, name: Option<&Name>) -> Result<Identity, Error> {
    let mut identity = Identity::default();
    if kind == Kind::Base {
        identity.packages = packages::of_base(root)?;
        return Ok(identity);
    }
    identity.packages = packages::of_layer(root)?;
    if let Some((name, text)) = extension_release(root, name)? {
        identity.fits = Some(Fits::parse(&text));
        identity.architecture = architecture(&text);
        identity.version = VERSIONS.iter().find_map(|key| os::field(&text, key));
        identity.name = Some(name);
    }
    Ok(identity)
}

/// `ARCHITECTURE=` in a manifest's words; none where nothing is said.
fn architecture(text: &str) -> Option<String> {
    let architecture = os::field(text, "ARCHITECTURE")?;
    Some(if architecture == os::ANY { ANY_ARCHITECTURE.to_owned() } else { architecture })
}

/// The extension-release of a layer: the one that bears its name, else the only one.
fn extension_release(root: &Path, name: Option<&Name>) -> Result<Option<(String, String)>, Error> {
    let mut names: Vec<String> = names(root, RELEASES)?
        .iter()
        .filter_map(|file| Some(file.strip_prefix(RELEASE)?.to_owned()))
        .collect();
    if let Some(name) = name
        && names.iter().any(|other| other == name.as_str())
    {
        names.retain(|other| other == name.as_str());
    }
    match names.as_slice() {
        [] => Ok(None),
        [one] => {
            let text = text(root, &format!("{RELEASES}/{RELEASE}{one}"))?;
            Ok(Some((one.clone(), text.unwrap_or_default())))
        }
        several => Err(Refusal::new(
            format!("the layer says for several layers which systems they fit: {}", several.join(", ")),
            "give its name: --name NAME, or take the other files out of its usr/lib/extension-release.d",
        )
        .into()),
    }
}

/// Reads the links of all programs and libraries below an image's root directory. Of the C library's versions it
/// names the newest: each brings all before it.
pub(crate) fn links(root: &Path) -> Result<Links, Error> {
    let mut found = Found::default();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        let failed = |error| Error::io("read", &directory, error);
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let path = entry.path();
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() {
                let file = program(&path).map_err(|error| Error::io("read", &path, error))?;
                if let Some(file) = file {
                    let cache = ReadCache::new(file);
                    found.add(&path, elf::links(&cache));
                }
            }
        }
    }
    Ok(found.links())
}

/// A file that is ELF, from its start.
fn program(path: &Path) -> io::Result<Option<File>> {
    // A device or pipe that takes the file's place would be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let mut magic = [0; 4];
    let mut have = 0;
    while let Some(rest) = magic.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => return Ok(None),
            more => have += more,
        }
    }
    if magic != *elf::MAGIC {
        return Ok(None);
    }
    file.rewind()?;
    Ok(Some(file))
}

/// The links of many files.
#[derive(Default)]
struct Found {
    needs: BTreeSet<String>,
    provides: BTreeSet<String>,
    /// By library, the newest version of the C library's that is needed of it.
    versions: BTreeMap<String, Glibc>,
    /// The C library's newest version.
    libc: Option<Glibc>,
}

impl Found {
    fn add(&mut self, path: &Path, file: elf::FileLinks) {
        // A path in place of a name is looked for there and nowhere else.
        self.needs.extend(file.needed.into_iter().filter(|name| !name.contains('/')));
        for (library, version) in file.versions_needed {
            if let Some(version) = Glibc::of_symbol(&version) {
                let newest = self.versions.remove(&library);
                self.versions.insert(library, newest.map_or(version.clone(), |it| it.max(version)));
            }
        }
        if file.soname.as_deref() == Some(elf::LIBC) {
            self.libc = file.versions.iter().filter_map(|version| Glibc::of_symbol(version)).max();
        }
        // A library without a name of its own is known by its file's; a plugin that is opened by its path, by none.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unnamed = || {
            (file.dynamic && name.starts_with("lib") && name.contains(".so"))
                .then(|| name.into_owned())
        };
        self.provides.extend(file.soname.or_else(unnamed));
    }

    fn links(self) -> Links {
        let Self { mut needs, mut provides, versions, libc } = self;
        needs.retain(|name| !provides.contains(name));
        let outside = versions.iter().filter(|(library, _)| !provides.contains(*library));
        let versions: Vec<String> =
            outside.map(|(library, version)| version.entry(library)).collect();
        needs.extend(versions);
        provides.extend(libc.map(|version| version.entry(elf::LIBC)));
        Links { needs: needs.into_iter().collect(), provides: provides.into_iter().collect() }
    }
}

/// The names in a directory of an image; none where it is not there.
fn names(root: &Path, directory: &str) -> Result<Vec<String>, Error> {
    let path = root.join(directory);
    let failed = |error| Error::io("read", &path, error);
    let listing = match fs::read_dir(&path) {
        Ok(listing) => listing,
        Err(error) if is_absence(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in listing {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// The text of a file in an image; none where there is no such file.
fn text(root: &Path, path: &str) -> Result<Option<String>, Error> {
    Ok(bytes(root, path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The bytes of a file in an image; none where there is no such file. A link is not followed: it may lead out of the image.
fn bytes(root: &Path, path: &str) -> Result<Option<Vec<u8>>, Error> {
    let at: PathBuf = root.join(path);
    let failed = |error| Error::io("read", &at, error);
    match fs::symlink_metadata(&at) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let Some(file) = inspect::open_inside(root, path).map_err(failed)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(TEXT_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

fn is_absence(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind())
}
