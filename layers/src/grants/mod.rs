//! What a layer has that somebody has to stand for: each is a line in the `grants` of its signed manifest, or the layer is
//! not taken where signatures are required.
//!
//! ```text
//! entries of a layer ┐
//! what lies below    ├→ judge → needs (a grant makes them right) and flaws (nothing does)
//! its name           ┘          │
//!            manifest's grants ─┴→ what is missing
//! ```
//!
//! A line is a right and a path: `setuid /usr/bin/sudo`. The path may be a pattern: `*` and `?` stay inside of a name, `**`
//! as a whole name is any number of directories.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

mod judge;
mod names;
mod pattern;
mod protected;
#[cfg(test)]
mod tests;

pub use judge::judge;
pub use protected::{UNITS, is_protected};

/// The most entries that a layer may have; a whole desktop has 300,000.
pub const MOST_ENTRIES: usize = 1 << 22;

/// The longest path that a layer may have, in bytes: the kernel takes 4095 (PATH_MAX, linux/limits.h), and before it stands
/// where it is mounted.
pub const LONGEST_PATH: usize = 4000;

/// Something that a layer may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// A file that runs as its owner, or a directory with that bit.
    Setuid,
    /// A file that runs as its group, or a directory that gives its group on.
    Setgid,
    /// A program with file capabilities (capabilities(7)).
    Capabilities,
    /// A character or block device.
    Device,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A deletion of what is below.
    Whiteout,
    /// A directory that shows nothing of the one below.
    Opaque,
    /// A file that decides who may do what, or takes the place of one.
    Masks,
    /// A link in place of a directory, or one that climbs out of the root.
    Leads,
    /// A second name of a file that decides who may do what, or that runs as somebody else.
    Link,
    /// A name that reads like another one, or cannot be read.
    Name,
    /// A file or directory that others than its owner may write.
    Writable,
    /// A program or directory of the system that does not belong to root.
    Owner,
    /// A directory with another mode or owner than below.
    Mode,
    /// An extended attribute that the kernel acts on: `security.*`, `trusted.*`, POSIX ACLs.
    Attribute,
    /// A directory with very many entries.
    Huge,
    /// A path of very many directories.
    Deep,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Setuid,
        Self::Setgid,
        Self::Capabilities,
        Self::Device,
        Self::Fifo,
        Self::Socket,
        Self::Whiteout,
        Self::Opaque,
        Self::Masks,
        Self::Leads,
        Self::Link,
        Self::Name,
        Self::Writable,
        Self::Owner,
        Self::Mode,
        Self::Attribute,
        Self::Huge,
        Self::Deep,
    ];

    /// The word at the beginning of a line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Setuid => "setuid",
            Self::Setgid => "setgid",
            Self::Capabilities => "capabilities",
            Self::Device => "device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Whiteout => "whiteout",
            Self::Opaque => "opaque",
            Self::Masks => "masks",
            Self::Leads => "leads",
            Self::Link => "link",
            Self::Name => "name",
            Self::Writable => "writable",
            Self::Owner => "owner",
            Self::Mode => "mode",
            Self::Attribute => "attribute",
            Self::Huge => "huge",
            Self::Deep => "deep",
        }
    }
}

/// Something that a layer has and that a grant makes right. As text a line of a manifest's `grants`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// What it takes.
    pub right: Right,
    /// Where: a path without a leading slash, as its bytes are.
    pub path: Vec<u8>,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.right.word(), shown(&self.path))
    }
}

/// Something that a layer has and that nothing makes right, in words: `/usr: a directory that is in itself`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// Where: a path without a leading slash.
    pub path: Vec<u8>,
    /// What it is.
    pub what: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", shown(&self.path), self.what)
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory and the number of names in it.
    Directory {
        /// How many names it has, without `.` and `..`.
        names: usize,
        /// Whether it hides what is below it.
        opaque: bool,
    },
    /// A regular file.
    File,
    /// A symbolic link, and where it leads.
    Link(Vec<u8>),
    /// A character device 0:0: there is nothing here.
    Whiteout,
    /// A device.
    Device,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path without a leading slash, as its bytes are; the root's is empty.
    pub path: Vec<u8>,
    /// What it is.
    pub node: Node,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Its inode number, for files with several names.
    pub inode: u64,
    /// Names of its extended attributes.
    pub attributes: Vec<Vec<u8>>,
}

/// What lies below a layer at one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Below {
    /// Whether it is a directory.
    pub directory: bool,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
}

/// What the images below a layer have in the directories that it has too, and in those of systemd's units.
pub type Ground = BTreeMap<Vec<u8>, Below>;

/// What was found in a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What needs a grant, sorted, each once.
    pub needs: Vec<Need>,
    /// What no grant makes right, sorted.
    pub flaws: Vec<Flaw>,
    /// Whether going through all of it may have no end, or not succeed.
    pub endless: bool,
}

/// Why a line grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{line:?} is no grant: {why}")]
pub struct GrantError {
    /// The line.
    pub line: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// One line of a manifest's `grants`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    right: Right,
    /// As it stands in the line.
    path: String,
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(line: &str) -> Result<Self, GrantError> {
        let error = |why| GrantError { line: line.to_owned(), why };
        let (word, path) =
            line.split_once(' ').ok_or_else(|| error("it is not a word and a path"))?;
        let right = Right::ALL.into_iter().find(|right| right.word() == word);
        let right = right.ok_or_else(|| error("nobody knows its first word"))?;
        if !path.starts_with('/') {
            return Err(error("its path does not begin with /"));
        }
        Ok(Self { right, path: path.to_owned() })
    }
}

impl Grant {
    /// Whether it makes something right.
    pub fn covers(&self, need: &Need) -> bool {
        let path = shown(&need.path);
        self.right == need.right
            && (self.path == path || pattern::matches(self.path.as_bytes(), path.as_bytes()))
    }
}

/// All lines of a manifest's `grants`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// Reads the lines.
    pub fn parse(lines: &[String]) -> Result<Self, GrantError> {
        Ok(Self(lines.iter().map(|line| line.parse()).collect::<Result<_, _>>()?))
    }

    /// Those that no line makes right.
    pub fn missing<'a>(&self, needs: &'a [Need]) -> Vec<&'a Need> {
        needs.iter().filter(|need| !self.0.iter().any(|grant| grant.covers(need))).collect()
    }
}

/// How a path is written in a line: absolute, with backslashes doubled; what cannot be read, or changes how a line reads, as
/// `\u{202e}` and `\xff`, and so are `*` and `?`.
pub fn shown(path: &[u8]) -> String {
    let mut text = String::from("/");
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                // They would be a pattern.
                '*' | '?' => text.push_str(&format!("\\x{:02x}", u32::from(character))),
                _ if character.is_control() || names::is_hidden(character) => {
                    text.extend(character.escape_unicode());
                }
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}
