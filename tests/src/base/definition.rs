//! What both builders read: the base's mkosi definition.

use crate::files::{self, FileError};
use std::path::{Path, PathBuf};

/// Why the definition is of no use.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The file has no `Packages=` with a package in it.
    #[error("{0} lists no Packages= in [Content]")]
    NoPackages(PathBuf),
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The base's definition: packages to install, a tree to copy over them, a script to run last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Names of Debian packages.
    pub packages: Vec<String>,
    /// Files to copy into the tree.
    pub extra: PathBuf,
    /// A script to run inside the tree.
    pub script: PathBuf,
}

impl Definition {
    /// Loads the definition of the image `base` from the directory of definitions.
    pub fn load(definitions: &Path) -> Result<Self, DefinitionError> {
        let dir = definitions.join("mkosi.images/base");
        let conf = dir.join("mkosi.conf");
        let packages = setting(&files::read_text(&conf)?, "Content", "Packages");
        if packages.is_empty() {
            return Err(DefinitionError::NoPackages(conf));
        }
        Ok(Self {
            packages,
            extra: dir.join("mkosi.extra"),
            script: dir.join("mkosi.postinst.chroot"),
        })
    }
}

/// The words of a list setting in mkosi's configuration: after `KEY=`, and on the indented lines that follow, with
/// commas or line ends between them; `#` starts a comment line (mkosi.1, "Configuration Settings").
fn setting(text: &str, section: &str, key: &str) -> Vec<String> {
    let (mut in_section, mut in_key) = (false, false);
    let mut words = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let value = if let Some(name) = line.strip_prefix('[') {
            (in_section, in_key) = (name.trim_end().strip_suffix(']') == Some(section), false);
            continue;
        } else if line.starts_with(char::is_whitespace) {
            line
        } else {
            let (name, value) = line.split_once('=').unwrap_or_default();
            in_key = name.trim() == key;
            value
        };
        if in_section && in_key {
            let parts = value.split(',').flat_map(str::split_whitespace);
            words.extend(parts.map(str::to_owned));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_over_indented_lines() {
        let text = "[Output]\nPackages=no\n[Content]\nA=b\nPackages=one,two\n    # note\n    three\n\
            Other=x\n    y\nPackages=four\n[Build]\n    z\n";
        assert_eq!(setting(text, "Content", "Packages"), ["one", "two", "three", "four"]);
        assert!(setting("", "Content", "Packages").is_empty());
    }

    #[test]
    fn the_definition_in_this_tree_has_a_kernel_and_an_init() {
        let workspace = crate::workspace::Workspace::here();
        let packages = Definition::load(&workspace.definitions()).unwrap().packages;
        for wanted in ["linux-image-cloud-amd64", "systemd-sysv", "udev"] {
            assert!(packages.iter().any(|package| package == wanted), "{wanted}");
        }
    }
}
