//! The images of a stack as one tree, as far as a composition looks into it: what layers have, and single files.

#![expect(clippy::disallowed_methods, reason = "reads mounted images")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use layers::store::inspect::OpenImage;
use rustix::fs::{Mode, OFlags, ResolveFlags, lgetxattr, open, openat2};
use rustix::io::Errno;

use super::stack::{Stack, StackImage};
use crate::admission;
use crate::error::Error;

/// No index file that is merged is larger: 64 MiB.
const LARGEST: u64 = 64 << 20;

/// What a layer has.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// All its paths, from the root on.
    pub(super) paths: BTreeSet<PathBuf>,
    /// Whiteouts, and opaque directories: what they take away from the images below is at them, or in them.
    pub(super) covers: BTreeSet<PathBuf>,
    /// Numbers of users that something belongs to.
    pub(super) uids: BTreeSet<u32>,
    /// Numbers of groups that something belongs to.
    pub(super) gids: BTreeSet<u32>,
    /// The newest modification time, in seconds since 1970.
    pub(super) newest: u64,
}

/// An image that can be looked into.
pub(super) struct Opened<'a> {
    /// Which one.
    pub(super) image: &'a StackImage,
    /// What it has; of a base only the newest time of its root and the directories there.
    pub(super) survey: Survey,
    open: OpenImage,
}

/// All images of a stack.
pub(super) struct Union<'a> {
    /// Bottom first; the first is the base.
    images: Vec<Opened<'a>>,
}

impl<'a> Union<'a> {
    /// Mounts all images out of sight and goes through the layers.
    pub(super) fn open(stack: &'a Stack) -> Result<Self, Error> {
        let mut images = Vec::new();
        for (place, image) in stack.images().enumerate() {
            let open = admission::open(&image.path, image.format)?;
            let survey = match place {
                0 => top(open.root()),
                _ => survey(open.root()),
            }
            .map_err(|(path, error)| {
                let inside = path.strip_prefix(open.root()).unwrap_or(&path).to_owned();
                let of = format!("/{} of {}", inside.display(), image.path.display());
                Error::io("read", Path::new(&of), error)
            })?;
            images.push(Opened { image, survey, open });
        }
        Ok(Self { images })
    }

    /// The images, bottom first.
    pub(super) fn images(&self) -> &[Opened<'a>] {
        &self.images
    }

    /// The layers, bottom first.
    pub(super) fn layers(&self) -> &[Opened<'a>] {
        self.images.get(1..).unwrap_or_default()
    }

    /// The newest modification time of all, in seconds since 1970.
    pub(super) fn newest(&self) -> u64 {
        self.images.iter().map(|opened| opened.survey.newest).max().unwrap_or_default()
    }

    /// The topmost image that has something at a path, unless something on the way takes it away.
    pub(super) fn find(&self, path: &Path) -> Result<Option<Entry>, Error> {
        let path = &self.settled(path)?;
        for opened in self.images.iter().rev() {
            if let Some(entry) = opened.look(path)? {
                return Ok((!entry.is_whiteout()).then_some(entry));
            }
            let hides = |above: &Path| opened.survey.covers.contains(above);
            if path.ancestors().skip(1).any(hides) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// A path that goes by a link of the base's root, such as /bin: where that leads.
    fn settled(&self, path: &Path) -> Result<PathBuf, Error> {
        let mut names = path.components();
        let first: PathBuf = names.by_ref().take(2).collect();
        let link = match self.images.first() {
            Some(base) => base.look(&first)?.filter(|entry| entry.metadata.is_symlink()),
            None => None,
        };
        let Some(link) = link.filter(|_| names.clone().next().is_some()) else {
            return Ok(path.to_owned());
        };
        let target = link.target().map_err(|error| Error::io("read", &first, error))?;
        Ok(Path::new("/").join(target).join(names))
    }

    /// The file that is seen at a path.
    pub(super) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        self.find(path)?.map(|entry| entry.read(path)).transpose().map(Option::flatten)
    }

    /// A program of the union: by its name, or by a pattern of its path.
    pub(super) fn program(&self, program: &str) -> Result<Option<PathBuf>, Error> {
        let places = match program.contains('/') {
            true => self.expand(program)?,
            false => PLACES.map(|place| Path::new(place).join(program)).to_vec(),
        };
        for place in places {
            if self.find(&place)?.is_some() {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// The paths of a pattern that has no `**`, of all images, sorted.
    fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, Error> {
        let mut paths = vec![PathBuf::from("/")];
        for name in pattern.split('/').filter(|name| !name.is_empty()) {
            if !name.contains(['*', '?', '[']) {
                paths.iter_mut().for_each(|path| path.push(name));
                continue;
            }
            let mut next = BTreeSet::new();
            for path in &paths {
                let Ok(glob) = format!("{}/{name}", path.display()).parse::<super::glob::Glob>()
                else {
                    continue;
                };
                for opened in &self.images {
                    next.extend(opened.list(path)?.into_iter().filter(|path| glob.matches(path)));
                }
            }
            paths = next.into_iter().collect();
        }
        Ok(paths)
    }
}

/// Where programs are: what a search path of root's has, for images whose /bin is a link and for those whose is none.
const PLACES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Something in an image.
pub(super) struct Entry {
    file: OwnedFd,
    /// What the kernel says of it.
    pub(super) metadata: Metadata,
}

impl Entry {
    fn is_whiteout(&self) -> bool {
        is_whiteout(&self.metadata)
    }

    fn opened(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// A regular file's bytes; nothing for anything else. Messages call it `known_as`.
    pub(super) fn read(&self, known_as: &Path) -> Result<Option<Vec<u8>>, Error> {
        if !self.metadata.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let read = |error| Error::io("read", known_as, error);
        let file = File::open(self.opened()).map_err(read)?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(read)?;
        if bytes.len() as u64 > LARGEST {
            return Err(read(io::Error::other("it is too large for an index file")));
        }
        Ok(Some(bytes))
    }

    /// Where a symbolic link leads.
    pub(super) fn target(&self) -> io::Result<PathBuf> {
        rustix::fs::readlinkat(&self.file, "", Vec::new())
            .map(|target| PathBuf::from(OsString::from_vec(target.into_bytes())))
            .map_err(io::Error::from)
    }
}

impl Opened<'_> {
    /// What this image has at a path; links on the way lead to nothing outside of it.
    pub(super) fn look(&self, path: &Path) -> Result<Option<Entry>, Error> {
        let failed = |error| Error::io("look into", &self.image.path, error);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let top = open(self.open.root(), flags | OFlags::DIRECTORY, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        match openat2(&top, path, flags | OFlags::NOFOLLOW, Mode::empty(), ResolveFlags::IN_ROOT) {
            Ok(file) => {
                let metadata = File::from(file.try_clone().map_err(failed)?).metadata();
                Ok(Some(Entry { metadata: metadata.map_err(failed)?, file }))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// The file that this image has at a path.
    pub(super) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        self.look(path)?.map(|entry| entry.read(path)).transpose().map(Option::flatten)
    }

    /// The paths in a directory of this image, sorted.
    pub(super) fn list(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        let Some(entry) = self.look(directory)?.filter(|entry| entry.metadata.is_dir()) else {
            return Ok(Vec::new());
        };
        let failed = |error| Error::io("read", directory, error);
        let mut paths = Vec::new();
        for entry in fs::read_dir(entry.opened()).map_err(failed)? {
            paths.push(directory.join(entry.map_err(failed)?.file_name()));
        }
        paths.sort_unstable();
        Ok(paths)
    }
}

/// What OverlayFS takes for a deletion: a device of the number 0:0.
pub(super) fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

/// Whether a directory hides what the images below have in it.
fn is_opaque(directory: &Path) -> io::Result<bool> {
    let mut value = [0; 1];
    match lgetxattr(directory, "trusted.overlay.opaque", &mut value) {
        Ok(1) => Ok(value == *b"y"),
        Ok(_) | Err(Errno::RANGE | Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

type At = (PathBuf, io::Error);

fn seconds(metadata: &Metadata) -> u64 {
    u64::try_from(metadata.mtime()).unwrap_or_default()
}

/// A base is not gone through: whatever made it wrote something into its upper directories.
fn top(root: &Path) -> Result<Survey, At> {
    let mut survey = Survey::default();
    let failed = |error| (root.to_owned(), error);
    survey.newest = fs::metadata(root).map(|metadata| seconds(&metadata)).map_err(failed)?;
    for entry in fs::read_dir(root).map_err(failed)? {
        let metadata = entry.and_then(|entry| entry.metadata()).map_err(failed)?;
        survey.newest = survey.newest.max(seconds(&metadata));
    }
    Ok(survey)
}

fn survey(root: &Path) -> Result<Survey, At> {
    let mut survey = Survey::default();
    let mut todo = vec![PathBuf::from("/")];
    while let Some(directory) = todo.pop() {
        let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let failed = |error| (inside(&directory), error);
        for entry in fs::read_dir(inside(&directory)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let metadata = entry.metadata().map_err(failed)?;
            let path = directory.join(entry.file_name());
            survey.newest = survey.newest.max(seconds(&metadata));
            if is_whiteout(&metadata) {
                survey.covers.insert(path.clone());
            } else {
                survey.uids.insert(metadata.uid());
                survey.gids.insert(metadata.gid());
            }
            if metadata.is_dir() {
                if is_opaque(&inside(&path)).map_err(failed)? {
                    survey.covers.insert(path.clone());
                }
                todo.push(path.clone());
            }
            survey.paths.insert(path);
        }
    }
    Ok(survey)
}
