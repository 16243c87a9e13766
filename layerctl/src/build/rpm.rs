//! Headers of packages as `rpmdb --exportdb` writes them, one after another. Pure.
//!
//! Each: magic `8eade801`, four zero bytes, the number of index entries and of data bytes (big-endian, 32 bits each), the
//! entries (tag, type, offset, count; 16 bytes), the data (RPM's "Package format", Header format).

use std::collections::{BTreeMap, BTreeSet};

const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const BUILD_TIME: u32 = 1006;
const ARCHITECTURE: u32 = 1022;

/// When a package was installed, and in which transaction: outside of what its digests cover.
const OF_INSTALLATION: [u32; 2] = [1008, 1128];

/// A header with what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    /// `NAME-VERSION-RELEASE.ARCHITECTURE`, as RPM calls it.
    title: String,
    /// `NAME [EPOCH:]VERSION-RELEASE ARCHITECTURE`, as manifests list packages.
    pub(crate) package: String,
    bytes: &'a [u8],
    /// Where the times of its installation are in it.
    times: Vec<usize>,
    /// When the package was built, as it is written.
    built: [u8; 4],
}

impl Header<'_> {
    /// The header, as if the package had been installed when it was built: the same each time.
    fn settled(&self) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        for &at in &self.times {
            if let Some(time) = bytes.get_mut(at..at + 4) {
                time.copy_from_slice(&self.built);
            }
        }
        bytes
    }
}

/// The headers of a stream; `None` where it is cut off or something else.
pub(crate) fn headers(mut stream: &[u8]) -> Option<Vec<Header<'_>>> {
    let mut found = Vec::new();
    while !stream.is_empty() {
        let number = |at: usize| -> Option<u32> {
            Some(u32::from_be_bytes(stream.get(at..at + 4)?.try_into().ok()?))
        };
        if stream.get(..8)? != MAGIC {
            return None;
        }
        let (entries, data) = (number(8)? as usize, number(12)? as usize);
        let index = 16_usize.checked_add(entries.checked_mul(16)?)?;
        let length = index.checked_add(data)?;
        let bytes = stream.get(..length)?;
        let place = |tag: u32| -> Option<usize> {
            let entry =
                (0..entries).map(|place| 16 + place * 16).find(|&at| number(at) == Some(tag));
            index.checked_add(number(entry? + 8)? as usize)
        };
        let text = |tag: u32| -> Option<String> {
            let start = place(tag)?;
            let value = bytes.get(start..)?.split(|&byte| byte == 0).next()?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let (name, version, release) = (text(NAME)?, text(VERSION)?, text(RELEASE)?);
        let architecture = text(ARCHITECTURE).unwrap_or_else(|| "(none)".to_owned());
        let epoch = place(EPOCH).and_then(number).map(|epoch| format!("{epoch}:"));
        let epoch = epoch.unwrap_or_default();
        found.push(Header {
            package: format!("{name} {epoch}{version}-{release} {architecture}"),
            title: format!("{name}-{version}-{release}.{architecture}"),
            bytes,
            times: OF_INSTALLATION.into_iter().filter_map(place).collect(),
            built: place(BUILD_TIME).and_then(number).unwrap_or_default().to_be_bytes(),
        });
        stream = stream.get(length..)?;
    }
    Some(found)
}

/// The headers of `after` that `before` has not, as a stream, in the order of their titles.
pub(super) fn added(before: &[Header<'_>], after: &[Header<'_>]) -> Vec<u8> {
    let old: BTreeSet<&str> = before.iter().map(|header| header.title.as_str()).collect();
    let new = after.iter().filter(|header| !old.contains(header.title.as_str()));
    let new: BTreeMap<&str, Vec<u8>> = new.map(|it| (it.title.as_str(), it.settled())).collect();
    new.into_values().flatten().collect()
}

/// The titles of `before` that `after` has not, one a line.
pub(super) fn removed(before: &[Header<'_>], after: &[Header<'_>]) -> Vec<u8> {
    let left: BTreeSet<&str> = after.iter().map(|header| header.title.as_str()).collect();
    let gone = before.iter().map(|it| it.title.as_str()).filter(|title| !left.contains(title));
    gone.map(|title| format!("{title}\n")).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str) -> Vec<u8> {
        let mut data = Vec::new();
        let mut index = Vec::new();
        for (tag, text) in [(NAME, name), (VERSION, "1"), (RELEASE, "2"), (ARCHITECTURE, "noarch")]
        {
            for number in [tag, 6, u32::try_from(data.len()).unwrap(), 1] {
                index.extend(number.to_be_bytes());
            }
            data.extend(text.as_bytes());
            data.push(0);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend(4_u32.to_be_bytes());
        bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(index);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn a_stream_is_taken_apart() {
        let (a, b) = (header("a"), header("b"));
        let stream = [b.clone(), a.clone()].concat();
        let after = headers(&stream).unwrap();
        assert_eq!(after[0].title, "b-1-2.noarch");
        assert_eq!(after[0].package, "b 1-2 noarch");
        let before = headers(&b).unwrap();
        assert_eq!(added(&before, &after), a);
        assert_eq!(added(&[], &after), [a, b.clone()].concat());
        assert_eq!(removed(&after, &before), b"a-1-2.noarch\n");
        for length in 1..stream.len() {
            assert!(length == b.len() || headers(&stream[..length]).is_none(), "{length}");
        }
    }
}
