//! The packages of a base or layer, from dpkg's own lists (deb822(5), `/var/lib/dpkg/status`).

use std::path::Path;

use super::{FRAGMENTS, names, text};
use crate::error::Error;

/// A base's: what its dpkg has installed.
pub(super) fn of_base(root: &Path) -> Result<Vec<String>, Error> {
    Ok(sorted(text(root, "var/lib/dpkg/status")?.iter().flat_map(|text| installed(text)).collect()))
}

/// A layer's: what its fragments of dpkg's list add.
pub(super) fn of_layer(root: &Path) -> Result<Vec<String>, Error> {
    let mut packages = Vec::new();
    for name in names(root, FRAGMENTS)? {
        let text = text(root, &format!("{FRAGMENTS}/{name}/dpkg-status"))?;
        packages.extend(text.iter().flat_map(|text| installed(text)));
    }
    Ok(sorted(packages))
}

fn sorted(mut packages: Vec<String>) -> Vec<String> {
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// `NAME VERSION ARCHITECTURE` of each stanza whose package is installed.
fn installed(text: &str) -> Vec<String> {
    text.split("\n\n").filter_map(package).collect()
}

fn package(stanza: &str) -> Option<String> {
    let field = |key: &str| {
        let value = stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(value.trim()).filter(|value| !value.is_empty())
    };
    // "install ok installed": what was asked, whether all is well, how far it is.
    let state = field("Status")?.split_whitespace().nth(2)?;
    let whole = ["installed", "triggers-pending", "triggers-awaited"].contains(&state);
    let (name, version) = (field("Package")?, field("Version")?);
    whole.then(|| format!("{name} {version} {}", field("Architecture").unwrap_or("all")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_alone_are_listed() {
        let text = "Package: b\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2-3\n\
                    Description: x\n Version: 9\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n\
                    Package: cut\nStatus: install ok\n\n\
                    Package: a\nStatus: hold ok installed\nArchitecture: all\nVersion: 1";
        assert_eq!(sorted(installed(text)), ["a 1 all", "b 1:2-3 amd64"]);
        assert!(installed("").is_empty());
    }
}
