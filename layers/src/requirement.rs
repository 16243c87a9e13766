//! What a layer says about another one: `libfoo`, `libfoo >= 1.2`, `libfoo >= 1.2 < 2`.
//!
//! A name and any number of bounds, parted by spaces; all bounds must hold. Versions are in the order of UAPI.10, the
//! version format specification of the UAPI group.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{IdError, Name, Version};

/// Why a text is no requirement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequirementError {
    /// The name or a version is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Neither a comparison nor a version stands where one should.
    #[error(
        "{0:?} is no requirement: NAME, or NAME and bounds such as \">= 1.2 < 2\", is expected"
    )]
    Syntax(String),
}

/// How a version compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    Greater,
}

impl Comparison {
    const ALL: [Self; 5] = [Self::Less, Self::AtMost, Self::Equal, Self::AtLeast, Self::Greater];

    fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::Greater => ">",
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::AtLeast => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}

/// A layer's name, and which of its versions are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Requirement {
    /// The layer.
    pub name: Name,
    /// Bounds that its version keeps, all of them; any version without.
    pub bounds: Vec<(Comparison, Version)>,
}

impl Requirement {
    /// Whether a version keeps all bounds.
    pub fn admits(&self, version: &Version) -> bool {
        self.bounds.iter().all(|(comparison, bound)| comparison.holds(version.compare(bound)))
    }
}

impl From<Name> for Requirement {
    fn from(name: Name) -> Self {
        Self { name, bounds: Vec::new() }
    }
}

impl FromStr for Requirement {
    type Err = RequirementError;
    fn from_str(text: &str) -> Result<Self, RequirementError> {
        let error = || RequirementError::Syntax(text.to_owned());
        let mut words = text.split_ascii_whitespace();
        let name = words.next().ok_or_else(error)?.parse()?;
        let mut bounds = Vec::new();
        while let Some(sign) = words.next() {
            let comparison = Comparison::ALL.into_iter().find(|it| it.sign() == sign);
            let comparison = comparison.ok_or_else(error)?;
            bounds.push((comparison, words.next().ok_or_else(error)?.parse()?));
        }
        Ok(Self { name, bounds })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)?;
        self.bounds.iter().try_for_each(|(comparison, v)| write!(f, " {} {v}", comparison.sign()))
    }
}

impl TryFrom<String> for Requirement {
    type Error = RequirementError;
    fn try_from(text: String) -> Result<Self, RequirementError> {
        text.parse()
    }
}

impl From<Requirement> for String {
    fn from(requirement: Requirement) -> Self {
        requirement.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(requirement: &str, version: &str) -> bool {
        requirement.parse::<Requirement>().unwrap().admits(&version.parse().unwrap())
    }

    #[test]
    fn bounds_are_in_the_uapi_order() {
        assert!(admits("lib", "0"));
        assert!(admits("lib >= 1.9", "1.10"));
        assert!(!admits("lib >= 1.0", "1.0~rc1"));
        assert!(admits("lib >= 1.2 < 2", "1.99") && !admits("lib >= 1.2 < 2", "2"));
        assert!(admits("lib = 1.0", "1.0") && !admits("lib > 1.0", "1.0"));
        assert!(admits("lib <= 1.0", "1.0"));
    }

    #[test]
    fn text_goes_in_and_out() {
        for text in ["lib", "lib >= 1.2 < 2", "a+b.c = 1~rc1"] {
            assert_eq!(text.parse::<Requirement>().unwrap().to_string(), text);
        }
        for bad in ["", "lib >=", "lib 1.2", "lib >= 1:2", "li/b", "lib => 1", "lib >= 1 2"] {
            assert!(bad.parse::<Requirement>().is_err(), "{bad}");
        }
    }
}
