//! The packages of a base or layer: from dpkg's own lists (deb822(5), `/var/lib/dpkg/status`), and of a layer's packages
//! of RPM from their headers. The database of RPM that a base has is read by rpm alone.

use std::path::Path;

use super::{FRAGMENTS, bytes, names, text};
use crate::build::rpm;
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
        let stream = bytes(root, &format!("{FRAGMENTS}/{name}/rpm-headers"))?.unwrap_or_default();
        let headers = rpm::headers(&stream).unwrap_or_default();
        packages.extend(headers.into_iter().map(|header| header.package));
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
#[expect(clippy::disallowed_methods, reason = "makes the files that are read")]
mod tests {
    use super::*;

    #[test]
    fn headers_of_rpm_are_read_and_damaged_ones_are_not() {
        let top = tempfile::tempdir().unwrap();
        let fragment = top.path().join(FRAGMENTS).join("jq");
        std::fs::create_dir_all(&fragment).unwrap();
        // Magic; three entries of text; where they are in 12 bytes of data (RPM's "Header format").
        let mut stream = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 12];
        for (tag, place) in [(1000_u32, 0_u32), (1001, 3), (1002, 8)] {
            [tag, 6, place, 1].iter().for_each(|number| stream.extend(number.to_be_bytes()));
        }
        stream.extend(b"jq\x001.71\x002.1\0");
        for (length, packages) in
            [(stream.len(), vec!["jq 1.71-2.1 (none)"]), (stream.len() - 1, vec![])]
        {
            std::fs::write(fragment.join("rpm-headers"), &stream[..length]).unwrap();
            assert_eq!(of_layer(top.path()).unwrap(), packages);
        }
    }

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
