//! Account files as lines with keys, on bytes: whatever cannot be understood stays as it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// One line without its newline.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// All of it.
    pub(super) bytes: &'a [u8],
    /// The text before the first `:`; none for comments, blank lines, NIS lines and lines without `:`.
    pub(super) key: Option<&'a [u8]>,
}

impl<'a> Line<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let named = !matches!(bytes.first(), None | Some(b'#' | b'+' | b'-' | b':'));
        let colon = bytes.iter().position(|&byte| byte == b':').filter(|_| named);
        Self { bytes, key: colon.and_then(|colon| bytes.get(..colon)) }
    }

    /// Whether it can be taken apart: no NUL byte, valid UTF-8.
    pub(super) fn is_sound(self) -> bool {
        !self.bytes.contains(&0) && std::str::from_utf8(self.bytes).is_ok()
    }

    /// Whether it includes accounts of a directory service (nsswitch.conf(5), "compat").
    pub(super) fn is_nis(self) -> bool {
        matches!(self.bytes.first(), Some(b'+' | b'-'))
    }

    /// The field at a place, counted from 0.
    pub(super) fn field(self, place: usize) -> &'a [u8] {
        fields(self.bytes).nth(place).unwrap_or_default()
    }

    /// The field at a place as a user or group number.
    pub(super) fn number(self, place: usize) -> Option<u32> {
        std::str::from_utf8(self.field(place)).ok()?.parse().ok()
    }
}

pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b':')
}

/// The members that a field lists.
pub(super) fn members(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|&byte| byte == b',').filter(|member| !member.is_empty())
}

/// Fields or lines as a set. One function for all of them, and none that sorts: PID 1 has it in memory.
pub(super) fn set<'a>(items: &mut dyn Iterator<Item = &'a [u8]>) -> BTreeSet<&'a [u8]> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

/// A file's lines, with an index by key.
pub(super) struct Text<'a> {
    pub(super) lines: Vec<Line<'a>>,
    /// For each key the place of its first line, and how many lines have it.
    keys: BTreeMap<&'a [u8], (usize, usize)>,
    /// Whether the last line has its newline; true for an empty file.
    pub(super) ends: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let ends = bytes.last().is_none_or(|&byte| byte == b'\n');
        let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let lines: Vec<Line<'a>> = match bytes {
            [] => Vec::new(),
            _ => whole.split(|&byte| byte == b'\n').map(Line::new).collect(),
        };
        let mut keys = BTreeMap::new();
        for (place, line) in lines.iter().enumerate() {
            if let Some(key) = line.key {
                keys.entry(key).or_insert((place, 0)).1 += 1;
            }
        }
        Self { lines, keys, ends }
    }

    /// The lines as a set.
    pub(super) fn set(&self) -> BTreeSet<&'a [u8]> {
        set(&mut self.lines.iter().map(|line| line.bytes))
    }

    /// The first line of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<Line<'a>> {
        self.keys.get(key).and_then(|(place, _)| self.lines.get(*place)).copied()
    }

    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key)
    }

    /// How many lines have a key.
    pub(super) fn count(&self, key: &[u8]) -> usize {
        self.keys.get(key).map_or(0, |(_, count)| *count)
    }

    /// The first line of each key, in the order of the file.
    pub(super) fn keyed(&self) -> impl Iterator<Item = (&'a [u8], Line<'a>)> {
        self.lines.iter().enumerate().filter_map(|(place, line)| {
            let key = line.key?;
            self.keys.get(key).is_some_and(|(first, _)| *first == place).then_some((key, *line))
        })
    }
}

/// The lines of a merged file: those of the upper that stay, then what is added.
#[derive(Default)]
pub(super) struct Merged<'a> {
    kept: Vec<Cow<'a, [u8]>>,
    /// The place of the first NIS line among the kept ones.
    nis: Option<usize>,
    added: Vec<&'a [u8]>,
    /// Whether the upper's last line is the last one kept, and has no newline.
    open: bool,
}

impl<'a> Merged<'a> {
    /// Keeps the next line of the upper, as it is or with other bytes.
    pub(super) fn keep(&mut self, line: Line<'a>, bytes: Cow<'a, [u8]>, open: bool) {
        if line.is_nis() && self.nis.is_none() {
            self.nis = Some(self.kept.len());
        }
        self.kept.push(bytes);
        self.open = open;
    }

    /// Adds a line: before the first NIS line, since what stands behind it may never be read, else at the end.
    pub(super) fn add(&mut self, line: &'a [u8]) {
        self.added.push(line);
    }

    /// The file.
    pub(super) fn bytes(self) -> Vec<u8> {
        let open = self.open && (self.added.is_empty() || self.nis.is_some());
        let (before, behind) = self.kept.split_at(self.nis.unwrap_or(self.kept.len()));
        let kept = |lines: &[Cow<'a, [u8]>], text: &mut Vec<u8>| {
            for line in lines {
                text.extend_from_slice(line);
                text.push(b'\n');
            }
        };
        let mut text = Vec::new();
        kept(before, &mut text);
        for line in &self.added {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        kept(behind, &mut text);
        if open {
            text.pop();
        }
        text
    }
}
