//! Boot loader entries: the text files of type 1 in `loader/entries`, and their names.
//!
//! Source: UAPI.1 Boot Loader Specification, <https://uapi-group.org/specifications/specs/boot_loader_specification/>.
//!
//! ```text
//! layerctl-7-0f3a9c41+3.conf           starts generation 7, three attempts left
//! layerctl-default-7-5bd1e02c.conf     starts what boot/default names, with the kernel of generation 7
//! ```
//!
//! The eight digits are the first of the text's SHA-256: another text has another name, so no entry is ever written over,
//! and a text that was written in part is known by its name.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::id::GenerationId;

/// The longest file name of an entry, in bytes.
pub const NAME_MAX: usize = 255;

/// What the names of our entries begin with; all others belong to somebody else.
pub const PREFIX: &str = "layerctl-";

const SUFFIX: &str = ".conf";
const DEFAULT: &str = "default-";

/// How often a boot loader tries an entry that nobody called good yet (the specification's "Boot counting").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counters {
    /// Attempts left; at 0 the entry is bad, and sorts behind all others.
    pub left: u32,
    /// Attempts that failed; a boot loader writes it, we do not.
    pub done: Option<u32>,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.left)?;
        self.done.iter().try_for_each(|done| write!(f, "-{done}"))
    }
}

/// The file name of one of our entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryName {
    /// Whether the entry leaves the choice of the generation to `boot/default`.
    pub default: bool,
    /// The generation that it is for.
    pub id: GenerationId,
    /// The first four bytes of the text's SHA-256.
    pub hash: u32,
    /// The boot loader's counters, while there are some.
    pub counters: Option<Counters>,
}

impl EntryName {
    /// The name of an entry that holds `text`.
    pub fn of(default: bool, id: GenerationId, text: &str, counters: Option<Counters>) -> Self {
        Self { default, id, hash: hash(text), counters }
    }

    /// Whether this is the name of an entry that holds `text`.
    pub fn fits(&self, text: &str) -> bool {
        self.hash == hash(text)
    }

    /// The name without counters: by it two names of one entry are known.
    pub fn uncounted(self) -> Self {
        Self { counters: None, ..self }
    }

    /// What boot loaders call the entry: its file's name without counters (systemd-boot(7), `LoaderEntryOneShot`).
    pub fn loader_id(self) -> String {
        self.uncounted().to_string()
    }
}

fn hash(text: &str) -> u32 {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    u32::from_be_bytes([a, b, c, d])
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = if self.default { DEFAULT } else { "" };
        write!(f, "{PREFIX}{default}{}-{:08x}", self.id, self.hash)?;
        self.counters.iter().try_for_each(|counters| counters.fmt(f))?;
        f.write_str(SUFFIX)
    }
}

/// A file name that is none of our entries'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign;

impl FromStr for EntryName {
    type Err = Foreign;

    /// Reads a name; only what we would write so ourselves, or a boot loader that counts, is ours.
    fn from_str(text: &str) -> Result<Self, Foreign> {
        let name = parse(text).ok_or(Foreign)?;
        if name.to_string() == text { Ok(name) } else { Err(Foreign) }
    }
}

fn parse(text: &str) -> Option<EntryName> {
    let stem = text.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (stem, counters) = match stem.split_once('+') {
        Some((stem, counters)) => (stem, Some(parse_counters(counters)?)),
        None => (stem, None),
    };
    let (default, stem) = match stem.strip_prefix(DEFAULT) {
        Some(rest) => (true, rest),
        None => (false, stem),
    };
    let (id, hash) = stem.split_once('-')?;
    let hash = u32::from_str_radix(hash, 16).ok()?;
    Some(EntryName { default, id: id.parse().ok()?, hash, counters })
}

fn parse_counters(text: &str) -> Option<Counters> {
    let (left, done) = match text.split_once('-') {
        Some((left, done)) => (left, Some(done.parse().ok()?)),
        None => (text, None),
    };
    Some(Counters { left: left.parse().ok()?, done })
}

/// Where an entry stands in a boot loader's menu. Boot loaders order by `sort-key` first, and start the first one where
/// nobody chose; an entry whose attempts are used up comes last, so the last good generation is the next in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// What starts by default.
    Default,
    /// What starts when the default's attempts are used up: the last generation marked good, else the newest other one.
    Good,
    /// All others, newest first.
    Other,
}

impl Rank {
    /// The value of `sort-key`.
    pub fn sort_key(self) -> &'static str {
        match self {
            Self::Default => "layerctl",
            Self::Good => "layerctl-good",
            Self::Other => "layerctl-other",
        }
    }
}

/// An entry's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What people see.
    pub title: String,
    /// Among entries of one `sort-key` the highest version comes first (UAPI.10).
    pub version: String,
    /// Its place in the menu.
    pub rank: Rank,
    /// The machine ID, where it is known.
    pub machine_id: Option<String>,
    /// The kernel's arguments, in order.
    pub options: Vec<String>,
    /// The initrd's path on the boot partition, from its root on.
    pub initrd: String,
    /// The kernel's path on the boot partition, from its root on.
    pub linux: String,
}

impl fmt::Display for Entry {
    /// The text. `linux` comes last: an entry without it is none, so a boot loader passes over one that was written in part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |key: &str, value: &str| writeln!(f, "{key:<10} {value}");
        line("title", &self.title)?;
        line("version", &self.version)?;
        line("sort-key", self.rank.sort_key())?;
        self.machine_id.iter().try_for_each(|id| line("machine-id", id))?;
        line("options", &self.options.join(" "))?;
        line("initrd", &self.initrd)?;
        line("linux", &self.linux)
    }
}

/// What an entry of anybody says, as far as it matters to us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its title.
    pub title: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its `sort-key`.
    pub sort_key: Option<String>,
    /// The machine ID.
    pub machine_id: Option<String>,
    /// The kernel's arguments: several lines add up.
    pub options: Vec<String>,
    /// Files that it names on the boot partition, without a leading slash: kernel and initrds.
    pub files: Vec<String>,
}

impl Said {
    /// Reads an entry's text; keys that mean nothing to us are passed over, as are comments.
    pub fn parse(text: &str) -> Self {
        let mut said = Self::default();
        for line in text.lines().map(str::trim) {
            let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let value = value.trim();
            match key {
                _ if value.is_empty() => {}
                "title" => said.title = Some(value.to_owned()),
                "version" => said.version = Some(value.to_owned()),
                "sort-key" => said.sort_key = Some(value.to_owned()),
                "machine-id" => said.machine_id = Some(value.to_owned()),
                "options" => said.options.extend(words(value)),
                "linux" | "initrd" => said.files.push(value.trim_start_matches('/').to_owned()),
                _ => {}
            }
        }
        said
    }

    /// The value of a kernel argument; of several, the last one's.
    pub fn option(&self, key: &str) -> Option<&str> {
        let value =
            |option: &'_ String| option.split_once('=').is_some_and(|(name, _)| name == key);
        let found = self.options.iter().rev().find(|option| value(option))?;
        found.split_once('=').map(|(_, value)| value)
    }
}

/// The words of a kernel command line: parted by blanks, but for those between double quotes, which stay.
pub fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        if letter == '"' {
            quoted = !quoted;
        }
        match words.last_mut() {
            Some(word) if quoted || !letter.is_whitespace() => word.push(letter),
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A text for a menu: printable ASCII on one line, since a firmware's font may have no more, at most `max` letters.
pub fn printable(text: &str, max: usize) -> String {
    let plain = |letter: char| match letter {
        letter if letter.is_ascii_graphic() => letter,
        letter if letter.is_whitespace() => ' ',
        _ => '?',
    };
    let mut shown: String = text.trim().chars().map(plain).take(max + 1).collect();
    if shown.len() > max {
        shown.truncate(max.saturating_sub(3));
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            title: "debian 13".to_owned(),
            version: "7".to_owned(),
            rank: Rank::Good,
            machine_id: Some("4098b3f648d74c13b1f04ccfba7798e8".to_owned()),
            options: vec!["panic=10".to_owned(), "a=\"b c\"".to_owned()],
            initrd: "/layerctl/b-initrd".to_owned(),
            linux: "/layerctl/a-linux".to_owned(),
        }
    }

    #[test]
    fn a_text_says_what_the_entry_is() {
        let text = entry().to_string();
        assert_eq!(
            text,
            "title      debian 13\nversion    7\nsort-key   layerctl-good\n\
             machine-id 4098b3f648d74c13b1f04ccfba7798e8\noptions    panic=10 a=\"b c\"\n\
             initrd     /layerctl/b-initrd\nlinux      /layerctl/a-linux\n"
        );
        let said = Said::parse(&text);
        assert_eq!(said.title, Some(entry().title));
        assert_eq!(said.version, Some(entry().version));
        assert_eq!(said.sort_key.as_deref(), Some("layerctl-good"));
        assert_eq!(said.machine_id, entry().machine_id);
        assert_eq!(said.options, entry().options);
        assert_eq!(said.files, ["layerctl/b-initrd", "layerctl/a-linux"]);
    }

    #[test]
    fn entries_of_others_are_read_as_far_as_they_go() {
        let said = Said::parse(
            "# ours? no\ntitle Fedora\n\nlinux\t  vmlinuz\ngrub_arg --x\ninitrd  /a\ninitrd b\n\
             options  a=1 b\noptions a=2\ndevicetree x\nefi /EFI/x.efi\nversion\n",
        );
        assert_eq!(said.files, ["vmlinuz", "a", "b"]);
        assert_eq!(said.option("a"), Some("2"));
        assert_eq!(said.option("b"), None);
        assert_eq!(said.version, None);
    }

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_foreign() {
        for ours in [
            "layerctl-7-0f3a9c41.conf",
            "layerctl-7-0f3a9c41+3.conf",
            "layerctl-default-4294967295-00000000+0-3.conf",
        ] {
            assert_eq!(ours.parse::<EntryName>().unwrap().to_string(), ours);
        }
        for foreign in [
            "layerctl-7.conf",
            "layerctl-7-0F3A9C41.conf",
            "layerctl-07-0f3a9c41.conf",
            "layerctl-0-0f3a9c41.conf",
            "layerctl-7-0f3a9c41+03.conf",
            "layerctl-7-0f3a9c41+.conf",
            "layerctl-7-0f3a9c41+3-.conf",
            "layerctl-7-0f3a9c41+3-1-1.conf",
            "layerctl-7-0f3a9c4.conf",
            "layerctl-7-0f3a9c41.conf.bak",
            "layerctl-default-7.conf",
            "layerctl-mine-7-0f3a9c41.conf",
            "LAYERCTL-7-0f3a9c41.conf",
            "debian-7-0f3a9c41.conf",
            "",
        ] {
            assert_eq!(foreign.parse::<EntryName>(), Err(Foreign), "{foreign}");
        }
    }

    #[test]
    fn a_name_belongs_to_one_text() {
        let name = EntryName::of(false, GenerationId::FIRST, "text\n", None);
        assert!(name.fits("text\n") && !name.fits("text") && !name.fits(""));
        let counted = EntryName { counters: Some(Counters { left: 2, done: Some(1) }), ..name };
        assert_eq!(counted.uncounted(), name);
        assert_eq!(counted.loader_id(), name.to_string());
    }

    #[test]
    fn menus_get_plain_letters() {
        assert_eq!(printable("a\nb\u{1b}[1m ü", 40), "a b?[1m ?");
        assert_eq!(printable("abcdefghij", 10), "abcdefghij");
        assert_eq!(printable("abcdefghijk", 10), "abcdefg...");
    }
}
