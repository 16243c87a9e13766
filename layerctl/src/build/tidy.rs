//! An upper in which packages were installed becomes the tree of a layer.
//!
//! Every entry is met once, leaves first: what is no package's goes, what the ground has in the same way goes, OverlayFS's
//! notes go, owners get the numbers of the layer's accounts. Then times that the build itself made are settled.

#![expect(clippy::disallowed_methods, reason = "compares and removes files of trees")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use layers::store::xattr::{Buffer, each};
use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr, lremovexattr, lsetxattr,
    utimensat,
};
use rustix::io::Errno;

use super::ground::{is_opaque, is_whiteout};
use super::{Ground, clean};
use crate::error::Error;
use crate::triggers::Table;

const OPAQUE: &str = "trusted.overlay.opaque";
const CAPABILITY: &str = "security.capability";

/// What decides about the entries of an upper.
pub(super) struct Tidy<'a> {
    /// What the layer is built on.
    pub(super) ground: &'a Ground,
    /// What belongs to no layer.
    pub(super) table: &'a Table,
    /// Byte code that packages bring, by its path; `None` where all of it is theirs.
    pub(super) bytecode: Option<BTreeSet<PathBuf>>,
    /// Packages whose files in dpkg's database are the layer's.
    pub(super) packages: BTreeSet<String>,
    /// Numbers that users and groups get in place of those that they have.
    pub(super) uids: BTreeMap<u32, u32>,
    /// The same for groups.
    pub(super) gids: BTreeMap<u32, u32>,
}

impl Tidy<'_> {
    /// Makes `upper` the tree of a layer.
    pub(super) fn run(&self, upper: &Path) -> Result<(), Error> {
        self.strip(upper, false)?;
        self.directory(upper, Path::new(""), true)
    }

    /// `over` is whether what the ground has in this directory is seen through it.
    fn directory(&self, upper: &Path, inside: &Path, over: bool) -> Result<(), Error> {
        for path in list(&upper.join(inside))? {
            let inside = path.strip_prefix(upper).unwrap_or(&path);
            let found = look(&path)?;
            if self.is_unwanted(inside, found.is_dir()) {
                match found.is_dir() {
                    true => fs::remove_dir_all(&path),
                    false => fs::remove_file(&path),
                }
                .map_err(|error| Error::io("remove", &path, error))?;
                continue;
            }
            let below = if over { self.ground.find(inside)? } else { None };
            let hides = found.is_dir()
                && below.as_ref().is_some_and(|(_, below)| below.is_dir())
                && is_opaque(&path);
            self.strip(&path, hides)?;
            self.give(&path, &found)?;
            if found.is_dir() {
                self.directory(upper, inside, over && !hides)?;
            }
            let found = look(&path)?;
            let superfluous = match &below {
                Some((below_path, below)) => {
                    is_same(&found, below)
                        && (!found.is_dir() || !hides && list(&path)?.is_empty())
                        && (found.is_dir() || has_same_content(&path, &found, below_path)?)
                        && attributes(&path)? == attributes(below_path)?
                }
                None if found.is_dir() => self.table.is_written(inside) && list(&path)?.is_empty(),
                // It deletes what is not there.
                None => is_whiteout(&found),
            };
            if superfluous {
                match found.is_dir() {
                    true => fs::remove_dir(&path),
                    false => fs::remove_file(&path),
                }
                .map_err(|error| Error::io("remove", &path, error))?;
            }
        }
        Ok(())
    }

    fn is_unwanted(&self, inside: &Path, directory: bool) -> bool {
        let bytecode = clean::is_bytecode(inside)
            && match &self.bytecode {
                None => false,
                Some(shipped) if directory => !shipped.iter().any(|it| it.starts_with(inside)),
                Some(shipped) => !shipped.contains(inside),
            };
        bytecode
            || self.is_foreign(inside)
            || clean::is_left_out(inside, directory)
            || !directory && self.table.is_written(inside)
    }

    /// Whether a file is about a package that the layer does not change: dpkg also writes the lists of others anew, where it
    /// finds a directory of theirs missing.
    fn is_foreign(&self, inside: &Path) -> bool {
        let name = inside.file_name().unwrap_or_default().to_string_lossy();
        inside.parent() == Some(Path::new("var/lib/dpkg/info"))
            && name.rsplit_once('.').is_some_and(|(package, _)| {
                let package = package.split_once(':').map_or(package, |(package, _)| package);
                !self.packages.contains(package)
            })
    }

    /// Removes OverlayFS's own attributes, but the mark of a directory that `hides` one of the ground.
    fn strip(&self, path: &Path, hides: bool) -> Result<(), Error> {
        let failed = |error: Errno| Error::io("change attributes of", path, error);
        for name in attribute_names(path)? {
            if name.starts_with("trusted.overlay.") && !(hides && name == OPAQUE) {
                lremovexattr(path, name.as_str()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Gives an entry to the numbers that its owners get.
    fn give(&self, path: &Path, found: &Metadata) -> Result<(), Error> {
        let failed = |error: io::Error| Error::io("set the owner of", path, error);
        let uid = self.uids.get(&found.uid()).copied();
        let gid = self.gids.get(&found.gid()).copied();
        if uid.is_none() && gid.is_none() {
            return Ok(());
        }
        // The kernel takes setuid bits and capabilities from a file whose owner changes.
        let mut capability = [0; 64];
        let length = lgetxattr(path, CAPABILITY, &mut capability).unwrap_or_default();
        lchown(path, uid, gid).map_err(failed)?;
        if !found.is_symlink() {
            fs::set_permissions(path, Permissions::from_mode(found.mode())).map_err(failed)?;
        }
        if let Some(value) = capability.get(..length).filter(|value| !value.is_empty()) {
            lsetxattr(path, CAPABILITY, value, XattrFlags::empty())
                .map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }
}

/// Gives times that are later than `epoch`, or else than `started`, one that is the same each time: the epoch, or the
/// newest of the others.
pub(super) fn settle_times(
    tree: &Path,
    started: SystemTime,
    epoch: Option<u64>,
) -> Result<(), Error> {
    let all = times(tree)?;
    let epoch = epoch.map(|epoch| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(epoch));
    let newest = all.iter().map(|(_, time)| *time).filter(|time| *time < started).max();
    set_later(&all, epoch.or(newest).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// Gives times that are later than `limit` that one.
pub(super) fn limit_times(tree: &Path, limit: SystemTime) -> Result<(), Error> {
    set_later(&times(tree)?, limit)
}

/// The modification time of each entry.
fn times(tree: &Path) -> Result<Vec<(PathBuf, SystemTime)>, Error> {
    let mut all = Vec::new();
    let mut todo = vec![tree.to_owned()];
    while let Some(path) = todo.pop() {
        let found = look(&path)?;
        let time = found.modified().map_err(|error| Error::io("read", &path, error))?;
        if found.is_dir() {
            todo.extend(list(&path)?);
        }
        all.push((path, time));
    }
    Ok(all)
}

fn set_later(all: &[(PathBuf, SystemTime)], limit: SystemTime) -> Result<(), Error> {
    for (path, _) in all.iter().filter(|(_, time)| *time > limit) {
        let since = limit.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = Timespec {
            tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: since.subsec_nanos().into(),
        };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| Error::io("set the time of", path, error))?;
    }
    Ok(())
}

fn look(path: &Path) -> Result<Metadata, Error> {
    fs::symlink_metadata(path).map_err(|error| Error::io("read", path, error))
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::io("read", directory, error);
    let entries = fs::read_dir(directory).map_err(failed)?;
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    paths.sort_unstable();
    Ok(paths)
}

/// Same kind, mode and owner.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.mode(), one.uid(), one.gid()) == (other.mode(), other.uid(), other.gid())
}

fn has_same_content(path: &Path, found: &Metadata, below: &Path) -> Result<bool, Error> {
    let failed = |error| Error::io("read", path, error);
    if found.is_symlink() {
        let target = |path: &Path| fs::read_link(path).map_err(failed);
        return Ok(target(path)? == target(below)?);
    }
    if !found.is_file() {
        return Ok(found.rdev() == look(below)?.rdev());
    }
    if found.len() != look(below)?.len() {
        return Ok(false);
    }
    let open = |path: &Path| File::open(path).map_err(failed);
    let (mut one, mut other) = (open(path)?, open(below)?);
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let length = one.read(&mut left).map_err(failed)?;
        if length == 0 {
            return Ok(true);
        }
        let (Some(left), Some(right)) = (left.get(..length), right.get_mut(..length)) else {
            return Ok(false);
        };
        match other.read_exact(right) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result.map_err(failed)?,
        }
        if left != right {
            return Ok(false);
        }
    }
}

fn attribute_names(path: &Path) -> Result<Vec<String>, Error> {
    let mut names = Buffer::default();
    let names = match names.fill(&mut |names| llistxattr(path, names)) {
        Err(Errno::NOTSUP) => &[],
        result => result.map_err(|error| Error::io("read attributes of", path, error))?,
    };
    Ok(each(names).map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

/// Attributes that are not OverlayFS's own.
fn attributes(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let (mut found, mut value) = (BTreeMap::new(), Buffer::default());
    for name in attribute_names(path)? {
        if !name.starts_with("trusted.overlay.") {
            let read = value.fill(&mut |value| lgetxattr(path, name.as_str(), value));
            let read = read.map_err(|error| Error::io("read attributes of", path, error))?;
            let read = read.to_vec();
            found.insert(name, read);
        }
    }
    Ok(found)
}
