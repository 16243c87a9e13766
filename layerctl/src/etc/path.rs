//! A path below /etc, as people type it.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use layers::etc::report;
use layers::plan::change::Refusal;

/// A path below /etc that goes down only; kept relative to /etc, never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EtcPath(PathBuf);

impl EtcPath {
    /// Understands an argument.
    pub(crate) fn parse(typed: &Path) -> Result<Self, Refusal> {
        let shown = report::escaped(typed.as_os_str().as_encoded_bytes());
        let Ok(inside) = typed.strip_prefix("/etc") else {
            let what = format!("{shown} is not below /etc");
            return Err(Refusal::new(what, "name it from the root on: /etc/ssh/sshd_config"));
        };
        if inside.as_os_str().is_empty() {
            let what = format!("{shown} is all of /etc");
            return Err(Refusal::new(
                what,
                "name what is in it; to empty all of it at the next boot: layerctl reset --etc",
            ));
        }
        if !inside.components().all(|part| matches!(part, Component::Normal(_))) {
            let what = format!("{shown} does not only go down");
            return Err(Refusal::new(what, "name it without . and .."));
        }
        Ok(Self(inside.components().collect()))
    }

    /// Understands all arguments; sorted, each once, none below another.
    pub(crate) fn parse_all(typed: &[PathBuf]) -> Result<Vec<Self>, Refusal> {
        let mut paths =
            typed.iter().map(|path| Self::parse(path)).collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        paths.dedup();
        let all = paths.clone();
        paths.retain(|path| all.iter().all(|other| other == path || !path.covers_from(other)));
        Ok(paths)
    }

    /// The path, relative to /etc.
    pub(crate) fn relative(&self) -> &Path {
        &self.0
    }

    /// Whether `path`, relative to /etc, is this one or below it.
    pub(crate) fn covers(&self, path: &Path) -> bool {
        path.starts_with(&self.0)
    }

    fn covers_from(&self, other: &Self) -> bool {
        other.covers(&self.0)
    }
}

impl fmt::Display for EtcPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&report::shown(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_etc_are_taken() {
        let parse = |text: &str| EtcPath::parse(Path::new(text)).map(|path| path.to_string());
        assert_eq!(parse("/etc/ssh/").as_deref(), Ok("/etc/ssh"));
        assert_eq!(parse("/etc//ssh/./x").as_deref(), Ok("/etc/ssh/x"));
        assert_eq!(parse("/etc/\u{1b}[m").as_deref(), Ok("/etc/\\u{1b}[m"));
        for wrong in ["", "ssh", "etc/ssh", "/etc", "/etc/", "/etcetera", "/etc/../x", "/var/x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_below_another_says_nothing_more() {
        let typed = ["/etc/b/c", "/etc/b", "/etc/a", "/etc/b/", "/etc/bc"].map(PathBuf::from);
        let paths = EtcPath::parse_all(&typed).unwrap();
        let text: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["/etc/a", "/etc/b", "/etc/bc"]);
    }
}
