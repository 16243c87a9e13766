//! What was asked for and is built on this machine: packages as layers, and changes to the base's own packages.
//!
//! ```text
//! packages htop: htop                              one layer, named htop, of these packages
//! packages web: nginx curl (inactive: the base has nginx 1.26.3-3, curl 8.14.1-2)
//! remove vim-tiny                                  a package of the base is taken away
//! replace htop 3.4.1-5 9f86d081…                   a package of the base is another version's, from the file of that digest
//! ```
//!
//! One line each, in the generation's `requests`. They are resolved again whenever the base changes.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::id::{Digest, IdError, Name};

/// Why a text is no request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IntentError {
    /// A name or digest in it is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// It does not begin as one does, or ends too early.
    #[error("{0:?} is not a request that this layerctl knows")]
    Unknown(String),
}

/// A request that is resolved on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// One layer made of packages by the base's package manager.
    Packages {
        /// The layer's name.
        layer: Name,
        /// The packages, as the package manager names them.
        packages: Vec<String>,
        /// Why there is no such layer at present: what the base has of itself.
        inactive: Option<String>,
    },
    /// A package of the base that is not to be seen.
    Remove {
        /// The package.
        package: String,
    },
    /// A package of the base in another version.
    Replace {
        /// The package.
        package: String,
        /// The version that takes its place, as the package manager writes it.
        version: String,
        /// SHA-256 of the package's file.
        file: Digest,
    },
}

impl Intent {
    /// The layer that it makes: of that name, or `override-PACKAGE`.
    pub fn layer(&self) -> Result<Name, IdError> {
        match self {
            Self::Packages { layer, .. } => Ok(layer.clone()),
            Self::Remove { package } | Self::Replace { package, .. } => {
                format!("override-{package}").parse()
            }
        }
    }

    /// The package's file that it needs, if it needs one.
    pub fn file(&self) -> Option<Digest> {
        match self {
            Self::Replace { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// The package of the base that is not to be seen as it is, if there is one.
    pub fn overrides(&self) -> Option<&str> {
        match self {
            Self::Remove { package } | Self::Replace { package, .. } => Some(package),
            Self::Packages { .. } => None,
        }
    }

    /// Whether it is a change to a package of the base.
    pub fn is_override(&self) -> bool {
        self.overrides().is_some()
    }
}

impl FromStr for Intent {
    type Err = IntentError;
    fn from_str(text: &str) -> Result<Self, IntentError> {
        let unknown = || IntentError::Unknown(text.to_owned());
        let (kind, rest) = text.split_once(' ').ok_or_else(unknown)?;
        let words: Vec<&str> = rest.split(' ').collect();
        match (kind, words.as_slice()) {
            ("packages", _) => {
                let (layer, rest) = rest.split_once(": ").ok_or_else(unknown)?;
                let (names, why) = match rest.split_once(" (inactive: ") {
                    Some((names, why)) => (names, Some(why.strip_suffix(')').ok_or_else(unknown)?)),
                    None => (rest, None),
                };
                let packages: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
                if packages.is_empty() {
                    return Err(unknown());
                }
                let inactive = why.map(str::to_owned);
                Ok(Self::Packages { layer: layer.parse()?, packages, inactive })
            }
            ("remove", [package]) => Ok(Self::Remove { package: (*package).to_owned() }),
            ("replace", [package, version, file]) => Ok(Self::Replace {
                package: (*package).to_owned(),
                version: (*version).to_owned(),
                file: file.parse()?,
            }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages { layer, packages, inactive } => {
                write!(f, "packages {layer}: {}", packages.join(" "))?;
                inactive.iter().try_for_each(|why| write!(f, " (inactive: {why})"))
            }
            Self::Remove { package } => write!(f, "remove {package}"),
            Self::Replace { package, version, file } => {
                write!(f, "replace {package} {version} {file}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_in_and_out() {
        let digest = "ab".repeat(32);
        for text in [
            "packages htop: htop",
            "packages web: nginx curl (inactive: the base has nginx 1.26.3-3)",
            "remove vim-tiny",
            &format!("replace htop 2:3.4.1-5 {digest}"),
        ] {
            assert_eq!(text.parse::<Intent>().unwrap().to_string(), text);
        }
        for bad in ["", "packages", "packages web:", "packages web: ", "remove", "remove a b"] {
            assert!(bad.parse::<Intent>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_override_has_a_layer_of_its_own() {
        let intent: Intent = "remove vim-tiny".parse().unwrap();
        assert_eq!(intent.layer().unwrap().as_str(), "override-vim-tiny");
        assert!(intent.is_override());
    }
}
