//! `layerctl install --packages`: packages of the distribution as one layer, built on this machine.

use std::path::Path;

use layers::config;
use layers::id::SetName;
use layers::intent::Intent;
use layers::layout::UNPUBLISHED;
use layers::plan::change::{self, Refusal, Resolved};

use super::words;
use crate::cli::Install;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::requests::{self, Resolver};
use crate::work::WorkDirectory;

/// Installs the packages that the arguments name.
pub(super) fn install(args: &Install, context: &Context) -> Result<Outcome, Error> {
    let intent = intent(args)?;
    let set: Option<SetName> = args.set.as_deref().map(str::parse).transpose()?;
    let configured = context.config()?.map(|file| file.config.packages).unwrap_or_default();
    let dry_run = args.pointing.writing.dry_run;
    if dry_run {
        let store = context.read()?;
        let base = &store.state.start()?.base;
        let layer = intent.layer()?;
        let what = format!("build layer {layer} of {}", words(&args.items));
        context.ui.data(format!("{what} on {} {}\ninstall {layer}\n", base.name, base.version))?;
        return Ok(Outcome::Done);
    }
    // Lives until the plan has been carried out: the layer is copied from it.
    let mut made: Option<WorkDirectory> = None;
    context.make_generation(dry_run, |store| {
        let work = WorkDirectory::in_store(UNPUBLISHED, &store.layout.store())?;
        let work = made.insert(work);
        let resolved = vec![resolve(args, &intent, &configured, context, store, work.path())?];
        let asked = format!("install --packages {}", asked(args));
        let request = context.request_once(asked, args.pointing.try_once);
        let install = change::Install { set, resolved, ..change::Install::default() };
        Ok(change::install(&store.state, &store.layout, &install, &request)?)
    })
}

/// Makes a layer of the packages `names`, which were no layers' names.
pub(super) fn build(
    args: &Install,
    names: &[String],
    configured: &config::Packages,
    context: &Context,
    store: &Store,
    work: &Path,
) -> Result<Resolved, Error> {
    let layer = names.first().map(String::as_str).unwrap_or_default().parse()?;
    let intent = Intent::Packages { layer, packages: names.to_vec(), inactive: None };
    resolve(args, &intent, configured, context, store, work)
}

fn resolve(
    args: &Install,
    intent: &Intent,
    configured: &config::Packages,
    context: &Context,
    store: &Store,
    work: &Path,
) -> Result<Resolved, Error> {
    let start = store.state.start()?;
    let base = requests::stored(store, &start.base.digest)?;
    let mut resolver = Resolver::new(context, base, &args.sources, configured, work);
    resolver.on_overrides_of(store, &change::intents(start)?)?;
    resolver.one(store, intent, &[])
}

fn intent(args: &Install) -> Result<Intent, Error> {
    if let Some(odd) = args.items.iter().find(|item| !is_package(item)) {
        let what = format!("{odd:?} is no name of a package");
        return Err(Refusal::new(what, "leave --packages out to install a file").into());
    }
    if args.naming.version.is_some() {
        let what = "--version is for an image file; packages have versions of their own";
        let hint =
            "name the version with the package, as the package manager wants it: NAME=VERSION";
        return Err(Refusal::new(what, hint).into());
    }
    let first = args.items.first().map(String::as_str).unwrap_or_default();
    let first = first.split(['=', '/', ':']).next().unwrap_or_default();
    let layer = args.naming.name.as_deref().unwrap_or(first).parse()?;
    Ok(Intent::Packages { layer, packages: args.items.clone(), inactive: None })
}

/// Whether a word may be a package's name, with a version, a release or an architecture: it is given to the package
/// manager as an argument, and stands in a generation's record.
pub(super) fn is_package(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+.-_~=:/^".contains(c);
    word.starts_with(|c: char| c.is_ascii_alphanumeric()) && word.chars().all(allowed)
}

fn asked(args: &Install) -> String {
    let mut asked = words(&args.items);
    let named = args.naming.name.iter().map(|name| format!(" --name {name}"));
    asked.extend(named.chain(args.set.iter().map(|set| format!(" --set {set}"))));
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_lists_are_no_packages() {
        for good in ["nginx", "libc6:i386", "g++", "curl=8.14.1-2", "vim/trixie", "python3.13"] {
            assert!(is_package(good), "{good}");
        }
        for bad in ["", "-y", "--purge", "a b", "a,b", "a(b", "a\nb", "../x", "$x"] {
            assert!(!is_package(bad), "{bad:?}");
        }
    }
}
