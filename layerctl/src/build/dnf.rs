//! Fedora's dnf and RPM.

#![expect(clippy::disallowed_methods, reason = "reads what RPM exports")]

use std::fs;
use std::path::Path;

use super::manager::{Package, PackageManager, Wanted, plain_name, run};
use super::{Cache, Ground, Sources, rpm};
use crate::error::Error;
use crate::sandbox::{Bind, Sandbox};

/// Where package files of this machine are seen.
const FILES: &str = "/run/layerctl/packages";

/// Where the repository file is seen.
const REPOSITORIES: &str = "/run/layerctl/repositories";

/// Programs of dnf's own must not leave their byte code in the layer.
const ENVIRONMENT: [(&str, &str); 1] = [("PYTHONDONTWRITEBYTECODE", "1")];

/// dnf with what it is to fetch from.
pub(super) struct Dnf {
    /// In place of the base's own repositories.
    pub(super) sources: Option<Sources>,
    /// Its lists and packages.
    pub(super) cache: Cache,
}

impl Dnf {
    fn dnf(&self, sandbox: &Sandbox, args: &[&str]) -> Result<String, Error> {
        let mut all = vec![
            "--assumeyes",
            "--setopt=install_weak_deps=False",
            "--setopt=keepcache=True",
            "--setopt=cachedir=/var/cache/dnf",
        ];
        let repositories = format!("--setopt=reposdir={REPOSITORIES}");
        if self.sources.is_some() {
            all.push(&repositories);
        }
        all.extend(args);
        run(sandbox, self.program(), &all, &ENVIRONMENT)
    }

    fn wanted(wanted: &Wanted) -> Vec<String> {
        let files = seen_at(wanted).map(|(_, to)| to);
        wanted.packages.iter().cloned().chain(files).collect()
    }

    /// The headers of all packages that a root has.
    fn headers(&self, sandbox: &Sandbox) -> Result<Vec<u8>, Error> {
        let output = sandbox.run("rpmdb", &["--exportdb"], &ENVIRONMENT)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::PackageManager { program: "rpmdb", said: format!(" {said}") })
    }
}

fn seen_at(wanted: &Wanted) -> impl Iterator<Item = (&Path, String)> {
    let files = wanted.files.iter().enumerate();
    files.map(|(number, path)| (path.as_path(), format!("{FILES}/{number}.rpm")))
}

impl PackageManager for Dnf {
    fn program(&self) -> &'static str {
        "dnf"
    }

    fn binds(&self, wanted: &Wanted) -> Result<Vec<Bind>, Error> {
        let mut binds = vec![self.cache.bind("dnf", "/var/cache/dnf")?];
        let file = format!("{REPOSITORIES}/layerctl.repo");
        binds.extend(self.sources.iter().flat_map(|sources| sources.binds(&file)));
        binds.extend(seen_at(wanted).map(|(from, to)| Bind {
            from: from.to_owned(),
            to: to.into(),
            read_only: true,
        }));
        Ok(binds)
    }

    fn installed(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<Option<Vec<Package>>, Error> {
        if wanted.packages.is_empty() || !wanted.files.is_empty() {
            return Ok(None);
        }
        let mut args = vec!["-q", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\\n"];
        args.extend(wanted.packages.iter().map(String::as_str));
        let output = sandbox.run("rpm", &args, &ENVIRONMENT)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let package = |line: &str| {
            let (name, version) = line.split_once(' ')?;
            Some(Package { name: name.to_owned(), version: version.to_owned() })
        };
        let all: Option<Vec<Package>> = text.lines().map(package).collect();
        Ok(all.filter(|all| output.status.success() && !all.is_empty()))
    }

    /// dnf and RPM check both themselves, before the transaction.
    fn declared(&self, _: &Wanted, _: u64) -> Result<u64, Error> {
        Ok(0)
    }

    fn download(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<u64, Error> {
        let names = Self::wanted(wanted);
        let mut args = vec!["--refresh", "install", "--downloadonly"];
        args.extend(names.iter().map(String::as_str));
        let said = self.dnf(sandbox, &args)?;
        Ok(said.lines().find_map(installed_size).unwrap_or_default())
    }

    fn install(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<(), Error> {
        if wanted.installs() {
            let names = Self::wanted(wanted);
            let mut args = vec!["--cacheonly", "install"];
            args.extend(names.iter().map(String::as_str));
            self.dnf(sandbox, &args)?;
        }
        if !wanted.remove.is_empty() {
            let mut args = vec!["--erase"];
            args.extend(wanted.remove.iter().map(String::as_str));
            run(sandbox, "rpm", &args, &ENVIRONMENT)?;
        }
        Ok(())
    }

    fn first(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<Option<Package>, Error> {
        let (file, name);
        let mut args = vec!["-q", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\\n"];
        match (wanted.packages.first(), seen_at(wanted).next()) {
            (Some(package), _) => {
                name = plain_name(package);
                args.push(name);
            }
            (None, Some((_, path))) => {
                file = path;
                args.extend(["-p", &file]);
            }
            (None, None) => return Ok(None),
        }
        let output = sandbox.run("rpm", &args, &ENVIRONMENT)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().next().filter(|_| output.status.success());
        let found = line.and_then(|line| line.split_once(' '));
        Ok(found.map(|(name, version)| Package { name: name.into(), version: version.into() }))
    }

    fn fragments(
        &self,
        ground: &Ground,
        sandbox: &Sandbox,
    ) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
        let after = self.headers(sandbox)?;
        let had = ground.has("var/lib/rpm/rpmdb.sqlite")?
            || ground.has("usr/lib/sysimage/rpm/rpmdb.sqlite")?
            || ground.has("var/lib/rpm/Packages")?;
        let before = match had {
            false => Vec::new(),
            true => {
                // The same root, with nothing in its upper.
                let upper = sandbox.work.join("before");
                fs::create_dir_all(&upper).map_err(|error| Error::io("create", &upper, error))?;
                self.headers(&Sandbox { upper, ..sandbox.clone() })?
            }
        };
        let broken = || Error::PackageManager {
            program: "rpmdb",
            said: " what it exports is cut off or of an unknown form".to_owned(),
        };
        let before = rpm::headers(&before).ok_or_else(broken)?;
        let after = rpm::headers(&after).ok_or_else(broken)?;
        let mut found = vec![
            ("rpm-headers", rpm::added(&before, &after)),
            ("rpm-removed", rpm::removed(&before, &after)),
        ];
        found.retain(|(_, text)| !text.is_empty());
        Ok(found)
    }

    fn ships_bytecode(&self) -> bool {
        true
    }
}

/// The bytes of `Installed size: 12 k` (dnf 4), with RPM's own units: k, M, G of 1024 each.
fn installed_size(line: &str) -> Option<u64> {
    let mut words = line.trim().strip_prefix("Installed size: ")?.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let unit = match words.next() {
        None => 1.0,
        Some("k") => 1024.0,
        Some("M") => 1024.0 * 1024.0,
        Some("G") => 1024.0 * 1024.0 * 1024.0,
        Some(_) => return None,
    };
    Some((number * unit) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_sizes_are_read() {
        assert_eq!(installed_size("Installed size: 12 k"), Some(12 << 10));
        assert_eq!(installed_size("Installed size: 1.5 M"), Some(3 << 19));
        assert_eq!(installed_size("Total size: 12 k"), None);
    }
}
