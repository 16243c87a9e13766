//! The images that an upper lay over: the record `lowers` beside it, one image a line, topmost first.
//!
//! ```text
//! 41aa….  usr
//! c07e….  etc home usr var
//! ```
//!
//! A boot compares it with the images that it mounts: where they differ, what the upper says of the old ones has to be
//! brought in line with the new ones.

use std::fmt;
use std::str::FromStr;

use crate::id::Digest;

/// One image and the top-level directories that it has something in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LowerImage {
    /// SHA-256 of the image.
    pub digest: Digest,
    /// Its top-level directories that are not empty.
    pub dirs: Vec<String>,
}

/// The images of a boot, topmost first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LowerImages(pub Vec<LowerImage>);

impl LowerImage {
    /// Whether the image has something in the top-level directory `dir`.
    pub fn has(&self, dir: &str) -> bool {
        self.dirs.iter().any(|name| name == dir)
    }
}

impl LowerImages {
    /// Whether `digest` is among them.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.0.iter().any(|image| image.digest == *digest)
    }

    /// Those that have something in the top-level directory `dir`.
    pub fn with(&self, dir: &str) -> impl Iterator<Item = &LowerImage> {
        self.0.iter().filter(move |image| image.has(dir))
    }
}

/// A text that is no such record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {0} names no image")]
pub struct LowersError(usize);

impl FromStr for LowerImages {
    type Err = LowersError;
    fn from_str(text: &str) -> Result<Self, LowersError> {
        let image = |(index, line): (usize, &str)| {
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            let digest = words.next().and_then(|word| word.parse().ok());
            let digest = digest.ok_or(LowersError(index + 1))?;
            Ok(LowerImage { digest, dirs: words.map(str::to_owned).collect() })
        };
        text.lines().enumerate().map(image).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for LowerImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|image| {
            write!(f, "{}", image.digest)?;
            // A directory whose name has a space in it is none that an upper stands over.
            let plain = image.dirs.iter().filter(|dir| !dir.contains(char::is_whitespace));
            plain.into_iter().try_for_each(|dir| write!(f, " {dir}"))?;
            writeln!(f)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> LowerImages {
        let image = |byte, dirs: &[&str]| LowerImage {
            digest: Digest::new([byte; 32]),
            dirs: dirs.iter().map(|dir| (*dir).to_owned()).collect(),
        };
        LowerImages(vec![image(1, &["usr"]), image(2, &["etc", "home", "usr"])])
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        assert_eq!(images().to_string().parse(), Ok(images()));
        assert_eq!("".parse(), Ok(LowerImages::default()));
        assert_eq!("x\n".parse::<LowerImages>(), Err(LowersError(1)));
    }

    #[test]
    fn images_are_found_by_what_they_have() {
        let with = |dir| images().with(dir).map(|image| image.digest).collect::<Vec<_>>();
        assert_eq!(with("etc"), [Digest::new([2; 32])]);
        assert_eq!(with("usr").len(), 2);
        assert!(images().contains(&Digest::new([1; 32])));
    }
}
