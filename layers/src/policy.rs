//! What happens to writes under /etc, /var and /home: the policy that is frozen into a generation.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::record::{Record, RecordError};
use crate::size::Size;

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

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Persistent, Self::Frozen, Self::Ephemeral];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Frozen => "frozen",
            Self::Ephemeral => "ephemeral",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which generations share one upper of /etc.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// None: each generation has its own, a rollback finds its own /etc as it was left.
    #[default]
    Generation,
    /// All: what is written stays, whichever generation boots.
    Shared,
}

/// The policy of /etc.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EtcPolicy {
    /// Where writes go when the command line does not say otherwise.
    pub mode: Mode,
    /// Which generations share the upper.
    pub scope: Scope,
    /// Absolute paths that survive a wipe and an ephemeral boot; the last component may end in `*`.
    #[serde(deserialize_with = "in_etc")]
    pub keep: Vec<String>,
    /// Whether each boot reports what the upper changes of the files that decide who may do what.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub audit: bool,
    /// The size of the tmpfs of a boot that is not persistent; without, all directories share one of half of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// The policy of /var.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VarPolicy {
    /// Where writes go when the command line does not say otherwise.
    pub mode: Mode,
    /// Absolute paths that must lie on a real file system, because programs stack file systems of their own there: they
    /// are bound from the state file system.
    #[serde(deserialize_with = "in_var")]
    pub bind: Vec<String>,
    /// Absolute paths that the images own: what is below them in the upper goes when the images change, so that a package
    /// database always speaks of the images that are there. Those outside /var are read-only anyway.
    #[serde(deserialize_with = "anywhere")]
    pub owned: Vec<String>,
    /// As [`EtcPolicy::keep`].
    #[serde(deserialize_with = "in_var")]
    pub keep: Vec<String>,
    /// As [`EtcPolicy::size`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// The policy of /home.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HomePolicy {
    /// Where writes go when the command line does not say otherwise.
    pub mode: Mode,
    /// As [`EtcPolicy::keep`].
    #[serde(deserialize_with = "in_home")]
    pub keep: Vec<String>,
    /// As [`EtcPolicy::size`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// The policy of all writable directories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// /etc.
    pub etc: EtcPolicy,
    /// /var.
    pub var: VarPolicy,
    /// /home.
    pub home: HomePolicy,
}

impl Default for EtcPolicy {
    fn default() -> Self {
        let keep = ["/etc/machine-id", "/etc/ssh/ssh_host_*"].map(str::to_owned).to_vec();
        Self { mode: Mode::default(), scope: Scope::default(), keep, audit: false, size: None }
    }
}

impl Default for VarPolicy {
    fn default() -> Self {
        let bind = [
            "/var/lib/containers",
            "/var/lib/docker",
            "/var/lib/containerd",
            "/var/lib/rancher",
            "/var/lib/kubelet",
            "/var/lib/machines",
            "/var/lib/portables",
            "/var/lib/libvirt/images",
        ];
        let owned = ["/var/lib/dpkg", "/usr/lib/sysimage", "/var/lib/rpm"];
        Self {
            mode: Mode::default(),
            bind: bind.map(str::to_owned).to_vec(),
            owned: owned.map(str::to_owned).to_vec(),
            keep: Vec::new(),
            size: None,
        }
    }
}

/// What the directories' tables have in common; what is not said is left as it is.
fn read_common(
    record: Record<'_>,
    dir: Dir,
    mode: &mut Mode,
    keep: &mut Vec<String>,
    size: &mut Option<Size>,
) -> Result<(), RecordError> {
    if record.has("mode") {
        *mode = record.one_of("mode", &Mode::ALL.map(|mode| (mode.name(), mode)))?;
    }
    if record.has("size") {
        *size = Some(record.parsed("size")?);
    }
    read_paths(record, "keep", &format!("/{dir}"), keep)
}

fn read_paths(
    record: Record<'_>,
    key: &str,
    dir: &str,
    paths: &mut Vec<String>,
) -> Result<(), RecordError> {
    if !record.has(key) {
        return Ok(());
    }
    *paths = record.texts(key)?;
    check_paths(paths, dir).map_err(|what| record.refuse(key, &what))
}

impl Policy {
    /// Reads the table of a generation's record; what it does not say is as in [`Self::default`].
    pub(crate) fn read(record: Record<'_>) -> Result<Self, RecordError> {
        record.only(&Dir::ALL.map(Dir::name))?;
        let Self { mut etc, mut var, mut home } = Self::default();
        if let Some(table) = record.table("etc")? {
            table.only(&["mode", "scope", "keep", "audit", "size"])?;
            read_common(table, Dir::Etc, &mut etc.mode, &mut etc.keep, &mut etc.size)?;
            if table.has("scope") {
                let known = [("generation", Scope::Generation), ("shared", Scope::Shared)];
                etc.scope = table.one_of("scope", &known)?;
            }
            etc.audit = table.flag("audit")?;
        }
        if let Some(table) = record.table("var")? {
            table.only(&["mode", "bind", "owned", "keep", "size"])?;
            read_common(table, Dir::Var, &mut var.mode, &mut var.keep, &mut var.size)?;
            read_paths(table, "bind", "/var", &mut var.bind)?;
            read_paths(table, "owned", "", &mut var.owned)?;
        }
        if let Some(table) = record.table("home")? {
            table.only(&["mode", "keep", "size"])?;
            read_common(table, Dir::Home, &mut home.mode, &mut home.keep, &mut home.size)?;
        }
        Ok(Self { etc, var, home })
    }

    /// Where writes to `dir` go when the command line does not say otherwise.
    pub fn mode(&self, dir: Dir) -> Mode {
        match dir {
            Dir::Etc => self.etc.mode,
            Dir::Var => self.var.mode,
            Dir::Home => self.home.mode,
        }
    }

    /// The size of the tmpfs of `dir` alone, if it has one of its own.
    pub fn size(&self, dir: Dir) -> Option<Size> {
        match dir {
            Dir::Etc => self.etc.size,
            Dir::Var => self.var.size,
            Dir::Home => self.home.size,
        }
    }

    /// The kept paths of `dir`, relative to it.
    pub fn kept_in(&self, dir: Dir) -> Vec<String> {
        let keep = match dir {
            Dir::Etc => &self.etc.keep,
            Dir::Var => &self.var.keep,
            Dir::Home => &self.home.keep,
        };
        relative(keep, dir)
    }

    /// The paths of /var that are bound from the upper, relative to it.
    pub fn bound_in_var(&self) -> Vec<String> {
        relative(&self.var.bind, Dir::Var)
    }

    /// The paths of /var that the images own, relative to it.
    pub fn owned_in_var(&self) -> Vec<String> {
        relative(&self.var.owned, Dir::Var)
    }
}

/// The permission bits that programs give to a path below /var which is bound, relative to it; where they are not known,
/// those of any directory.
pub fn bound_mode(path: &str) -> u32 {
    match path {
        "lib/docker" => 0o710,
        "lib/containerd" | "lib/libvirt/images" => 0o711,
        "lib/kubelet" => 0o750,
        "lib/machines" | "lib/portables" => 0o700,
        _ => 0o755,
    }
}

/// Those of `paths` that lie below `dir`, without it.
pub fn relative(paths: &[String], dir: Dir) -> Vec<String> {
    let prefix = format!("/{}/", dir.name());
    paths.iter().filter_map(|path| path.strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// Whether a path starts at the root and goes down only: joined to another, it stays below it.
pub fn is_plain(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|names| {
        names.split('/').all(|name| !["", ".", ".."].contains(&name)) && !names.contains('\0')
    })
}

fn anywhere<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    plain_paths(from, "")
}

fn in_etc<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    plain_paths(from, "/etc")
}

fn in_var<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    plain_paths(from, "/var")
}

fn in_home<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    plain_paths(from, "/home")
}

/// Absolute paths below `dir`; the error stands at their line.
fn plain_paths<'de, D: Deserializer<'de>>(from: D, dir: &str) -> Result<Vec<String>, D::Error> {
    let paths = Vec::<String>::deserialize(from)?;
    check_paths(&paths, dir).map_err(D::Error::custom)?;
    Ok(paths)
}

/// Whether all paths are absolute ones below `dir`; the text says which is not.
fn check_paths(paths: &[String], dir: &str) -> Result<(), String> {
    let below = |path: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
    match paths.iter().find(|path| !is_plain(path) || !below(path)) {
        None => Ok(()),
        Some(path) => Err(format!("{path:?} is no absolute path of names below {dir}/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_their_directory() {
        let policy = Policy::default();
        assert_eq!(policy.kept_in(Dir::Etc), ["machine-id", "ssh/ssh_host_*"]);
        assert_eq!(policy.kept_in(Dir::Var), [""; 0]);
        assert_eq!(policy.owned_in_var(), ["lib/dpkg", "lib/rpm"]);
        assert_eq!(policy.bound_in_var().len(), 8);
    }

    #[test]
    fn a_table_changes_only_what_it_names() {
        let policy: Policy = toml::from_str("etc.scope = \"shared\"\nvar.size = \"1G\"").unwrap();
        assert_eq!(policy.etc.scope, Scope::Shared);
        assert_eq!(policy.etc.keep, EtcPolicy::default().keep);
        assert_eq!(policy.size(Dir::Var), Some(Size::Bytes(1 << 30)));
        assert_eq!(policy.var.bind, VarPolicy::default().bind);
        assert_eq!(toml::from_str::<Policy>(&toml::to_string(&policy).unwrap()).unwrap(), policy);
    }
}
