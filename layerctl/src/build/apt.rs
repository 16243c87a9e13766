//! Debian's apt and dpkg.

#![expect(clippy::disallowed_methods, reason = "reads dpkg's database")]

use std::fs;
use std::path::Path;

use layers::plan::change::Refusal;

use super::alternatives::{Alternative, Fragment};
use super::manager::{Package, PackageManager, Wanted, plain_name, run};
use super::{Cache, Ground, Sources, dpkg};
use crate::archive;
use crate::error::Error;
use crate::sandbox::{Bind, Sandbox};

/// Where package files of this machine are seen.
const FILES: &str = "/run/layerctl/packages";

const STATUS: &str = "var/lib/dpkg/status";

/// apt with what it is to fetch from.
pub(super) struct Apt {
    /// In place of the base's own sources.
    pub(super) sources: Option<Sources>,
    /// Its lists and packages.
    pub(super) cache: Cache,
}

impl Apt {
    /// Where the file of sources is seen: apt tells its formats apart by the ending.
    fn list(sources: &Sources) -> String {
        let ending = sources.path.extension().and_then(|it| it.to_str()).unwrap_or("list");
        format!("/run/layerctl/sources.{ending}")
    }

    fn get(&self, sandbox: &Sandbox, args: &[&str]) -> Result<String, Error> {
        let mut all = vec!["--quiet", "--yes", "--no-install-recommends"];
        for option in [
            "APT::Sandbox::User=root",
            "APT::Update::Error-Mode=any",
            "Acquire::Languages=none",
            "Acquire::Retries=2",
            "Acquire::http::Timeout=30",
            "Dpkg::Use-Pty=0",
            // The upper is thrown away after a crash.
            "Dpkg::Options::=--force-unsafe-io",
            "Dpkg::Options::=--force-confdef",
            "Dpkg::Options::=--force-confold",
        ] {
            all.extend(["-o", option]);
        }
        let list =
            self.sources.as_ref().map(|it| format!("Dir::Etc::sourcelist={}", Self::list(it)));
        if let Some(list) = &list {
            all.extend(["-o", list, "-o", "Dir::Etc::sourceparts=/dev/null"]);
        }
        all.extend(args);
        run(sandbox, self.program(), &all, &[])
    }

    fn wanted(wanted: &Wanted) -> Vec<String> {
        let files = seen_at(wanted).map(|(_, to)| to);
        wanted.packages.iter().cloned().chain(files).collect()
    }
}

/// Each file that is wanted, and where it is seen.
fn seen_at(wanted: &Wanted) -> impl Iterator<Item = (&Path, String)> {
    let files = wanted.files.iter().enumerate();
    files.map(|(number, path)| (path.as_path(), format!("{FILES}/{number}.deb")))
}

impl PackageManager for Apt {
    fn program(&self) -> &'static str {
        "apt-get"
    }

    fn binds(&self, wanted: &Wanted) -> Result<Vec<Bind>, Error> {
        let mut binds = vec![
            self.cache.bind("apt/lists", "/var/lib/apt/lists")?,
            self.cache.bind("apt/cache", "/var/cache/apt")?,
        ];
        binds.extend(self.sources.iter().flat_map(|it| it.binds(&Self::list(it))));
        binds.extend(seen_at(wanted).map(|(from, to)| Bind {
            from: from.to_owned(),
            to: to.into(),
            read_only: true,
        }));
        Ok(binds)
    }

    fn installed(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<Option<Vec<Package>>, Error> {
        let plain = |name: &String| !name.contains(['=', '/']);
        if wanted.packages.is_empty()
            || !wanted.files.is_empty()
            || !wanted.packages.iter().all(plain)
        {
            return Ok(None);
        }
        let mut args = vec!["-W", "-f", "${db:Status-Status} ${Package} ${Version}\n"];
        args.extend(wanted.packages.iter().map(String::as_str));
        let output = sandbox.run("dpkg-query", &args, &[])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let package = |line: &str| match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["installed", name, version] => {
                Some(Package { name: (*name).to_owned(), version: (*version).to_owned() })
            }
            _ => None,
        };
        let all: Option<Vec<Package>> = text.lines().map(package).collect();
        Ok(all.filter(|all| output.status.success() && !all.is_empty()))
    }

    fn declared(&self, wanted: &Wanted, limit: u64) -> Result<u64, Error> {
        wanted.files.iter().try_fold(0_u64, |sum, file| {
            Ok(sum.saturating_add(archive::declared(file, limit.saturating_sub(sum))?))
        })
    }

    fn download(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<u64, Error> {
        // apt would index all packages anew, even where no list has changed; the next run does it where it has to.
        let update = ["update", "-o", "pkgCacheFile::Generate=false"];
        self.get(sandbox, &update).map_err(|error| match error {
            Error::PackageManager { program, said } => Error::NoLists { program, said },
            other => other,
        })?;
        let names = Self::wanted(wanted);
        let mut args = vec!["install", "--download-only", "--allow-downgrades"];
        args.extend(names.iter().map(String::as_str));
        let said = self.get(sandbox, &args)?;
        Ok(said.lines().find_map(disk_space).unwrap_or_default())
    }

    fn install(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<(), Error> {
        if wanted.installs() {
            let names = Self::wanted(wanted);
            // Not --no-download: with it, apt does not find files that it was given by their paths.
            let mut args = vec!["install", "--allow-downgrades"];
            // An index of what is installed would be made again afterwards, for nobody: the next build begins with the base.
            args.extend(["-o", "Dir::Cache::pkgcache="]);
            args.extend(names.iter().map(String::as_str));
            self.get(sandbox, &args)?;
        }
        if !wanted.remove.is_empty() {
            // With its configuration: dpkg would go on listing a package of which that is left.
            let mut args = vec!["--purge"];
            args.extend(wanted.remove.iter().map(String::as_str));
            run(sandbox, "dpkg", &args, &[])?;
        }
        Ok(())
    }

    fn first(&self, sandbox: &Sandbox, wanted: &Wanted) -> Result<Option<Package>, Error> {
        let status = read(&sandbox.upper.join(STATUS))?;
        let name = match (wanted.packages.first(), seen_at(wanted).next()) {
            (Some(package), _) => plain_name(package).to_owned(),
            (None, Some((_, file))) => {
                run(sandbox, "dpkg-deb", &["--field", &file, "Package"], &[])?.trim().to_owned()
            }
            (None, None) => return Ok(None),
        };
        Ok(dpkg::version(&status, &name).map(|version| Package { name, version }))
    }

    fn fragments(
        &self,
        ground: &Ground,
        sandbox: &Sandbox,
    ) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
        let upper = &sandbox.upper;
        let both = |path: &str| {
            if fs::symlink_metadata(upper.join(path)).is_err() {
                return Ok(None);
            }
            let before = ground.read(path)?.unwrap_or_default();
            Ok::<_, Error>(Some((before, read(&upper.join(path))?)))
        };
        let mut found = Vec::new();
        if let Some((before, after)) = both(STATUS)? {
            found.push(("dpkg-status", dpkg::added(&before, &after)));
            found.push(("dpkg-removed", dpkg::removed(&before, &after)));
        }
        for (name, lines) in [("diversions", 3), ("statoverride", 1)] {
            if let Some((before, after)) = both(&format!("var/lib/dpkg/{name}"))? {
                found.push((name, dpkg::added_lines(&before, &after, lines)));
            }
        }
        found.push(("alternatives", alternatives(ground, upper)?));
        found.retain(|(_, text)| !text.is_empty());
        Ok(found)
    }

    fn ships_bytecode(&self) -> bool {
        false
    }
}

fn alternatives(ground: &Ground, upper: &Path) -> Result<Vec<u8>, Error> {
    let directory = upper.join("var/lib/dpkg/alternatives");
    let mut names = Vec::new();
    if let Ok(listing) = fs::read_dir(&directory) {
        for entry in listing {
            let entry = entry.map_err(|error| Error::io("read", &directory, error))?;
            if entry.metadata().is_ok_and(|found| found.is_file()) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names.sort_unstable();
    let mut fragment = Fragment::default();
    for name in names {
        let before = ground.read(&format!("var/lib/dpkg/alternatives/{name}"))?;
        let parse = |text: Vec<u8>| Alternative::parse(&name, &String::from_utf8_lossy(&text));
        let before = before.and_then(parse);
        let path = directory.join(&name);
        let Some(after) = parse(read(&path)?) else {
            let what = format!("{} is not as dpkg writes it", path.display());
            return Err(
                Refusal::new(what, "use a base whose dpkg is of version 1.15 or newer").into()
            );
        };
        fragment.alternatives.extend(after.added_to(before.as_ref()));
    }
    if fragment.alternatives.is_empty() {
        return Ok(Vec::new());
    }
    // A fragment has nothing that TOML cannot write.
    Ok(toml::to_string(&fragment).unwrap_or_default().into_bytes())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|error| Error::io("read", path, error)),
    }
}

/// The bytes of `After this operation, 12.3 MB of additional disk space will be used.`, or the same with a comma between
/// thousands (apt 2.6), or `Space needed: 12.3 MB / …` (apt 3.0).
fn disk_space(line: &str) -> Option<u64> {
    let line = line.trim();
    let rest = line
        .strip_prefix("After this operation, ")
        .filter(|_| line.contains("additional disk space"))
        .or_else(|| line.strip_prefix("Space needed: "))?;
    let mut words = rest.split_whitespace();
    let number: f64 = words.next()?.replace(',', "").parse().ok()?;
    let unit = match words.next()? {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return None,
    };
    // A float becomes the nearest number that fits.
    Some((number * unit) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_sizes_are_read() {
        let cases = [
            (
                "After this operation, 12.3 MB of additional disk space will be used.",
                Some(12_300_000),
            ),
            ("After this operation, 1,024 B of additional disk space will be used.", Some(1024)),
            ("  Space needed: 402 kB / 41.2 GB available", Some(402_000)),
            ("After this operation, 5 kB disk space will be freed.", None),
            ("0 upgraded, 1 newly installed", None),
        ];
        for (line, bytes) in cases {
            assert_eq!(disk_space(line), bytes, "{line}");
        }
    }
}
