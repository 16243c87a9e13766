//! Where Debian's packages come from: the mirror that this machine's own apt sources name.

use crate::files::{self, FileError};
use crate::tools;
use std::path::Path;

/// The release that the base is made of.
pub const RELEASE: &str = "trixie";

/// Names a Debian mirror on a machine whose own apt sources name none: `LAYERCTL_DEBIAN_MIRROR=URI`.
pub const MIRROR_VARIABLE: &str = "LAYERCTL_DEBIAN_MIRROR";

/// Names the mirror of Debian's security updates; without it the base is made without them.
pub const SECURITY_VARIABLE: &str = "LAYERCTL_DEBIAN_SECURITY_MIRROR";

/// Why no mirror is known.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// The machine is no Debian, or its sources could not be understood.
    #[error(
        "this machine's apt sources name no Debian mirror\n\
         type: export {MIRROR_VARIABLE}=URI (a mirror of Debian near you, up to and with /debian)"
    )]
    NoMirror,
    /// A file of sources could not be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The archives that the base's packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The URI of Debian's main archive.
    pub main: String,
    /// The URI of the security archive, where one is known.
    pub security: Option<String>,
}

impl Sources {
    /// Finds the archives in the text of apt's sources, of either format (sources.list(5)).
    ///
    /// `codename` is the machine's own release, by which its main archive is told from other repositories.
    pub fn parse(list: &str, deb822: &str, codename: &str) -> Option<Self> {
        let entries: Vec<_> = one_line_entries(list).chain(deb822_entries(deb822)).collect();
        let find = |suite: &str| {
            let found = entries.iter().find(|(_, suites)| suites.iter().any(|s| s == suite));
            found.map(|(uri, _)| uri.trim_end_matches('/').to_owned())
        };
        let security = find(&format!("{codename}-security"));
        Some(Self { main: find(codename)?, security })
    }

    /// The sources as lines of sources.list(5).
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("deb {} {RELEASE} main", self.main),
            format!("deb {} {RELEASE}-updates main", self.main),
        ];
        lines.extend(self.security.iter().map(|uri| format!("deb {uri} {RELEASE}-security main")));
        lines
    }

    /// Reads this machine's sources, or the environment variables where they are set.
    #[expect(clippy::disallowed_methods, reason = "the environment is the user's way to say it")]
    pub fn of_this_machine() -> Result<Self, SourcesError> {
        if let Ok(main) = std::env::var(MIRROR_VARIABLE) {
            return Ok(Self { main, security: std::env::var(SECURITY_VARIABLE).ok() });
        }
        let os_release = tools::os_release()?;
        let field = |key: &str| os_release.lines().find_map(|line| line.strip_prefix(key));
        let Some(codename) = field("VERSION_CODENAME=") else {
            return Err(SourcesError::NoMirror);
        };
        if field("ID=") != Some("debian") {
            return Err(SourcesError::NoMirror);
        }
        let (list, deb822) = source_texts(Path::new("/etc/apt"))?;
        Self::parse(&list, &deb822, codename).ok_or(SourcesError::NoMirror)
    }
}

fn source_texts(apt: &Path) -> Result<(String, String), FileError> {
    let (mut list, mut deb822) = (String::new(), String::new());
    let mut paths = vec![apt.join("sources.list")];
    if files::exists(&apt.join("sources.list.d")) {
        paths.extend(files::list(&apt.join("sources.list.d"))?);
    }
    for path in paths.into_iter().filter(|path| files::exists(path)) {
        let text = match path.extension().and_then(|e| e.to_str()) {
            Some("list") => &mut list,
            Some("sources") => &mut deb822,
            _ => continue,
        };
        text.push_str(&files::read_text(&path)?);
        text.push_str("\n\n");
    }
    Ok((list, deb822))
}

/// `deb [options] URI SUITE COMPONENT…`
fn one_line_entries(text: &str) -> impl Iterator<Item = (String, Vec<String>)> {
    text.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        Some((words.next()?.to_owned(), vec![words.next()?.to_owned()]))
    })
}

/// Stanzas with `URIs:` and `Suites:`; the first URI of a stanza stands for all.
fn deb822_entries(text: &str) -> impl Iterator<Item = (String, Vec<String>)> {
    text.split("\n\n").filter_map(|stanza| {
        let field = |key: &str| {
            let mut lines = stanza.lines().filter(|line| !line.starts_with('#'));
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
        };
        if field("Enabled").is_some_and(|value| value == "no") {
            return None;
        }
        let uri = field("URIs")?.split_whitespace().next()?.to_owned();
        Some((uri, field("Suites")?.split_whitespace().map(str::to_owned).collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_sources() {
        let text = "# deb http://old.example/debian bookworm main\n\
            deb http://other.example/repo stable main\n\
            deb [arch=amd64 signed-by=/k] http://m.example/debian/ bookworm main contrib\n\
            deb http://m.example/security bookworm-security main\n";
        assert_eq!(
            Sources::parse(text, "", "bookworm"),
            Some(Sources {
                main: "http://m.example/debian".into(),
                security: Some("http://m.example/security".into()),
            })
        );
    }

    #[test]
    fn deb822_sources() {
        let text = "Types: deb\n# note\nURIs: http://m.example/debian\nSuites: forky forky-updates\n\n\
            Types: deb\nEnabled: no\nURIs: http://s.example/\nSuites: forky-security\n";
        let sources = Sources::parse("", text, "forky").unwrap();
        assert_eq!(sources.main, "http://m.example/debian");
        assert_eq!(sources.security, None);
        assert_eq!(
            sources.lines(),
            [
                "deb http://m.example/debian trixie main",
                "deb http://m.example/debian trixie-updates main"
            ]
        );
    }

    #[test]
    fn a_foreign_repository_is_no_mirror() {
        assert_eq!(Sources::parse("deb http://o.example/x nodistro main", "", "bookworm"), None);
    }
}
