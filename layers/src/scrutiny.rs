//! What is looked at before layers are taken, and what follows when something is found: the table `[install]` of the
//! configuration.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How a line begins that tells what was found and is no reason to refuse.
pub const WARNING: &str = "warning: ";

/// Something that may be wrong with layers, alone or together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// A layer is for another system than its base is.
    Systems,
    /// A layer needs shared libraries, or a newer C library, that nothing brings.
    Libraries,
    /// Two layers bring different files of one path.
    Conflicts,
    /// A file takes the place of a directory, or a directory that of a file.
    Kinds,
    /// A layer hides files of the base that its packages do not replace.
    Shadowing,
    /// A layer brings an os-release of its own.
    Identity,
    /// A layer brings device nodes.
    Devices,
    /// A layer brings programs that run as their owner or group.
    Setuid,
    /// A layer brings programs with file capabilities.
    Capabilities,
    /// A layer gives a directory another mode or owner.
    Directories,
    /// A layer brings files in /var, where the system writes.
    Var,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Systems,
        Self::Libraries,
        Self::Conflicts,
        Self::Kinds,
        Self::Shadowing,
        Self::Identity,
        Self::Devices,
        Self::Setuid,
        Self::Capabilities,
        Self::Directories,
        Self::Var,
    ];

    /// Its key in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Systems => "systems",
            Self::Libraries => "libraries",
            Self::Conflicts => "conflicts",
            Self::Kinds => "kinds",
            Self::Shadowing => "shadowing",
            Self::Identity => "identity",
            Self::Devices => "devices",
            Self::Setuid => "setuid",
            Self::Capabilities => "capabilities",
            Self::Directories => "directories",
            Self::Var => "var",
        }
    }

    /// What follows where the configuration does not say.
    const fn usual(self) -> Reaction {
        match self {
            Self::Systems | Self::Libraries | Self::Conflicts => Reaction::Refuse,
            Self::Kinds | Self::Identity | Self::Devices => Reaction::Refuse,
            Self::Setuid | Self::Capabilities | Self::Directories => Reaction::Warn,
            Self::Shadowing | Self::Var => Reaction::Allow,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What follows when something is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reaction {
    /// It is told where all is asked for.
    Allow,
    /// It is told.
    Warn,
    /// The change is not made.
    Refuse,
}

/// What follows from each check; the usual where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstallPolicy(BTreeMap<Check, Reaction>);

impl InstallPolicy {
    /// What follows when `check` finds something.
    pub fn reaction(&self, check: Check) -> Reaction {
        self.0.get(&check).copied().unwrap_or_else(|| check.usual())
    }

    /// The same, but that what `checks` find is told and no reason to refuse.
    pub fn allowing(&self, checks: &[Check]) -> Self {
        let mut policy = self.clone();
        for &check in checks {
            if policy.reaction(check) == Reaction::Refuse {
                policy.0.insert(check, Reaction::Warn);
            }
        }
        policy
    }

    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_key_of_its_name() {
        for check in Check::ALL {
            let text = format!("{check} = \"warn\"\n");
            let policy: InstallPolicy = toml::from_str(&text).unwrap();
            assert_eq!(policy.reaction(check), Reaction::Warn, "{check}");
            assert_eq!(toml::to_string(&policy).unwrap(), text);
        }
        let unknown = toml::from_str::<InstallPolicy>("set_uid = \"warn\"\n").unwrap_err();
        assert!(unknown.message().contains("expected one of `systems`"), "{unknown}");
    }

    #[test]
    fn the_document_lists_every_check_with_what_usually_follows() {
        let document = include_str!("../../docs/compatibility.md");
        for check in Check::ALL {
            let usual = toml::Value::try_from(check.usual()).unwrap();
            let row = format!("| `{check}` | {} |", usual.as_str().unwrap());
            assert!(document.contains(&row), "{row}");
        }
    }

    #[test]
    fn what_is_allowed_once_is_told_and_nothing_is_made_stricter() {
        let policy = InstallPolicy::default();
        let once = policy.allowing(&[Check::Conflicts, Check::Var]);
        assert_eq!(once.reaction(Check::Conflicts), Reaction::Warn);
        assert_eq!(once.reaction(Check::Var), Reaction::Allow);
        assert_eq!(once.reaction(Check::Devices), Reaction::Refuse);
    }
}
