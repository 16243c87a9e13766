//! All that a store holds, as text to compare: every file outside of uppers, every entry inside of them.
#![expect(clippy::disallowed_methods, reason = "reads a store's files")]

use layers::layout::Layout;
use layers::store::log::whole_lines;
use layers::store::publish::is_unpublished;
use rustix::fs::{lgetxattr, llistxattr};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files up to this length are shown, longer ones are hashed.
const SHOWN: usize = 200;

/// What stands at each path of a store, relative to its top; without what was never published, the lock and
/// the reserve. Of the log it has the lines that were written to their end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot(BTreeMap<String, String>);

impl Snapshot {
    /// Reads a store; one that is not there is empty.
    pub(super) fn of(layout: &Layout) -> io::Result<Self> {
        let mut found = BTreeMap::new();
        if layout.top().try_exists()? {
            walk(layout.top(), "", &mut found)?;
        }
        Ok(Self(found))
    }

    /// The pointer to the generation that boots.
    pub(super) fn booting(&self) -> Option<&String> {
        self.0.get("boot/default")
    }

    /// Whether this is one of `allowed`, but for reports of how an /etc came about: one is written just before the /etc
    /// that it tells of, so any of theirs may be there.
    pub(super) fn is_among(&self, allowed: &[&Self]) -> bool {
        let of_record = |(path, _): &(&String, &String)| !is_report(path);
        let same =
            |other: &&Self| self.0.iter().filter(of_record).eq(other.0.iter().filter(of_record));
        let mut reports = self.0.iter().filter(|(path, _)| is_report(path));
        let known = |(path, text): (&String, &String)| {
            allowed.iter().any(|other| other.0.get(path) == Some(text))
        };
        allowed.iter().any(same) && reports.all(known)
    }

    /// The paths that differ from another snapshot, and how.
    pub(super) fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        let paths = self.0.keys().chain(other.0.keys().filter(|path| !self.0.contains_key(*path)));
        for path in paths {
            let (is, was) = (self.0.get(path), other.0.get(path));
            if is != was {
                let show = |entry: Option<&String>| entry.map_or("(none)".into(), Clone::clone);
                // Writing to a string cannot fail.
                let _ = writeln!(text, "      {path}: {} instead of {}", show(is), show(was));
            }
        }
        text
    }
}

fn is_report(path: &str) -> bool {
    path.starts_with("generations/") && path.ends_with("/etc.json")
}

/// Directories outside of uppers come and go with what is in them; inside, they are content.
fn walk(directory: &Path, relative: &str, found: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if is_unpublished(&entry.file_name()) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if relative.is_empty() { name } else { format!("{relative}/{name}") };
        // The lock's content is for people; a store without its reserve is whole.
        if path == "lock" || path == "reserve" {
            continue;
        }
        let metadata = fs::symlink_metadata(entry.path())?;
        let content = if metadata.is_file() { fs::read(entry.path())? } else { Vec::new() };
        let content = if path == "log" { lines_of(&content) } else { content };
        // Without a whole line it tells what a missing one does.
        if path == "log" && content.is_empty() {
            continue;
        }
        let in_upper = path.split('/').skip(1).any(|part| part == "upper");
        if in_upper || !metadata.is_dir() {
            found.insert(path.clone(), describe(&entry.path(), &metadata, &content)?);
        }
        if metadata.is_dir() {
            walk(&entry.path(), &path, found)?;
        }
    }
    Ok(())
}

fn lines_of(log: &[u8]) -> Vec<u8> {
    whole_lines(log).flat_map(|line| [line, b"\n".as_slice()].concat()).collect()
}

fn describe(path: &Path, metadata: &fs::Metadata, bytes: &[u8]) -> io::Result<String> {
    let mut text = format!("{:o} {}:{} ", metadata.mode(), metadata.uid(), metadata.gid());
    if metadata.is_file() {
        match std::str::from_utf8(bytes) {
            Ok(content) if bytes.len() <= SHOWN => text.push_str(&format!("{content:?}")),
            _ => {
                let _ = write!(text, "{} bytes ", bytes.len());
                for byte in Sha256::digest(bytes) {
                    let _ = write!(text, "{byte:02x}");
                }
            }
        }
    } else if metadata.is_symlink() {
        text.push_str(&fs::read_link(path)?.to_string_lossy());
    } else {
        let _ = write!(text, "{:x}", metadata.rdev());
    }
    let mut names = vec![0; 4096];
    let length = llistxattr(path, &mut names)?;
    names.truncate(length);
    let mut names: Vec<&[u8]> =
        names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    for name in names {
        let mut value = vec![0; 4096];
        let length = lgetxattr(path, name, &mut value)?;
        value.truncate(length);
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let _ = write!(text, " {}={}", show(name), show(&value));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(entries: &[(&str, &str)]) -> Snapshot {
        Snapshot(
            entries.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
        )
    }

    #[test]
    fn a_report_may_be_there_before_its_etc() {
        let old = snapshot(&[("boot/ran", "1")]);
        let new = snapshot(&[("boot/ran", "2"), ("generations/2/etc.json", "{}")]);
        let between = snapshot(&[("boot/ran", "1"), ("generations/2/etc.json", "{}")]);
        let torn = snapshot(&[("boot/ran", "2"), ("generations/2/etc.json", "{")]);
        let lost = snapshot(&[("generations/2/etc.json", "{}")]);
        for (state, among) in
            [(&old, true), (&new, true), (&between, true), (&torn, false), (&lost, false)]
        {
            assert_eq!(state.is_among(&[&old, &new]), among, "{state:?}");
        }
        assert!(!old.is_among(&[&new]), "what was promised is gone");
        assert!(!new.is_among(&[&old]), "what was not asked for yet is there");
        assert!(new.difference(&old).contains("boot/ran: 2 instead of 1"));
    }

    #[test]
    fn what_is_not_published_is_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert_eq!(Snapshot::of(&layout).unwrap(), Snapshot::default());
        for path in ["boot/.tmp-default", "upper/etc/1/upper/a", "upper/etc/1/work/x", "lock"] {
            let path = layout.top().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        fs::write(layout.log(), [vec![b'x'; 299], vec![b'\n']].concat()).unwrap();
        let found = Snapshot::of(&layout).unwrap();
        let paths: Vec<_> = found.0.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            ["log", "upper/etc/1/upper", "upper/etc/1/upper/a", "upper/etc/1/work/x"]
        );
        assert!(found.0["upper/etc/1/upper/a"].contains("\"text\""));
        assert!(found.0["log"].contains("300 bytes"));
    }

    #[test]
    fn a_log_has_the_lines_that_came_to_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        fs::create_dir(layout.top()).unwrap();
        let of = |text: &str| {
            fs::write(layout.log(), text).unwrap();
            Snapshot::of(&layout).unwrap()
        };
        assert_eq!(of(""), Snapshot::default());
        assert_eq!(of("\0\0\0"), Snapshot::default());
        assert_ne!(of("a line\n"), Snapshot::default());
        assert_eq!(of("a line\n\0\0"), of("a line\n"));
        assert_ne!(of("a line\nanother\n"), of("a line\n"));
    }
}
