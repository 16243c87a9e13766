//! The merge by key of account files, over the old images' file, the new images' and the upper's. Pure: bytes in, bytes
//! out.
//!
//! A line that the administrator did not change is the image's and follows it; one that he changed keeps his fields and
//! takes the image's others; a line of his own stays. An account that the image no longer has goes only if nothing of
//! the administrator's refers to it. Formats: passwd(5), group(5), shadow(5), gshadow(5), subuid(5), subgid(5), shells(5).

mod fields;
mod ids;
mod keyed;
mod lines;
mod notes;
mod sets;
mod stay;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::report::Note;
use keyed::Three;
use lines::Text;
use notes::Notes;

/// The files that are merged by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Database {
    /// Accounts.
    Passwd,
    /// Groups.
    Group,
    /// Passwords of accounts.
    Shadow,
    /// Passwords and administrators of groups.
    Gshadow,
    /// Ranges of user numbers for user namespaces.
    Subuid,
    /// Ranges of group numbers for user namespaces.
    Subgid,
    /// Programs that may be login shells.
    Shells,
}

impl Database {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Passwd,
        Self::Group,
        Self::Shadow,
        Self::Gshadow,
        Self::Subuid,
        Self::Subgid,
        Self::Shells,
    ];

    /// The four that belong together: an account stands in all of them or in none.
    pub const ACCOUNTS: [Self; 4] = [Self::Passwd, Self::Group, Self::Shadow, Self::Gshadow];

    /// The file's name in /etc.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passwd => "passwd",
            Self::Group => "group",
            Self::Shadow => "shadow",
            Self::Gshadow => "gshadow",
            Self::Subuid => "subuid",
            Self::Subgid => "subgid",
            Self::Shells => "shells",
        }
    }

    /// The file's path, relative to /etc.
    pub fn path(self) -> &'static Path {
        Path::new(self.name())
    }
}

/// One file in its three versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// The old images' file; none where they have none.
    pub old: Option<Vec<u8>>,
    /// The new images' file; none where they have none.
    pub new: Option<Vec<u8>>,
    /// The upper's.
    pub upper: Upper,
}

/// An account file in an upper.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Upper {
    /// A regular file with this text.
    Text(Vec<u8>),
    /// Nothing: the images' file is seen.
    #[default]
    Follows,
    /// Deleted, no regular file, or too large: it is not merged, and nothing is known of its accounts.
    Apart,
}

/// All that a merge depends on but the files of the administrator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    /// The files; one that is not here follows the images and has no text.
    pub files: BTreeMap<Database, Versions>,
    /// Whether old and new are known in full. Where not, lines are only ever added.
    pub full: bool,
}

/// Accounts and groups that would go if nothing of the administrator's referred to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    /// User numbers.
    pub uids: BTreeSet<u32>,
    /// Group numbers.
    pub gids: BTreeSet<u32>,
    /// Home directories.
    pub homes: BTreeSet<Vec<u8>>,
}

impl Candidates {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty() && self.homes.is_empty()
    }
}

/// Which of the [`Candidates`] something in an upper belongs to.
pub type References = Candidates;

/// A merge's result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The files that the upper must have. A file that the upper has not is here only where the images' alone would
    /// lose an account that stays.
    pub files: BTreeMap<Database, Vec<u8>>,
    /// What to tell.
    pub notes: Vec<Note>,
}

impl Input {
    /// Whether the files that an account stands in are to be brought into the upper where the images' would do:
    /// once the administrator has one of them of his own.
    fn completes(&self) -> bool {
        let text = |database: &Database| {
            matches!(self.files.get(database), Some(Versions { upper: Upper::Text(_), .. }))
        };
        self.full && Database::ACCOUNTS.iter().any(text)
    }

    /// The three texts of a file; none if it is not merged. `text` is what stands for the upper's: its own, or the old
    /// images', which it showed.
    fn three(&self, database: Database) -> Option<Three<'_>> {
        let versions = self.files.get(&database)?;
        let old = versions.old.as_deref().unwrap_or_default();
        let new = versions.new.as_deref();
        let upper = match &versions.upper {
            Upper::Text(text) => text,
            Upper::Follows if self.completes() && Database::ACCOUNTS.contains(&database) => old,
            Upper::Follows => new.unwrap_or_default(),
            Upper::Apart => return None,
        };
        // An image without the file says nothing about single lines.
        let full = self.full && new.is_some();
        let new = new.unwrap_or_default();
        Some(Three { old: Text::new(old), new: Text::new(new), upper: Text::new(upper), full })
    }
}

/// Accounts that would go but for references from outside the account files.
pub fn candidates(input: &Input) -> Candidates {
    let mut found = Candidates::default();
    if let Some(passwd) = input.three(Database::Passwd) {
        for (_, line) in passwd.removed().filter(|(key, line)| passwd.is_unchanged(key, *line)) {
            found.uids.extend(line.number(2));
            found.homes.insert(line.field(5).to_vec());
        }
    }
    if let Some(group) = input.three(Database::Group) {
        for (_, line) in group.removed().filter(|(key, line)| group.is_unchanged(key, *line)) {
            found.gids.extend(line.number(2));
        }
    }
    found
}

/// Merges all files. Every line of the upper is in the result but those of accounts that both the images and the
/// administrator have given up, and those that the image changed and the administrator did not.
pub fn merge(input: &Input, references: &References) -> Output {
    let mut notes = Notes::default();
    let three = |database| input.three(database);
    let [passwd, group, shadow, gshadow] = Database::ACCOUNTS.map(three);
    let (subuid, subgid) = (three(Database::Subuid), three(Database::Subgid));
    let texts = stay::Files {
        passwd: passwd.as_ref(),
        group: group.as_ref(),
        shadow: shadow.as_ref(),
        gshadow: gshadow.as_ref(),
        ranges: [subuid.as_ref(), subgid.as_ref()],
    };
    let mut files = BTreeMap::new();
    let mut done = |database, merged: Option<Vec<u8>>| {
        if let Some(bytes) = merged.filter(|bytes| input.needs(database, bytes)) {
            files.insert(database, bytes);
        }
    };

    let accounts = stay::accounts(&texts, references);
    let new_passwd = passwd.as_ref().map(|three| {
        keyed::merge(Database::Passwd, three, &|key| accounts.get(key).copied(), &mut notes)
    });
    let result = Text::new(new_passwd.as_deref().unwrap_or_default());
    let groups = stay::groups(&texts, &result, references);
    let new_group = group.as_ref().map(|three| {
        keyed::merge(Database::Group, three, &|key| groups.get(key).copied(), &mut notes)
    });
    let result_group = Text::new(new_group.as_deref().unwrap_or_default());

    for (database, three, names, known) in [
        (Database::Shadow, &shadow, &result, new_passwd.is_some()),
        (Database::Gshadow, &gshadow, &result_group, new_group.is_some()),
    ] {
        let stays = |key: &[u8]| (!known || names.has(key)).then_some("");
        let merged = three.as_ref().map(|three| keyed::merge(database, three, &stays, &mut notes));
        done(database, merged);
    }
    let kept = stay::kept_names(passwd.as_ref(), &result);
    for (database, three) in [(Database::Subuid, &subuid), (Database::Subgid, &subgid)] {
        let merged = three.as_ref().map(|three| {
            let stays = |line: lines::Line<'_>| {
                line.key.is_some_and(|key| new_passwd.is_none() || kept.contains(key))
            };
            sets::merge(database, three, &stays)
        });
        if let Some(bytes) = &merged {
            ids::overlaps(database, bytes, &mut notes);
        }
        done(database, merged);
    }
    let merged = three(Database::Shells).map(|shells| {
        let used = lines::set(&mut result.keyed().map(|(_, line)| line.field(6)));
        let stays = |line: lines::Line<'_>| new_passwd.is_none() || used.contains(line.bytes);
        sets::merge(Database::Shells, &shells, &stays)
    });
    done(Database::Shells, merged);
    ids::twice(Database::Passwd, &result, &mut notes);
    ids::twice(Database::Group, &result_group, &mut notes);
    done(Database::Passwd, new_passwd);
    done(Database::Group, new_group);
    Output { files, notes: notes.finish() }
}

impl Input {
    /// Whether the upper must have this text of a file.
    fn needs(&self, database: Database, bytes: &[u8]) -> bool {
        match self.files.get(&database) {
            Some(Versions { upper: Upper::Text(_), .. }) => true,
            Some(Versions { upper: Upper::Follows, new: Some(new), .. }) => {
                self.completes()
                    && Database::ACCOUNTS.contains(&database)
                    && bytes != new.as_slice()
            }
            _ => false,
        }
    }
}
