//! `layerctl override`.

use std::path::{Path, PathBuf};

use layers::generation::Base;
use layers::id::Digest;
use layers::intent::Intent;
use layers::layout::UNPUBLISHED;
use layers::plan::change::{self, Decision, Refusal, Resolved};
use layers::store::stage;

use super::packages::is_package;
use super::words;
use crate::cli::{Override, OverrideReset, PackageSources, Pointing};
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::program;
use crate::requests::{self, Resolver};
use crate::work::WorkDirectory;

pub(super) fn run(verb: &Override, context: &Context) -> Result<Outcome, Error> {
    match verb {
        Override::Remove(args) => {
            let asked = format!("override remove {}", words(&args.packages));
            change(context, &args.sources, args.pointing, &asked, |intents, _| {
                if let Some(odd) = args.packages.iter().find(|name| !is_package(name)) {
                    let what = format!("{odd:?} is no name of a package");
                    return Err(Refusal::new(what, "name packages that the base has").into());
                }
                for package in &args.packages {
                    put(intents, Intent::Remove { package: package.clone() });
                }
                Ok(Vec::new())
            })
        }
        Override::Replace(args) => {
            let names: Vec<String> = args.files.iter().map(|f| f.display().to_string()).collect();
            let asked = format!("override replace {}", words(&names));
            change(context, &args.sources, args.pointing, &asked, |intents, context| {
                args.files.iter().map(|file| replace(intents, context, file)).collect()
            })
        }
        Override::Reset(args) => {
            let what = if args.all { "--all".to_owned() } else { words(&args.packages) };
            let asked = format!("override reset {what}");
            change(context, &args.sources, args.pointing, &asked, |intents, _| {
                reset(intents, args)?;
                Ok(Vec::new())
            })
        }
    }
}

/// Takes an override among the requests, in place of one of the same package.
fn put(intents: &mut Vec<Intent>, new: Intent) {
    let (layer, at) = (new.layer(), intents.iter().position(|it| it.layer() == new.layer()));
    match at.filter(|_| layer.is_ok()).and_then(|at| intents.get_mut(at)) {
        Some(old) => *old = new,
        None => intents.push(new),
    }
}

fn replace(
    intents: &mut Vec<Intent>,
    context: &Context,
    file: &Path,
) -> Result<(Digest, PathBuf), Error> {
    let (package, version) = package_of(file)?;
    let bar = context.ui.spinner("hashing");
    let digest = stage::hash(file, &mut |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    put(intents, Intent::Replace { package, version, file: digest });
    Ok((digest, file.to_owned()))
}

/// Name and version of a package's file.
fn package_of(file: &Path) -> Result<(String, String), Error> {
    let mut dpkg = program::command("dpkg-deb");
    dpkg.command.arg("--show").arg("--showformat=${Package}\n${Version}\n").arg(file);
    let said = String::from_utf8_lossy(&dpkg.run()?.stdout).into_owned();
    let mut lines = said.lines();
    match (lines.next(), lines.next()) {
        (Some(package), Some(version)) if !version.is_empty() && !version.contains(' ') => {
            Ok((package.to_owned(), version.to_owned()))
        }
        _ => {
            let what = format!("{} does not say which package it is", file.display());
            Err(Refusal::new(what, "get the package's file again").into())
        }
    }
}

fn reset(intents: &mut Vec<Intent>, args: &OverrideReset) -> Result<(), Refusal> {
    let package = |intent: &Intent| intent.overrides().map(str::to_owned);
    let overridden: Vec<String> = intents.iter().filter_map(package).collect();
    if let Some(stranger) = args.packages.iter().find(|name| !overridden.contains(name)) {
        let hint = match overridden.is_empty() {
            true => "nothing is overridden; see the requests: layerctl status".to_owned(),
            false => format!("these are: {}", words(&overridden)),
        };
        return Err(Refusal::new(format!("package {stranger} is not overridden"), hint));
    }
    intents.retain(|it| !package(it).is_some_and(|it| args.all || args.packages.contains(&it)));
    Ok(())
}

/// An override that changes nothing was meant for another package, or another version.
fn check_new(before: &[Intent], resolved: &[Resolved], base: &Base) -> Result<(), Refusal> {
    let idle = resolved.iter().find(|one| {
        one.image.is_none() && one.intent.is_override() && !before.contains(&one.intent)
    });
    let what = match idle.map(|one| &one.intent) {
        Some(Intent::Remove { package }) => {
            format!("{} {} has no package {package}", base.name, base.version)
        }
        Some(Intent::Replace { package, version, .. }) => {
            format!("{} {} has {package} {version} already", base.name, base.version)
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(
        what,
        "see the base's packages: layerctl diff, or dpkg -l in the running system",
    ))
}

/// Changes the requests of the generation that boots next, and resolves all of them again: packages were built on what the
/// overrides left of the base.
fn change(
    context: &Context,
    sources: &PackageSources,
    pointing: Pointing,
    asked: &str,
    edit: impl FnOnce(&mut Vec<Intent>, &Context) -> Result<Vec<(Digest, PathBuf)>, Error>,
) -> Result<Outcome, Error> {
    let configured = context.config()?.map(|file| file.config.packages).unwrap_or_default();
    // Lives until the plan has been carried out: layers are copied from it.
    let mut made: Option<WorkDirectory> = None;
    context.make_generation(pointing.writing.dry_run, |store: &mut Store| {
        let start = store.state.start()?;
        let before = change::intents(start)?;
        let mut intents = before.clone();
        let files = edit(&mut intents, context)?;
        if intents == before {
            return Ok(Decision::unchanged("nothing to change: all is as asked for".to_owned()));
        }
        let parent = match pointing.writing.dry_run {
            true => std::env::temp_dir(),
            false => store.layout.store(),
        };
        let work = made.insert(WorkDirectory::in_store(UNPUBLISHED, &parent)?);
        let base = requests::stored(store, &start.base.digest)?;
        let mut resolver = Resolver::new(context, base, sources, &configured, work.path());
        let resolved = resolver.all(store, &intents, &files)?;
        check_new(&before, &resolved, &start.base)?;
        let request = context.request_once(asked, pointing.try_once);
        Ok(change::resolve(&store.state, &store.layout, &resolved, &request)?)
    })
}
