//! A directory for systemd-sysupdate(8) as a repository: its SHA256SUMS, in which file names tell what an image is.
//!
//! ```text
//! 9f86d081…  htop_3.4.1_x86-64.raw
//! ```
//!
//! Names are `NAME_VERSION_ARCHITECTURE.raw` or `NAME_VERSION.raw`, the form of UAPI.3 and of sysupdate.d(5). Whatever else is listed is no image
//! that can be installed: kernels, compressed images, signatures.

use layers::id::Digest;

use super::index::{Entry, Index};
use super::location::is_inside;

/// The list's file in a repository.
pub(crate) const FILE: &str = "SHA256SUMS";

/// Endings of images that are used as they are.
pub(crate) const ENDINGS: [&str; 5] = ["img", "raw", "squashfs", "sqfs", "erofs"];

/// Reads a list as sha256sum(1) writes it. Lines that name no image are counted as unusable.
pub(crate) fn parse(text: &str) -> Index {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let all = lines.clone().count();
    let entries: Vec<Entry> = lines.filter_map(entry).collect();
    let unusable = all - entries.len();
    Index::new(entries, unusable)
}

fn entry(line: &str) -> Option<Entry> {
    let (digest, file) = line.split_once(char::is_whitespace)?;
    // A star before the name: read as binary.
    let file = file.trim_start().trim_start_matches('*').trim_end();
    named(file, digest.to_ascii_lowercase().parse().ok()?)
}

/// The image that a file's name tells of.
pub(crate) fn named(file: &str, digest: Digest) -> Option<Entry> {
    let (stem, ending) = file.rsplit_once('.')?;
    if !ENDINGS.contains(&ending) || !is_inside(file) {
        return None;
    }
    let stem = stem.rsplit_once('/').map_or(stem, |(_, name)| name);
    let parts: Vec<&str> = stem.split('_').collect();
    let (name, version, architecture) = match parts.as_slice() {
        [name, version] => (name, version, None),
        [name, version, architecture] => (name, version, Some((*architecture).to_owned())),
        _ => return None,
    };
    Some(Entry {
        file: file.to_owned(),
        size: None,
        digest,
        name: name.parse().ok()?,
        version: version.parse().ok()?,
        kind: None,
        architecture,
        manifest: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_tell_what_an_image_is() {
        let sum = "ab".repeat(32);
        let text = format!(
            "{sum}  htop_3.4_x86-64.raw\n{sum} *tree_2.raw\n\n{sum}  vmlinuz\n{sum}  web_1_arm64.raw.xz\n{sum}  ../up_1.raw\nshort  a_1.raw\n"
        );
        let index = parse(&text);
        let titles: Vec<String> = index.entries.iter().map(Entry::title).collect();
        assert_eq!(titles, ["htop 3.4", "tree 2"]);
        assert_eq!(index.unusable, 4);
        assert_eq!(index.entries[0].architecture.as_deref(), Some("x86-64"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,200}", name in ".{0,40}") {
            let _ = parse(&text);
            for entry in parse(&format!("{}  {name}.raw", "ab".repeat(32))).entries {
                prop_assert!(is_inside(&entry.file));
            }
        }
    }
}
