//! Extended attributes: room to read them into, and those of uppers copied, compared, and read for what OverlayFS marked.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{
    XattrFlags, fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lremovexattr, lsetxattr,
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

/// XATTR_LIST_MAX and XATTR_SIZE_MAX (linux/limits.h): no list and no value is longer.
const LONGEST: usize = 64 << 10;

/// What nearly all lists and values fit into. The kernel allocates as much as is offered, for each call, and many kernels
/// clear it: 64 KiB take an emulated machine 0.1 ms.
const USUAL: usize = 1 << 10;

/// Room for an entry's list of names or for one value, used for entry after entry.
#[derive(Debug)]
pub struct Buffer(Vec<u8>);

impl Default for Buffer {
    fn default() -> Self {
        Self(vec![0; USUAL])
    }
}

impl Buffer {
    /// What `read`, a call like llistxattr(2) or lgetxattr(2), writes: its length is what it gives. Called once more where the
    /// room was too small for it.
    pub fn fill(
        &mut self,
        read: &mut dyn FnMut(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<&[u8], Errno> {
        let length = match read(&mut self.0) {
            Err(Errno::RANGE) if self.0.len() < LONGEST => {
                self.0.resize(LONGEST, 0);
                read(&mut self.0)
            }
            other => other,
        }?;
        Ok(self.0.get(..length).unwrap_or_default())
    }
}

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

/// Names, each once, and their values.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Buffers that serve all entries of a tree.
#[derive(Default)]
pub(super) struct Xattrs {
    names: Buffer,
    value: Buffer,
}

impl Xattrs {
    /// Copies all but the named attributes; gives the marks that were met.
    pub(super) fn copy(&mut self, from: At<'_>, to: At<'_>, without: &[&str]) -> io::Result<Marks> {
        let mut marks = Marks::default();
        for name in each(list(from, &mut self.names)?) {
            marks.see(name);
            if !without.iter().any(|about| about.as_bytes() == name) {
                set(to, name, get(from, name, &mut self.value)?)?;
            }
        }
        Ok(marks)
    }

    /// The marks of an entry.
    pub(super) fn marks(&mut self, at: &Path) -> io::Result<Marks> {
        let mut marks = Marks::default();
        each(list(At::Path(at), &mut self.names)?).for_each(|name| marks.see(name));
        Ok(marks)
    }

    /// Whether two entries have the same attributes, but for those of OverlayFS.
    pub(super) fn equal(&mut self, one: &Path, other: &Path) -> io::Result<bool> {
        let (one, other) = (self.pairs(one)?, self.pairs(other)?);
        Ok(one.len() == other.len() && one.iter().all(|pair| other.contains(pair)))
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
        let mut pairs = Pairs::new();
        let names = each(list(at, &mut self.names)?);
        for name in names.filter(|name| !name.starts_with(OVERLAY)) {
            pairs.push((name.to_vec(), get(at, name, &mut self.value)?.to_vec()));
        }
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

/// The names in a list of them.
pub fn each(names: &[u8]) -> impl Iterator<Item = &[u8]> {
    names.split(|&byte| byte == 0).filter(|name| !name.is_empty())
}

fn list<'a>(at: At<'_>, names: &'a mut Buffer) -> io::Result<&'a [u8]> {
    let listed = names.fill(&mut |names| match at {
        At::Open(file) => flistxattr(file, names),
        At::Path(path) => llistxattr(path, names),
    });
    match listed {
        // A file system without extended attributes has none.
        Err(Errno::NOTSUP) => Ok(&[]),
        other => Ok(other?),
    }
}

fn get<'a>(at: At<'_>, name: &[u8], value: &'a mut Buffer) -> io::Result<&'a [u8]> {
    Ok(value.fill(&mut |value| match at {
        At::Open(file) => fgetxattr(file, name, value),
        At::Path(path) => lgetxattr(path, name, value),
    })?)
}

fn set(at: At<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(match at {
        At::Open(file) => fsetxattr(file, name, value, XattrFlags::empty()),
        At::Path(path) => lsetxattr(path, name, value, XattrFlags::empty()),
    }?)
}
