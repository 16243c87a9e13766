//! Gathers what a decision must know of an upper's entries: what they are, and what the images have at their paths.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use super::compare::{Comparer, kind, look};
use crate::etc::entry::{Entry, Foreign, Lower, Side, What};
use crate::exec::HostError;
use crate::store::copy::{Found, below};

/// The longest file name (linux/limits.h).
const NAME_MAX: usize = 255;
/// The end of a name under which an entry is kept aside.
const SAVED: &[u8] = b".layerctl-saved";
/// How many names are tried for one entry.
const NAMES: usize = 1_000;

/// The three trees that a reconciliation looks at.
#[derive(Clone, Copy)]
pub(super) struct Views<'a> {
    pub(super) upper: &'a Path,
    pub(super) old: Option<&'a Path>,
    pub(super) new: &'a Path,
}

/// What was found in a view for a path, for its entries' sake.
#[derive(Clone, Copy)]
struct Lowers {
    old: Lower,
    new: Lower,
}

/// Gathers all entries, in the order in which they were found.
pub(super) fn gather(found: Vec<Found>, views: &Views<'_>) -> Result<Vec<Entry>, HostError> {
    let mut gatherer =
        Gatherer { views, comparer: Comparer::new(), lowers: Vec::new(), aside: BTreeSet::new() };
    found.into_iter().map(|found| gatherer.entry(found)).collect()
}

struct Gatherer<'a> {
    views: &'a Views<'a>,
    comparer: Comparer,
    lowers: Vec<Lowers>,
    /// Names that entries will be kept under.
    aside: BTreeSet<PathBuf>,
}

impl Gatherer<'_> {
    fn entry(&mut self, found: Found) -> Result<Entry, HostError> {
        let above = found.parent.and_then(|parent| self.lowers.get(parent)).copied();
        let has =
            |side: fn(&Lowers) -> Lower| above.is_none_or(|above| side(&above) == Lower::Directory);
        // What is not in a directory of the images is not looked for: that is most of what administrators add.
        let new = if has(|l| l.new) { look(&below(self.views.new, &found.path))? } else { None };
        let old = match self.views.old {
            Some(view) if has(|l| l.old) => Some(look(&below(view, &found.path))?),
            Some(_) => Some(None),
            None => None,
        };
        let upper = what(&found);
        let new = self.side(&found, upper, self.views.new, new, true)?;
        // A file that is the new images' follows them, whatever the old ones had.
        let matters = upper != What::Leaf || !new.equal;
        let old = match (self.views.old, old) {
            (Some(view), Some(old)) => Some(self.side(&found, upper, view, old, matters)?),
            _ => None,
        };
        self.lowers.push(Lowers { old: old.map_or(Lower::Absent, |old| old.is), new: new.is });
        let same = match (self.views.old, old) {
            (Some(view), Some(old)) if matters => self.same(&found.path, upper, view, old, new)?,
            _ => false,
        };
        let conflict = (upper == What::Leaf && new.is == Lower::Directory)
            || (matches!(upper, What::Directory { .. }) && new.is == Lower::Leaf);
        let aside = if conflict { self.free_name(&found.path)? } else { None };
        let foreign = foreign(&found);
        Ok(Entry { path: found.path, parent: found.parent, upper, foreign, old, new, same, aside })
    }

    /// What a view has, and, if that matters, whether it is what the upper has.
    fn side(
        &mut self,
        found: &Found,
        upper: What,
        view: &Path,
        stat: Option<Stat>,
        matters: bool,
    ) -> Result<Side, HostError> {
        let Some(stat) = stat else {
            return Ok(Side { is: Lower::Absent, equal: false });
        };
        let is = match kind(&stat) {
            FileType::Directory => Lower::Directory,
            _ => Lower::Leaf,
        };
        // A file whose content is elsewhere equals nothing.
        let comparable =
            matters && upper != What::Whiteout && !found.marks.metacopy && !found.marks.redirect;
        let (mine, theirs) = (below(self.views.upper, &found.path), below(view, &found.path));
        let (mine, theirs) = ((mine.as_path(), &found.stat), (theirs.as_path(), &stat));
        let equal = comparable
            && match found.marks.others {
                true => self.comparer.equal(mine, theirs)?,
                false => self.comparer.equal_plain(mine, theirs)?,
            };
        Ok(Side { is, equal })
    }

    /// Whether old and new are the same, where that matters.
    fn same(
        &mut self,
        path: &Path,
        upper: What,
        view: &Path,
        old: Side,
        new: Side,
    ) -> Result<bool, HostError> {
        if (old.is, new.is) == (Lower::Absent, Lower::Absent) {
            return Ok(true);
        }
        if old.is != new.is {
            return Ok(false);
        }
        let (old_path, new_path) = (below(view, path), below(self.views.new, path));
        match upper {
            What::Directory { opaque: false } if new.is == Lower::Directory => {
                if old.equal || new.equal {
                    return Ok(old.equal && new.equal);
                }
                let (old, new) = (look(&old_path)?, look(&new_path)?);
                match (old, new) {
                    (Some(old), Some(new)) => {
                        self.comparer.equal((&old_path, &old), (&new_path, &new))
                    }
                    _ => Ok(false),
                }
            }
            What::Leaf if old.equal || new.equal => Ok(old.equal && new.equal),
            _ => self.comparer.same_tree(&old_path, &new_path),
        }
    }

    /// A name beside a path that neither the upper nor the new images have.
    fn free_name(&mut self, path: &Path) -> Result<Option<PathBuf>, HostError> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        for number in 0..NAMES {
            let mut end = SAVED.to_vec();
            if number > 0 {
                end.extend_from_slice(format!(".{number}").as_bytes());
            }
            let length = name.len().min(NAME_MAX.saturating_sub(end.len()));
            let mut bytes = name.get(..length).unwrap_or_default().to_vec();
            bytes.extend_from_slice(&end);
            let to = path.with_file_name(OsString::from_vec(bytes));
            if !self.aside.contains(&to)
                && look(&self.views.upper.join(&to))?.is_none()
                && look(&self.views.new.join(&to))?.is_none()
            {
                self.aside.insert(to.clone());
                return Ok(Some(to));
            }
        }
        Ok(None)
    }
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(super) fn what(found: &Found) -> What {
    if is_whiteout(&found.stat) {
        What::Whiteout
    } else if found.kind() == FileType::Directory {
        What::Directory { opaque: found.marks.opaque }
    } else {
        What::Leaf
    }
}

/// What about an entry no mount of an upper honours.
pub(super) fn foreign(found: &Found) -> Option<Foreign> {
    let kind = found.kind();
    let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    if device && !is_whiteout(&found.stat) {
        Some(Foreign::Device)
    } else if kind == FileType::RegularFile && found.stat.st_mode & 0o6000 != 0 {
        Some(Foreign::SetId)
    } else if found.marks.redirect {
        Some(Foreign::Redirect)
    } else if found.marks.metacopy {
        Some(Foreign::Metacopy)
    } else {
        None
    }
}
