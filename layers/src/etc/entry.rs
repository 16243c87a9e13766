//! What the decision knows of one entry of an upper: plain data, gathered by `store::derive`.

use std::path::PathBuf;

/// One entry of an upper, and what the images have at its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path, relative to /etc; empty for /etc itself.
    pub path: PathBuf,
    /// The place of its directory in the list of entries; none for /etc itself.
    pub parent: Option<usize>,
    /// What it is.
    pub upper: What,
    /// What about it no mount of an upper honours.
    pub foreign: Option<Foreign>,
    /// What the images had that the upper lay on; none where they cannot be seen. Not compared where the upper's entry
    /// is no directory and equals the new images'.
    pub old: Option<Side>,
    /// What the images have that the upper will lie on.
    pub new: Side,
    /// Whether old and new are the same: with all that is in them where the upper hides that, without it for a
    /// directory that the upper shows. Filled in only where a decision depends on it; else false.
    pub same: bool,
    /// A free name beside it, filled in where one of the upper and new has a directory and the other has something else.
    pub aside: Option<PathBuf>,
}

/// What an entry of an upper is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A character device 0:0: the path was deleted.
    Whiteout,
    /// A directory.
    Directory {
        /// Whether it hides what the images have in it.
        opaque: bool,
    },
    /// Anything else.
    Leaf,
}

/// What the images have at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// What it is.
    pub is: Lower,
    /// Whether it equals the upper's entry: type, owner, mode, extended attributes, and content but for directories.
    pub equal: bool,
}

/// The types of entries that matter in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lower {
    /// Nothing.
    Absent,
    /// A directory.
    Directory,
    /// Anything else.
    Leaf,
}

/// Things in an upper that no mount of one honours: they stay, and are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A block or character device.
    Device,
    /// A set-user-ID or set-group-ID program.
    SetId,
    /// A trusted.overlay.redirect attribute: its content was meant to be found at another path.
    Redirect,
    /// A trusted.overlay.metacopy attribute: its content was meant to be found in an image.
    Metacopy,
}

impl Foreign {
    /// One sentence about it.
    pub fn what(self) -> &'static str {
        match self {
            Self::Device => "a device node, which cannot be opened here (nodev)",
            Self::SetId => {
                "a set-user-ID or set-group-ID file, whose bits have no effect here (nosuid)"
            }
            Self::Redirect => "an OverlayFS redirect that no image explains",
            Self::Metacopy => "a file without content of its own (OverlayFS metacopy)",
        }
    }
}
