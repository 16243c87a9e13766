//! Differences between two views of /etc, as unified text.

#![expect(clippy::disallowed_methods, reason = "reads the files that are compared")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use layers::etc::report;
use similar::TextDiff;

use super::changes::{Change, ChangeKind};
use super::tree::{Entry, Kind, Tree};
use crate::error::Error;
use crate::ui::{Colour, Ui};

/// Longest file whose lines are shown, in bytes.
const SHOWN_MAX: u64 = 1 << 20;

/// How long the shortest way between two texts is looked for; then a longer one is shown.
const PATIENCE: Duration = Duration::from_secs(2);

/// Two views, with what they are called in the text.
pub(crate) struct Sides<'a> {
    /// The first, `image`.
    pub(crate) from: (&'a Tree, String),
    /// The second, `current`.
    pub(crate) to: (&'a Tree, String),
}

impl Sides<'_> {
    /// One change as text.
    pub(crate) fn text(&self, change: &Change, ui: &Ui) -> Result<String, Error> {
        let path = &change.path;
        let (old, new) = (self.from.0.get(path), self.to.0.get(path));
        let mut text = String::new();
        let shown = report::shown(path);
        let mut line = |words: String| {
            let _ = writeln!(text, "{}", ui.paint(Colour::Cyan, &words));
        };
        match (change.kind, old, new) {
            (ChangeKind::Added, _, Some(new)) if !new.is_file() => {
                line(format!("{} {shown} added", kind(new)));
            }
            (ChangeKind::Deleted, Some(old), _) if !old.is_file() => {
                line(format!("{} {shown} deleted", kind(old)));
            }
            (_, Some(old), Some(new)) => {
                for words in attributes(old, new) {
                    line(format!("{shown}: {words}"));
                }
            }
            _ => {}
        }
        let file = |entry: Option<&Entry>| entry.is_some_and(Entry::is_file);
        if file(old) || file(new) {
            text += &self.lines(path, old, new, ui)?;
        }
        Ok(text)
    }

    fn lines(
        &self,
        path: &Path,
        old: Option<&Entry>,
        new: Option<&Entry>,
        ui: &Ui,
    ) -> Result<String, Error> {
        let name = |view: &str, entry: Option<&Entry>| match entry {
            Some(entry) if entry.is_file() => format!("{view}{}", report::shown(path)),
            _ => "/dev/null".to_owned(),
        };
        let (from, to) = (name(&self.from.1, old), name(&self.to.1, new));
        let texts = (content(self.from.0, path, old)?, content(self.to.0, path, new)?);
        let (Some(one), Some(other)) = texts else {
            return Ok(format!("binary files {from} and {to} differ\n"));
        };
        let mut config = TextDiff::configure();
        let diff = config.timeout(PATIENCE).diff_lines(&one, &other);
        let unified = diff.unified_diff().context_radius(3).header(&from, &to).to_string();
        Ok(unified.split_inclusive('\n').map(|line| paint(line, ui)).collect())
    }
}

/// A file's text; none where it is no text or too long. What is no file has an empty one.
fn content(tree: &Tree, path: &Path, entry: Option<&Entry>) -> Result<Option<String>, Error> {
    match entry.map(|entry| &entry.kind) {
        Some(Kind::File(size)) if *size > SHOWN_MAX => Ok(None),
        Some(Kind::File(_)) => {
            let bytes = fs::read(tree.at(path))
                .map_err(|error| Error::io("read", &Path::new("/etc").join(path), error))?;
            Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')))
        }
        _ => Ok(Some(String::new())),
    }
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Directory => "directory",
        Kind::File(_) => "file",
        Kind::Link(_) => "link",
        Kind::Node(..) => "special file",
    }
}

/// What is different besides content.
fn attributes(old: &Entry, new: &Entry) -> Vec<String> {
    let mut words = Vec::new();
    match (&old.kind, &new.kind) {
        (Kind::Link(from), Kind::Link(to)) if from != to => {
            let shown = |path: &Path| report::escaped(path.as_os_str().as_encoded_bytes());
            words.push(format!("link to {} -> {}", shown(from), shown(to)));
        }
        (from, to) if std::mem::discriminant(from) != std::mem::discriminant(to) => {
            words.push(format!("{} -> {}", kind(old), kind(new)));
        }
        _ => {}
    }
    if old.mode != new.mode {
        words.push(format!("mode {:04o} -> {:04o}", old.mode, new.mode));
    }
    if (old.uid, old.gid) != (new.uid, new.gid) {
        words.push(format!("owner {}:{} -> {}:{}", old.uid, old.gid, new.uid, new.gid));
    }
    let names = old.xattrs.keys().chain(new.xattrs.keys());
    let mut names: Vec<_> =
        names.filter(|name| old.xattrs.get(*name) != new.xattrs.get(*name)).collect();
    names.sort();
    names.dedup();
    words.extend(names.iter().map(|name| format!("attribute {} differs", report::escaped(name))));
    words
}

/// Colours a line for a terminal, without what could drive it; anything else gets the bytes as they are.
fn paint(line: &str, ui: &Ui) -> String {
    if !ui.is_terminal() {
        return line.to_owned();
    }
    let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
    let safe: String = line
        .chars()
        .flat_map(|character| {
            let escape = character.is_control() && character != '\t';
            let escaped = escape.then(|| character.escape_default());
            escaped.into_iter().flatten().chain((!escape).then_some(character))
        })
        .collect();
    let colour = match safe.get(..1) {
        Some("+") => Colour::Green,
        Some("-") => Colour::Red,
        Some("@") => Colour::Cyan,
        _ => return safe + end,
    };
    ui.paint(colour, &safe) + end
}
