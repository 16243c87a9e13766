//! Where a file or a repository is: an `http://` or `https://` URL, or a path; `file://` URLs are paths.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;
use ureq::http::Uri;

/// Why a text is no location.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no URL that layerctl can use: {why}")]
pub(crate) struct LocationError {
    /// As typed or read.
    text: String,
    /// What is wrong with it.
    why: &'static str,
}

/// A place that files are got from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// On a server.
    Url(Url),
    /// In a file system that is mounted here.
    Path(PathBuf),
}

/// An `http://` or `https://` URL without user name and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether it is `https`.
    secure: bool,
    /// Host, and port if one is named.
    authority: String,
    /// From the slash behind the host on, encoded, with the query if there is one.
    path: String,
}

/// Whether an argument is meant as a URL and not as a path or a name.
pub(crate) fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Whether a path may follow a repository's own place: relative, below it, of plain parts and without control characters.
pub(crate) fn is_inside(file: &str) -> bool {
    let plain = |part| matches!(part, Component::Normal(_));
    !file.is_empty()
        && !file.chars().any(char::is_control)
        && !file.starts_with('/')
        && !file.ends_with('/')
        && Path::new(file).components().all(plain)
        // Path takes these away; a server may not.
        && !file.split('/').any(|part| matches!(part, "" | "." | ".."))
}

impl Location {
    /// The file `file` in this place, which is a directory; see [`is_inside`].
    pub(crate) fn join(&self, file: &str) -> Self {
        match self {
            Self::Path(path) => Self::Path(path.join(file)),
            Self::Url(url) => Self::Url(url.join(file)),
        }
    }

    /// The last part of its path, decoded as far as it is text: a file's name.
    pub(crate) fn file_name(&self) -> Option<String> {
        match self {
            Self::Path(path) => Some(path.file_name()?.to_str()?.to_owned()),
            Self::Url(url) => {
                let path = url.path.split('?').next().unwrap_or_default();
                let name = decode(path.rsplit('/').next().unwrap_or_default())?;
                is_inside(&name).then_some(name).filter(|name| !name.contains('/'))
            }
        }
    }

    /// The same place with an ending more: of an image's block index.
    pub(crate) fn beside(&self, ending: &str) -> Self {
        match self {
            Self::Path(path) => {
                let mut path = path.clone().into_os_string();
                path.push(ending);
                Self::Path(path.into())
            }
            Self::Url(url) => {
                let path = url.path.split('?').next().unwrap_or_default();
                Self::Url(Url { path: format!("{path}{ending}"), ..url.clone() })
            }
        }
    }

    /// The same place with another ending: of an image's manifest.
    pub(crate) fn with_ending(&self, ending: &str) -> Self {
        match self {
            Self::Path(path) => Self::Path(path.with_extension(ending)),
            Self::Url(url) => {
                let path = url.path.split('?').next().unwrap_or_default();
                let (before, name) = path.rsplit_once('/').unwrap_or(("", path));
                let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                Self::Url(Url { path: format!("{before}/{stem}.{ending}"), ..url.clone() })
            }
        }
    }
}

impl Url {
    /// Whether it is `https`.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host without its port, in brackets if it is an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.authority,
        }
    }

    /// Scheme and host: what stands before the path.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }

    /// Where an answer's `Location:` leads to (RFC 9110, 10.2.2), from this URL on.
    pub(crate) fn redirected(&self, to: &str) -> Result<Self, LocationError> {
        let absolute = if is_url(to) {
            to.to_owned()
        } else if let Some(other) = to.strip_prefix("//") {
            format!("{}://{other}", if self.secure { "https" } else { "http" })
        } else if to.starts_with('/') {
            format!("{}{to}", self.origin())
        } else {
            let path = self.path.split('?').next().unwrap_or_default();
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{}{directory}/{to}", self.origin())
        };
        match absolute.parse()? {
            Location::Url(url) => Ok(url),
            Location::Path(_) => {
                Err(LocationError { text: to.to_owned(), why: "a server may not name a file here" })
            }
        }
    }

    fn join(&self, file: &str) -> Self {
        let directory = self.path.split('?').next().unwrap_or_default().trim_end_matches('/');
        Self { path: format!("{directory}/{}", encode(file)), ..self.clone() }
    }
}

impl FromStr for Location {
    type Err = LocationError;
    fn from_str(text: &str) -> Result<Self, LocationError> {
        let wrong = |why| LocationError { text: text.to_owned(), why };
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(wrong("it is empty or has control characters"));
        }
        if !is_url(text) {
            return Ok(Self::Path(text.into()));
        }
        if let Some(rest) = text.strip_prefix("file://") {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(wrong("a file URL names no other machine: file:///PATH"));
            }
            return decode(path)
                .map(|path| Self::Path(path.into()))
                .ok_or_else(|| wrong("it is not UTF-8"));
        }
        let text = text.split('#').next().unwrap_or_default();
        let uri: Uri = text.parse().map_err(|_| wrong("it has characters that must be encoded"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("http://, https:// or file:// is expected")),
        };
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if authority.contains('@') {
            return Err(wrong(
                "names and passwords do not belong in it: they would be in every log",
            ));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(wrong("it names no host"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self::Url(Url { secure, authority: authority.to_owned(), path }))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// Percent-encodes all that RFC 3986 does not call unreserved, but slashes.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Takes percent-encoding away; none where that leaves no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?].map(|digit| char::from(digit).to_digit(16));
        let [Some(high), Some(low)] = digits else { return None };
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn location(text: &str) -> Location {
        text.parse().unwrap()
    }

    #[test]
    fn urls_and_paths_are_told_apart() {
        assert_eq!(location("/srv/layers"), Location::Path("/srv/layers".into()));
        assert_eq!(location("file:///srv/a%20b"), Location::Path("/srv/a b".into()));
        assert_eq!(location("https://example.org").to_string(), "https://example.org/");
        for bad in [
            "",
            "ftp://example.org/",
            "http://",
            "https://u:p@example.org/",
            "file://host/x",
            "http://a b/",
        ] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_joined_below_its_repository() {
        let base = location("https://example.org/layers?x=1");
        assert_eq!(base.join("a/b c.img").to_string(), "https://example.org/layers/a/b%20c.img");
        assert_eq!(location("/srv").join("a.img").to_string(), "/srv/a.img");
        for bad in ["", "/a", "../a", "a/../b", "a//b", "./a", "a/", "a\nb"] {
            assert!(!is_inside(bad), "{bad}");
        }
        assert!(is_inside("a/b.img"));
    }

    #[test]
    fn a_manifest_lies_beside_its_image() {
        let image = location("http://h:8080/d/a_1.2.raw?token=x");
        assert_eq!(image.with_ending("toml").to_string(), "http://h:8080/d/a_1.2.toml");
        assert_eq!(image.beside(".blocks").to_string(), "http://h:8080/d/a_1.2.raw.blocks");
        assert_eq!(
            location("/d/a.img").beside(".blocks"),
            Location::Path("/d/a.img.blocks".into())
        );
        assert_eq!(image.file_name().as_deref(), Some("a_1.2.raw"));
        assert_eq!(location("http://h/").file_name(), None);
        assert_eq!(location("http://h/a%2Fb").file_name(), None);
    }

    #[test]
    fn redirects_are_absolute_or_relative() {
        let Location::Url(from) = location("https://h/a/b?q") else { panic!() };
        let to = |text| from.redirected(text).unwrap().to_string();
        assert_eq!(to("c"), "https://h/a/c");
        assert_eq!(to("/c"), "https://h/c");
        assert_eq!(to("//o/c"), "https://o/c");
        assert_eq!(to("http://o/c"), "http://o/c");
        assert!(from.redirected("file:///etc/shadow").is_err());
        assert_eq!(from.host(), "h");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}", to in ".{0,40}") {
            if let Ok(location) = text.parse::<Location>() {
                let _ = (location.file_name(), location.with_ending("toml"), location.join(&to));
                if let Location::Url(url) = location {
                    prop_assert!(!url.host().is_empty());
                    let _ = url.redirected(&to);
                }
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(text in ".{0,40}") {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }
    }
}
