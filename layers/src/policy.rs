//! What happens to writes under /etc, /var and /home: the policy that is frozen into a generation.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A writable directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dir {
    /// /etc: one upper for each generation.
    Etc,
    /// /var: one upper for all generations.
    Var,
    /// /home: one upper for all generations.
    Home,
}

impl Dir {
    /// All writable directories, in the order in which they are mounted.
    pub const ALL: [Self; 3] = [Self::Etc, Self::Var, Self::Home];

    /// The directory's name below the root.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etc => "etc",
            Self::Var => "var",
            Self::Home => "home",
        }
    }
}

impl fmt::Display for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where writes to a directory go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// To the upper on the state file system: they are there at the next boot.
    #[default]
    Persistent,
    /// To a tmpfs over the upper on the state file system, which is only read: every boot starts from it.
    Frozen,
    /// To a tmpfs over the images alone: gone at power-off.
    Ephemeral,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Persistent => "persistent",
            Self::Frozen => "frozen",
            Self::Ephemeral => "ephemeral",
        })
    }
}

/// The policy of one directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writable {
    /// Where writes go when the command line does not say otherwise.
    #[serde(default)]
    pub mode: Mode,
}

/// The policy of all writable directories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Absolute paths that survive a wipe; the last component may end in `*`.
    #[serde(default = "Policy::default_keep")]
    pub keep: Vec<String>,
    /// /etc.
    #[serde(default)]
    pub etc: Writable,
    /// /var.
    #[serde(default)]
    pub var: Writable,
    /// /home.
    #[serde(default)]
    pub home: Writable,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            keep: Self::default_keep(),
            etc: Writable::default(),
            var: Writable::default(),
            home: Writable::default(),
        }
    }
}

impl Policy {
    fn default_keep() -> Vec<String> {
        ["/etc/machine-id", "/etc/ssh/ssh_host_*"].map(str::to_owned).to_vec()
    }

    /// The policy of one directory.
    pub fn of(&self, dir: Dir) -> Writable {
        match dir {
            Dir::Etc => self.etc,
            Dir::Var => self.var,
            Dir::Home => self.home,
        }
    }

    /// The kept paths inside `dir`, relative to it.
    pub fn kept_in(&self, dir: Dir) -> Vec<String> {
        let prefix = format!("/{}/", dir.name());
        self.keep.iter().filter_map(|path| path.strip_prefix(&prefix)).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keep_list_is_split_by_directory() {
        let policy = Policy::default();
        assert_eq!(policy.kept_in(Dir::Etc), ["machine-id", "ssh/ssh_host_*"]);
        assert_eq!(policy.kept_in(Dir::Var), [""; 0]);
    }
}
