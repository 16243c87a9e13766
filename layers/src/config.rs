//! What the administrator wants of the next generations: the file `/etc/layerctl/layerctl.toml`.
//!
//! ```toml
//! [writable.etc]
//! mode = "persistent"      # or "frozen", "ephemeral"
//! scope = "generation"     # or "shared"
//! keep = ["/etc/machine-id", "/etc/ssh/ssh_host_*"]
//! audit = false            # or true: boots report changes of sudoers, pam.d and the like
//!
//! [writable.var]
//! bind = ["/var/lib/containers"]
//! owned = ["/var/lib/dpkg"]
//! keep = []
//! size = "25%"
//!
//! [writable.home]
//! mode = "ephemeral"
//!
//! [boot]
//! attempts = 3
//! partition = "/efi"       # or "none"
//! index = true             # or false: new generations are plain stacks of images
//!
//! [install]
//! conflicts = "refuse"     # or "warn", "allow"
//!
//! [sign]
//! key = "/etc/layerctl/machine.key"   # what this machine makes itself is signed with it
//! password-file = "/etc/layerctl/machine.password"
//!
//! [packages]
//! install = false          # or true: names that no repository has are packages
//! sources = "/etc/layerctl/sources.list"
//! cache = "/var/cache/layerctl"
//! ```
//!
//! A key that is left out has its default; a key that nobody knows is an error.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::attempts::Attempts;
use crate::policy::Policy;

pub use crate::scrutiny::InstallPolicy;

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What happens to writes, in the generations that are made from now on.
    pub writable: Policy,
    /// How generations are started.
    #[serde(skip_serializing_if = "Boot::is_default")]
    pub boot: Boot,
    /// What follows from what is found when layers are looked at.
    #[serde(skip_serializing_if = "InstallPolicy::is_default")]
    pub install: InstallPolicy,
    /// With what this machine signs what it makes.
    #[serde(skip_serializing_if = "Sign::is_default")]
    pub sign: Sign,
    /// How packages become layers.
    #[serde(skip_serializing_if = "Packages::is_default")]
    pub packages: Packages,
}

/// The table `[packages]`: how the base's package manager is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Packages {
    /// Whether `layerctl install` takes a name that no repository has for a package's.
    pub install: bool,
    /// Where packages come from: a file as the package manager has it, in place of the base's own.
    pub sources: Option<PathBuf>,
    /// Where lists and downloaded packages are kept.
    pub cache: Option<PathBuf>,
}

impl Packages {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The table `[sign]`: how trigger layers, layers of packages and packed bases are signed on the machine that makes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Sign {
    /// The secret key's file.
    pub key: Option<PathBuf>,
    /// The file whose first line is its password; whoever types the command is asked otherwise.
    pub password_file: Option<PathBuf>,
}

impl Sign {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The table `[boot]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Boot {
    /// How often a new generation is started before it is given up, unless it is marked good; 0 for without end. Where
    /// nothing is said, three times, if the base has the unit that marks boots good.
    pub attempts: Option<Attempts>,
    /// Where the boot partition is mounted that gets kernels and boot loader entries; `none` for none. Where nothing is
    /// said, the first of /boot, /efi and /boot/efi that is a FAT file system.
    pub partition: Option<PathBuf>,
    /// Whether new generations have indexes, which make a path cost the same however many layers there are. They have,
    /// where nothing is said.
    pub index: Option<bool>,
}

impl Boot {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a text is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ConfigError {
    /// The line, from 1 on.
    pub line: usize,
    /// The character in the line, from 1 on.
    pub column: usize,
    /// What is wrong there, in one line.
    pub message: String,
}

impl Config {
    /// Reads the file's text; an empty one means the defaults.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or(text);
            let line = before.rsplit('\n').next().unwrap_or_default();
            ConfigError {
                line: before.matches('\n').count() + 1,
                column: line.chars().count() + 1,
                message: error.message().lines().collect::<Vec<_>>().join("; "),
            }
        })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string_pretty(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Mode, Scope};
    use crate::scrutiny::{Check, Reaction};

    fn place(text: &str) -> (usize, usize, String) {
        let error = Config::parse(text).unwrap_err();
        (error.line, error.column, error.message)
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        for text in ["", "# nothing\n", "[writable]\n", "[writable.etc]\n[writable.home]\n"] {
            assert_eq!(Config::parse(text), Ok(Config::default()), "{text}");
        }
    }

    #[test]
    fn the_documents_show_the_defaults() {
        let document = include_str!("../../docs/writable.md");
        let (_, rest) = document.split_once("```toml\n").unwrap();
        let (text, _) = rest.split_once("```").unwrap();
        assert_eq!(Config::parse(text), Ok(Config::default()));
    }

    #[test]
    fn a_file_changes_what_it_names() {
        let text = "[writable.etc]\nscope = \"shared\"\n[writable.home]\nmode = \"ephemeral\"\n";
        let policy = Config::parse(text).unwrap().writable;
        assert_eq!(policy.etc.scope, Scope::Shared);
        assert_eq!(policy.home.mode, Mode::Ephemeral);
        assert_eq!(policy.var, Policy::default().var);
        let config = Config { writable: policy, ..Config::default() };
        assert_eq!(Config::parse(&config.to_string()), Ok(config));
    }

    #[test]
    fn attempts_are_a_small_number() {
        let attempts = |text: &str| Config::parse(text).map(|config| config.boot.attempts);
        assert_eq!(attempts("[boot]\nattempts = 7\n"), Ok(Some(Attempts(7))));
        assert_eq!(attempts("[boot]\n"), Ok(None));
        for bad in ["-1", "256", "\"3\""] {
            assert_eq!(place(&format!("[boot]\nattempts = {bad}\n")).0, 2, "{bad}");
        }
        let config = Config::parse("[boot]\nattempts = 0\npartition = \"/efi\"\n").unwrap();
        assert_eq!(Config::parse(&config.to_string()), Ok(config));
    }

    #[test]
    fn checks_are_taken_as_seriously_as_the_file_says() {
        let config =
            Config::parse("[install]\nconflicts = \"warn\"\nsetuid = \"refuse\"\n").unwrap();
        assert_eq!(config.install.reaction(Check::Conflicts), Reaction::Warn);
        assert_eq!(config.install.reaction(Check::Setuid), Reaction::Refuse);
        assert_eq!(Config::parse(&config.to_string()), Ok(config));
        assert_eq!(place("[install]\nconflict = \"warn\"\n").0, 2);
        assert_eq!(place("[install]\n\nvar = \"never\"\n").0, 3);
    }

    #[test]
    fn errors_name_their_line() {
        let (line, column, message) = place("# what /etc is\n[writable.etc]\n  mod = \"frozen\"\n");
        assert_eq!((line, column), (3, 3));
        assert!(message.starts_with("unknown field `mod`, expected one of `mode`"), "{message}");
        assert_eq!(place("[writable.opt]\n").0, 1);
        assert_eq!(place("\n\n[writable.etc]\nmode = \"forever\"\n").0, 4);
        assert_eq!(place("[writable.var]\nbind = [\n \"/etc/x\"\n]\n").0, 2);
        assert_eq!(place("[writable.var]\nsize = \"lots\"\n").0, 2);
        assert_eq!(place("[writable.var]\n\nsize = 12 12\n").0, 3);
    }
}
