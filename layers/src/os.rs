//! Which operating system a base is, and which one a layer fits: os-release(5) and extension-release.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The `ID=` of an extension that fits every system (os-release(5), extension-release).
pub const ANY: &str = "_any";

/// A base's identity, from its os-release(5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Os {
    /// `ID=`
    pub id: String,
    /// `ID_LIKE=`, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub id_like: Vec<String>,
    /// `VERSION_ID=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// `SYSEXT_LEVEL=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysext_level: Option<String>,
    /// `BUILD_ID=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
}

/// The systems that a layer fits, from its extension-release; its architecture stands in the manifest's own key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fits {
    /// `ID=`, or [`ANY`].
    pub id: String,
    /// `VERSION_ID=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// `SYSEXT_LEVEL=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysext_level: Option<String>,
    /// The one build of the base that it fits, if it is bound to one: its `BUILD_ID=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// `SYSEXT_SCOPE=`; systemd's default without: `system` and `portable`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
}

/// What os-release(5) calls a system that does not say its `ID=`; systemd-sysext refuses to work on one.
const UNNAMED: &str = "linux";

/// The scope that this project's layers are used in; an extension that names no scope is for it too (systemd-sysext(8)).
const SCOPE: &str = "system";

/// The value of a field in the text of an os-release(5) or extension-release file: the last one where there are
/// several, without its quotes; none where it is empty or missing.
pub fn field(text: &str, key: &str) -> Option<String> {
    let mut assignments = text.lines().filter_map(|line| line.trim().split_once('='));
    let (_, value) = assignments.rfind(|(name, _)| *name == key)?;
    Some(unquoted(value)).filter(|value| !value.is_empty())
}

/// Takes quotes and backslashes away as a shell does.
fn unquoted(value: &str) -> String {
    let mut text = String::new();
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (end, Some(open)) if end == open => quote = None,
            ('\\', None | Some('"')) => text.extend(characters.next()),
            (other, _) => text.push(other),
        }
    }
    text
}

fn words(text: &str, key: &str) -> Vec<String> {
    field(text, key).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

impl Os {
    /// Reads the text of an os-release(5).
    pub fn parse(text: &str) -> Self {
        Self {
            id: field(text, "ID").unwrap_or_else(|| UNNAMED.to_owned()),
            id_like: words(text, "ID_LIKE"),
            version_id: field(text, "VERSION_ID"),
            sysext_level: field(text, "SYSEXT_LEVEL"),
            build_id: field(text, "BUILD_ID"),
        }
    }
}

/// Why a layer does not fit a base, as the end of a sentence that begins with the layer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misfit {
    /// `SYSEXT_SCOPE=` leaves a running system out.
    #[error("is for {}, not for a running system (SYSEXT_SCOPE)", .0.join(" and "))]
    Scope(Vec<String>),
    /// There is no `ID=`.
    #[error("has an extension-release without ID, so it fits no system")]
    Nameless,
    /// Another distribution.
    #[error("is for {layer}, the base is {base}")]
    Id {
        /// The layer's `ID=`.
        layer: String,
        /// The base's `ID=` and `ID_LIKE=`.
        base: String,
    },
    /// Another level of the distribution's promise to extensions.
    #[error("is for extension level {layer}, the base has {base} (SYSEXT_LEVEL)")]
    Level {
        /// The layer's.
        layer: String,
        /// The base's.
        base: String,
    },
    /// The base has a version, the layer names none.
    #[error("names no VERSION_ID, and the base is {0}")]
    Versionless(System),
    /// Another version of the distribution.
    #[error("is for {layer}, the base is {base}")]
    Version {
        /// What the layer is for.
        layer: System,
        /// What the base is.
        base: System,
    },
    /// Another build of the same version.
    #[error("is for build {layer} alone, the base is {}", .base.as_deref().map_or_else(|| "a build without BUILD_ID".to_owned(), |base| format!("build {base}")))]
    Build {
        /// The layer's.
        layer: String,
        /// The base's, if it has one.
        base: Option<String>,
    },
}

/// A distribution and its version, for people: `debian 13`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// `ID=`
    pub id: String,
    /// `VERSION_ID=`
    pub version: String,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.version)
    }
}

impl Fits {
    /// Reads the text of an extension-release, all but its `ARCHITECTURE=`.
    pub fn parse(text: &str) -> Self {
        Self {
            id: field(text, "ID").unwrap_or_default(),
            version_id: field(text, "VERSION_ID"),
            sysext_level: field(text, "SYSEXT_LEVEL"),
            build_id: field(text, "BUILD_ID"),
            scope: words(text, "SYSEXT_SCOPE"),
        }
    }

    /// Whether a base is one that the layer fits: scope, `ID`, then `SYSEXT_LEVEL` where both have one, else
    /// `VERSION_ID` where the base has one, in the order and with the outcome of systemd 257
    /// (`extension_release_validate`); at last the build, which systemd does not know.
    ///
    /// The architecture stands in the manifests.
    pub fn check(&self, base: &Os) -> Result<(), Misfit> {
        if !self.scope.is_empty() && !self.scope.iter().any(|scope| scope == SCOPE) {
            return Err(Misfit::Scope(self.scope.clone()));
        }
        if self.id.is_empty() {
            return Err(Misfit::Nameless);
        }
        if self.id != ANY {
            self.check_id(base)?;
            self.check_version(base)?;
        }
        match &self.build_id {
            Some(layer) if base.build_id.as_ref() != Some(layer) => {
                Err(Misfit::Build { layer: layer.clone(), base: base.build_id.clone() })
            }
            _ => Ok(()),
        }
    }

    fn check_id(&self, base: &Os) -> Result<(), Misfit> {
        if self.id == base.id || base.id_like.contains(&self.id) {
            return Ok(());
        }
        let mut known = base.id.clone();
        if !base.id_like.is_empty() {
            known += &format!(" (like {})", base.id_like.join(" and "));
        }
        Err(Misfit::Id { layer: self.id.clone(), base: known })
    }

    fn check_version(&self, base: &Os) -> Result<(), Misfit> {
        if let (Some(layer), Some(base)) = (&self.sysext_level, &base.sysext_level) {
            let (layer, base) = (layer.clone(), base.clone());
            return if layer == base { Ok(()) } else { Err(Misfit::Level { layer, base }) };
        }
        // Rolling systems have no version.
        let Some(version) = &base.version_id else {
            return Ok(());
        };
        let system =
            |id: &String, version: &String| System { id: id.clone(), version: version.clone() };
        let base = system(&base.id, version);
        match &self.version_id {
            None => Err(Misfit::Versionless(base)),
            Some(own) if own != version => {
                Err(Misfit::Version { layer: system(&self.id, own), base })
            }
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_a_shell_reads_them() {
        let text = "# x\nID=debian\nNAME=\"A \\\"b\\\" $c\"\nONE='a\\b'\n  ID_LIKE=\"x  y\"\nID=last\nEMPTY=\nE2=\"\"\nplain";
        let cases = [
            ("ID", Some("last")),
            ("NAME", Some("A \"b\" $c")),
            ("ONE", Some("a\\b")),
            ("EMPTY", None),
            ("E2", None),
            ("plain", None),
            ("VERSION_ID", None),
        ];
        for (key, value) in cases {
            assert_eq!(field(text, key).as_deref(), value, "{key}");
        }
        assert_eq!(Os::parse(text).id_like, ["x", "y"]);
        assert_eq!(Os::parse("").id, "linux");
    }

    /// Base, layer, and the reason why they do not go together. `|` stands for the end of a line.
    const CASES: [(&str, &str, &str); 24] = [
        ("ID=debian|VERSION_ID=13", "ID=debian|VERSION_ID=13", ""),
        ("ID=debian|VERSION_ID=13", "ID=_any", ""),
        ("ID=debian|VERSION_ID=13", "ID=_any|VERSION_ID=9|SYSEXT_LEVEL=4", ""),
        ("", "ID=_any", ""),
        (
            "ID=debian|VERSION_ID=13",
            "VERSION_ID=13",
            "has an extension-release without ID, so it fits no system",
        ),
        (
            "ID=debian|VERSION_ID=13",
            "",
            "has an extension-release without ID, so it fits no system",
        ),
        ("ID=debian|VERSION_ID=13", "ID=fedora|VERSION_ID=13", "is for fedora, the base is debian"),
        (
            "ID=debian|VERSION_ID=13",
            "ID=debian|VERSION_ID=12",
            "is for debian 12, the base is debian 13",
        ),
        ("ID=debian|VERSION_ID=13", "ID=debian", "names no VERSION_ID, and the base is debian 13"),
        ("ID=ubuntu|ID_LIKE=debian|VERSION_ID=13", "ID=debian|VERSION_ID=13", ""),
        (
            "ID=ubuntu|ID_LIKE=debian|VERSION_ID=24.04",
            "ID=debian|VERSION_ID=13",
            "is for debian 13, the base is ubuntu 24.04",
        ),
        ("ID=rocky|ID_LIKE=\"rhel centos fedora\"|VERSION_ID=9", "ID=fedora|VERSION_ID=9", ""),
        (
            "ID=rocky|ID_LIKE=\"rhel centos\"|VERSION_ID=9",
            "ID=arch",
            "is for arch, the base is rocky (like rhel and centos)",
        ),
        ("ID=debian", "ID=debian|VERSION_ID=13", ""),
        ("ID=arch", "ID=arch|SYSEXT_LEVEL=1", ""),
        ("ID=flatcar|VERSION_ID=1|SYSEXT_LEVEL=1.0", "ID=flatcar|SYSEXT_LEVEL=1.0", ""),
        (
            "ID=flatcar|VERSION_ID=1|SYSEXT_LEVEL=1.0",
            "ID=flatcar|VERSION_ID=2|SYSEXT_LEVEL=1.0",
            "",
        ),
        (
            "ID=flatcar|VERSION_ID=1|SYSEXT_LEVEL=1.0",
            "ID=flatcar|VERSION_ID=1|SYSEXT_LEVEL=2.0",
            "is for extension level 2.0, the base has 1.0 (SYSEXT_LEVEL)",
        ),
        ("ID=flatcar|VERSION_ID=1|SYSEXT_LEVEL=1.0", "ID=flatcar|VERSION_ID=1", ""),
        ("ID=flatcar|SYSEXT_LEVEL=1.0", "ID=flatcar", ""),
        (
            "ID=debian|VERSION_ID=13",
            "ID=debian|VERSION_ID=13|SYSEXT_SCOPE=\"initrd portable\"",
            "is for initrd and portable, not for a running system (SYSEXT_SCOPE)",
        ),
        ("ID=debian|VERSION_ID=13", "ID=debian|VERSION_ID=13|SYSEXT_SCOPE=\"initrd system\"", ""),
        (
            "ID=debian|VERSION_ID=13|BUILD_ID=7",
            "ID=_any|BUILD_ID=6",
            "is for build 6 alone, the base is build 7",
        ),
        (
            "ID=debian|VERSION_ID=13",
            "ID=debian|VERSION_ID=13|BUILD_ID=6",
            "is for build 6 alone, the base is a build without BUILD_ID",
        ),
    ];

    #[test]
    fn a_layer_fits_where_systemd_would_merge_it() {
        for (base, layer, reason) in CASES {
            let lines = |text: &str| text.replace('|', "\n");
            let answer = Fits::parse(&lines(layer)).check(&Os::parse(&lines(base)));
            let why = answer.err().map(|misfit| misfit.to_string()).unwrap_or_default();
            assert_eq!(why, reason, "{layer} on {base}");
        }
    }
}
