//! The file by which systemd and layerctl tell which systems a layer fits: extension-release of os-release(5).

#![expect(clippy::disallowed_methods, reason = "writes into the tree of a layer")]

use std::fs;
use std::path::{Path, PathBuf};

use layers::id::Name;
use layers::os::ANY;
use layers::plan::change::Refusal;

use super::Ground;
use crate::error::Error;

/// The systems that a layer fits, as the file says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Release {
    id: String,
    version_id: Option<String>,
    sysext_level: Option<String>,
    architecture: Option<String>,
}

impl Release {
    /// Every system.
    pub(crate) fn any() -> Self {
        Self { id: ANY.to_owned(), ..Self::default() }
    }

    /// What a base is, for a layer that was built on it.
    pub(crate) fn of(ground: &Ground, architecture: &str) -> Result<Self, Error> {
        let id = ground.os_field("ID")?.filter(|id| !id.is_empty());
        Ok(Self {
            id: id.unwrap_or_else(|| ANY.to_owned()),
            version_id: ground.os_field("VERSION_ID")?.filter(|version| !version.is_empty()),
            sysext_level: None,
            architecture: Some(architecture.to_owned()),
        })
    }

    /// Reads `ID [VERSION_ID]`, as typed; `level=N` gives SYSEXT_LEVEL in place of the version.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let usable =
            |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "._-+~^".contains(c));
        let mut release = match words.as_slice() {
            [id] => Self { id: (*id).to_owned(), ..Self::default() },
            [id, version] => match version.strip_prefix("level=") {
                Some(level) => Self {
                    id: (*id).to_owned(),
                    sysext_level: Some(level.to_owned()),
                    ..Self::default()
                },
                None => Self {
                    id: (*id).to_owned(),
                    version_id: Some((*version).to_owned()),
                    ..Self::default()
                },
            },
            _ => Self::default(),
        };
        let parts = [Some(&release.id), release.version_id.as_ref(), release.sysext_level.as_ref()];
        if release.id.is_empty() || !parts.into_iter().flatten().all(|part| usable(&part.as_str()))
        {
            let what = format!("{text:?} names no system that a layer fits");
            let hint = "give ID and VERSION_ID of its os-release: --fits 'debian 13'; or _any";
            return Err(Refusal::new(what, hint));
        }
        if release.id == ANY {
            (release.version_id, release.sysext_level) = (None, None);
        }
        Ok(release)
    }

    fn text(&self) -> String {
        let line = |key: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{key}={value}\n")).unwrap_or_default()
        };
        format!(
            "ID={}\n{}{}{}",
            self.id,
            line("VERSION_ID", &self.version_id),
            line("SYSEXT_LEVEL", &self.sysext_level),
            line("ARCHITECTURE", &self.architecture)
        )
    }
}

/// Where the file is in the tree of a layer.
pub(crate) fn path(name: &Name) -> PathBuf {
    Path::new("usr/lib/extension-release.d").join(format!("extension-release.{name}"))
}

/// Whether a tree has such a file of this name.
pub(crate) fn has(tree: &Path, name: &Name) -> bool {
    fs::symlink_metadata(tree.join(path(name))).is_ok()
}

/// Writes the file into a tree.
pub(crate) fn write(tree: &Path, name: &Name, release: &Release) -> Result<(), Error> {
    super::write_into(tree, &path(name), release.text().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_the_file() {
        let text = |typed: &str| Release::parse(typed).map(|it| it.text()).ok();
        assert_eq!(text("debian 13").as_deref(), Some("ID=debian\nVERSION_ID=13\n"));
        assert_eq!(text("flatcar level=1").as_deref(), Some("ID=flatcar\nSYSEXT_LEVEL=1\n"));
        assert_eq!(text("_any 3").as_deref(), Some("ID=_any\n"));
        for bad in ["", "a b c", "a\nb=c d e", "deb;ian 1"] {
            assert_eq!(text(bad), None, "{bad:?}");
        }
    }
}
