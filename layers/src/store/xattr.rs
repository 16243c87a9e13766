//! Extended attributes of the entries of uppers: copied, compared, and read for what OverlayFS marked.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{
    XattrFlags, fgetxattr, flistxattr, flistxattr_query, fsetxattr, lgetxattr, llistxattr,
    llistxattr_query, lremovexattr, lsetxattr,
};
use rustix::io::Errno;

/// What OverlayFS notes about the lowers under an upper: file handles that mean nothing over other lowers.
pub(super) const ABOUT_LOWERS: [&str; 3] =
    ["trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.uuid"];

/// And what hides or moves lowers, which each new directory of an upper has.
pub(super) const OF_ONE_STACK: [&str; 5] = [
    "trusted.overlay.origin",
    "trusted.overlay.impure",
    "trusted.overlay.uuid",
    "trusted.overlay.opaque",
    "trusted.overlay.redirect",
];

/// The namespace that OverlayFS keeps for itself: a mounted overlay shows none of it.
const OVERLAY: &[u8] = b"trusted.overlay.";
/// The mark of a directory that hides what the lowers have in it.
pub(super) const OPAQUE: &str = "trusted.overlay.opaque";

/// XATTR_SIZE_MAX (linux/limits.h): no value is longer.
const LONGEST: usize = 64 << 10;
/// What nearly every value fits into. The kernel takes, and clears, memory of the size that it is asked with: for a
/// tree of small files that would cost more than all the rest.
const USUAL: usize = 256;

/// What OverlayFS marked an entry with.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    /// A directory that hides what the lowers have in it.
    pub(super) opaque: bool,
    /// A directory whose content is at another path of the lowers.
    pub(super) redirect: bool,
    /// A file whose content is in a lower.
    pub(super) metacopy: bool,
    /// There are attributes that are not OverlayFS's own.
    pub(super) others: bool,
}

impl Marks {
    fn see(&mut self, name: &[u8]) {
        match name.strip_prefix(OVERLAY) {
            Some(b"opaque") => self.opaque = true,
            Some(b"redirect") => self.redirect = true,
            Some(b"metacopy") => self.metacopy = true,
            Some(_) => {}
            None => self.others = true,
        }
    }
}

/// An entry: open, or by its path (which may be a symbolic link itself).
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Open(BorrowedFd<'a>),
    Path(&'a Path),
}

/// Names and values, sorted.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Buffers that serve all entries of a tree.
pub(super) struct Xattrs {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl Xattrs {
    pub(super) fn new() -> Self {
        Self { names: Vec::new(), value: Vec::new() }
    }

    /// Copies all but the named attributes; gives the marks that were met.
    pub(super) fn copy(&mut self, from: At<'_>, to: At<'_>, without: &[&str]) -> io::Result<Marks> {
        let mut marks = Marks::default();
        let length = list(from, &mut self.names)?;
        for name in each(self.names.get(..length)) {
            marks.see(name);
            if !without.iter().any(|about| about.as_bytes() == name) {
                let length = get(from, name, &mut self.value)?;
                set(to, name, self.value.get(..length).unwrap_or_default())?;
            }
        }
        Ok(marks)
    }

    /// The marks of an entry.
    pub(super) fn marks(&mut self, at: &Path) -> io::Result<Marks> {
        let mut marks = Marks::default();
        let length = list(At::Path(at), &mut self.names)?;
        each(self.names.get(..length)).for_each(|name| marks.see(name));
        Ok(marks)
    }

    /// Whether two entries have the same attributes, but for those of OverlayFS.
    pub(super) fn equal(&mut self, one: &Path, other: &Path) -> io::Result<bool> {
        Ok(self.pairs(one)? == self.pairs(other)?)
    }

    /// Gives `to` the attributes of `from`, and takes away those that `from` has not; OverlayFS's own stay.
    pub(super) fn replace(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (want, have) = (self.pairs(from)?, self.pairs(to)?);
        for (name, _) in &have {
            if !want.iter().any(|(other, _)| other == name) {
                lremovexattr(to, name.as_slice())?;
            }
        }
        want.iter().try_for_each(|(name, value)| set(At::Path(to), name, value))
    }

    fn pairs(&mut self, at: &Path) -> io::Result<Pairs> {
        let at = At::Path(at);
        let length = list(at, &mut self.names)?;
        let mut pairs = Pairs::new();
        for name in each(self.names.get(..length)).filter(|name| !name.starts_with(OVERLAY)) {
            let length = get(at, name, &mut self.value)?;
            let value = self.value.get(..length).unwrap_or_default();
            pairs.push((name.to_vec(), value.to_vec()));
        }
        pairs.sort_unstable();
        Ok(pairs)
    }
}

/// Hides what the lowers have in a directory.
pub(super) fn hide_lowers(directory: &Path) -> io::Result<()> {
    set(At::Path(directory), OPAQUE.as_bytes(), b"y")
}

/// Shows what is hidden below a directory. No mark is fine.
pub(super) fn clear_opaque(directory: &Path) -> io::Result<()> {
    match lremovexattr(directory, OPAQUE) {
        Err(Errno::NODATA | Errno::NOTSUP) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn each(names: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    names.unwrap_or_default().split(|&byte| byte == 0).filter(|name| !name.is_empty())
}

/// Puts the names into the buffer, and gives their length: mostly 0, which one call tells.
fn list(at: At<'_>, names: &mut Vec<u8>) -> io::Result<usize> {
    let length = match at {
        At::Open(file) => flistxattr_query(file),
        At::Path(path) => llistxattr_query(path),
    };
    let length = match length {
        // A file system without extended attributes has none.
        Ok(0) | Err(Errno::NOTSUP) => return Ok(0),
        length => length?,
    };
    if names.len() < length {
        names.resize(length, 0);
    }
    let names = names.get_mut(..length).unwrap_or_default();
    Ok(match at {
        At::Open(file) => flistxattr(file, names),
        At::Path(path) => llistxattr(path, names),
    }?)
}

/// Puts a value into the buffer, and gives its length.
fn get(at: At<'_>, name: &[u8], value: &mut Vec<u8>) -> io::Result<usize> {
    let into = |value: &mut [u8]| match at {
        At::Open(file) => fgetxattr(file, name, value),
        At::Path(path) => lgetxattr(path, name, value),
    };
    if value.len() < USUAL {
        value.resize(USUAL, 0);
    }
    let usual = into(value.get_mut(..USUAL).unwrap_or_default());
    if usual == Err(Errno::RANGE) {
        value.resize(LONGEST, 0);
        return Ok(into(value)?);
    }
    Ok(usual?)
}

fn set(at: At<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(match at {
        At::Open(file) => fsetxattr(file, name, value, XattrFlags::empty()),
        At::Path(path) => lsetxattr(path, name, value, XattrFlags::empty()),
    }?)
}
