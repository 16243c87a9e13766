//! The merges of a composition: what the layers say of themselves goes through pure functions, or to programs of the union
//! which make an index file of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use layers::plan::change::Refusal;

use super::accounts as numbers;
use super::alternatives::{self, Fragment};
use super::compose::{Composition, judge};
use super::dpkg::{self, Addition, Database};
use super::union::Opened;
use crate::error::Error;

/// Where a layer has its fragments, each in a directory of the layer's name.
const FRAGMENTS: &str = "/usr/lib/layerctl/layers";

/// dpkg's database.
const DPKG: &str = "/var/lib/dpkg";

/// Merges dpkg's database, where the base has one.
pub(super) fn dpkg(composition: &Composition<'_>) -> Result<(), Error> {
    let [base, layers @ ..] = composition.union.images() else { return Ok(()) };
    let files = database(base)?;
    if !files.contains_key("status") {
        return Ok(());
    }
    let mut merged = Database::new(files);
    for layer in layers {
        merged.add(&addition(layer)?);
    }
    let upper = composition.upper();
    for (name, text) in merged.files() {
        let path = Path::new(DPKG).join(name);
        if composition.union.read(&path)?.as_ref() != Some(text) {
            upper.put(&path, text)?;
        }
    }
    Ok(())
}

/// The files of a database that an image has.
fn database(image: &Opened<'_>) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut files = BTreeMap::new();
    let triggers = image.list(&Path::new(DPKG).join(dpkg::TRIGGERS))?;
    let triggers = triggers.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        (!dpkg::NO_TRIGGERS.contains(&name.as_str())).then(|| format!("{}/{name}", dpkg::TRIGGERS))
    });
    for name in dpkg::FILES.into_iter().map(str::to_owned).chain(triggers) {
        if let Some(text) = image.read(&Path::new(DPKG).join(&name))? {
            files.insert(name, text);
        }
    }
    Ok(files)
}

fn addition(layer: &Opened<'_>) -> Result<Addition, Error> {
    let mut triggers = BTreeMap::new();
    let info = Path::new(DPKG).join("info");
    for path in layer.survey.paths.iter().filter(|path| path.parent() == Some(&info)) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(package) = name.strip_suffix(".triggers")
            && let Some(text) = layer.read(path)?
        {
            triggers.insert(package.to_owned(), text);
        }
    }
    Ok(Addition {
        status: paragraphs(layer, "dpkg-status")?,
        removed: all(layer, "dpkg-removed")?,
        diversions: all(layer, "diversions")?,
        overrides: all(layer, "statoverride")?,
        triggers,
        whole: database(layer)?,
    })
}

/// The fragments of a layer that have this name, with the directories that they are in.
fn fragments(layer: &Opened<'_>, name: &str) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    for directory in layer.list(Path::new(FRAGMENTS))? {
        let path = directory.join(name);
        if let Some(text) = layer.read(&path)? {
            found.push((path, text));
        }
    }
    Ok(found)
}

fn all(layer: &Opened<'_>, name: &str) -> Result<Vec<u8>, Error> {
    let texts = fragments(layer, name)?.into_iter().map(|(_, text)| text);
    Ok(texts.flat_map(|text| text.into_iter().chain([b'\n'])).collect())
}

fn paragraphs(layer: &Opened<'_>, name: &str) -> Result<Vec<u8>, Error> {
    let texts = fragments(layer, name)?.into_iter().map(|(_, text)| text);
    Ok(texts.flat_map(|text| text.into_iter().chain(*b"\n\n")).collect())
}

/// A fragment that is to be text.
fn utf8(layer: &Opened<'_>, path: &Path, text: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(text).map_err(|error| unusable(layer, path, &error.to_string()))
}

fn unusable(layer: &Opened<'_>, path: &Path, why: &str) -> Error {
    let why = why.lines().collect::<Vec<_>>().join("; ");
    let what = format!("{} of layer {} cannot be used: {why}", path.display(), layer.image.name);
    Refusal::new(what, "build the layer again").into()
}

/// Tells update-alternatives of the choices that layers add, and of those whose files they take away. Gives the links of the
/// choices.
pub(super) fn alternatives(composition: &Composition<'_>) -> Result<BTreeSet<PathBuf>, Error> {
    let union = composition.union;
    let mut links = BTreeSet::new();
    let Some(program) = composition.program(&["update-alternatives".to_owned()])? else {
        return Ok(links);
    };
    let mut commands = Vec::new();
    // A path that cannot be looked at is not gone.
    let taken = union.layers().iter().any(|layer| !layer.survey.covers.is_empty());
    let gone = |path: &Path| taken && union.find(path).is_ok_and(|found| found.is_none());
    for image in union.images() {
        for path in image.list(&Path::new(DPKG).join("alternatives"))? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let text = union.read(&path)?.unwrap_or_default();
            let state = String::from_utf8_lossy(&text);
            commands.extend(alternatives::removals(name, &state, &gone));
        }
    }
    for layer in union.layers() {
        for (path, text) in fragments(layer, "alternatives")? {
            let fragment = Fragment::parse(&utf8(layer, &path, text)?)
                .map_err(|error| unusable(layer, &path, &error.to_string()))?;
            links.extend(fragment.links().map(PathBuf::from));
            commands.extend(fragment.installs());
        }
    }
    for args in commands {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = composition.sandbox.run(&program, &args, &[])?;
        judge("alternatives", &program, &output)?;
    }
    Ok(links)
}

/// Makes the users and groups of the layers, with their numbers.
pub(super) fn accounts(composition: &Composition<'_>) -> Result<(), Error> {
    let union = composition.union;
    let Some(program) = composition.program(&["systemd-sysusers".to_owned()])? else {
        composition
            .context
            .ui
            .warn("users and groups of the layers are not made: the base has no systemd-sysusers");
        return Ok(());
    };
    let mut texts = Vec::new();
    for layer in union.layers() {
        for (path, text) in fragments(layer, "accounts")? {
            texts.push((layer, utf8(layer, &path, text)?));
        }
    }
    let read = |path: &str| Ok::<_, Error>(union.read(Path::new(path))?.unwrap_or_default());
    let known = numbers::Known::parse(&read("/etc/passwd")?, &read("/etc/group")?);
    let claims: Vec<numbers::Claims<'_>> = texts
        .iter()
        .map(|(layer, text)| numbers::Claims {
            layer: &layer.image.name,
            text,
            uids: &layer.survey.uids,
            gids: &layer.survey.gids,
        })
        .collect();
    let lines = numbers::lines(&known, &claims)?;
    if !lines.is_empty() {
        let mut args = vec!["--inline"];
        args.extend(lines.iter().map(String::as_str));
        judge("accounts", &program, &composition.sandbox.run(&program, &args, &[])?)?;
    }
    // What packages say themselves: those of the lines above are there by now.
    judge("accounts", &program, &composition.sandbox.run(&program, &[], &[])?)
}

/// Adds the packages of the layers to RPM's database, and takes out what layers took away.
pub(super) fn rpm(composition: &Composition<'_>) -> Result<(), Error> {
    let (Some(rpmdb), Some(rpm), Some(shell)) = (
        composition.program(&["rpmdb".to_owned()])?,
        composition.program(&["rpm".to_owned()])?,
        composition.program(&["sh".to_owned()])?,
    ) else {
        return Ok(());
    };
    for layer in composition.union.layers() {
        let removed = all(layer, "rpm-removed")?;
        let removed = String::from_utf8_lossy(&removed).into_owned();
        let names: Vec<&str> = removed.split_whitespace().collect();
        if !names.is_empty() {
            let erase = ["-e", "--justdb", "--nodeps", "--noscripts", "--notriggers", "--"];
            let args = [&erase, names.as_slice()].concat();
            judge("rpm", &rpm, &composition.sandbox.run(&rpm, &args, &[])?)?;
        }
        for (path, _) in fragments(layer, "rpm-headers")? {
            let script = "exec \"$0\" --importdb <\"$1\"";
            let path = path.to_string_lossy();
            let args = ["-c", script, &rpmdb, &path];
            judge("rpm", &rpmdb, &composition.sandbox.run(&shell, &args, &[])?)?;
        }
    }
    Ok(())
}
