//! `layerctl install`.

#![expect(clippy::disallowed_methods, reason = "tells files from names")]

use std::path::Path;

use layers::id::{Name, SetName};
use layers::manifest::Kind;
use layers::plan::change::{self, Refusal};

use super::words;
use crate::admission::{self, Naming};
use crate::cli::Install;
use crate::context::{Context, Outcome};
use crate::error::Error;

/// Endings that make an argument a file, even where none of that name is there.
const IMAGE_ENDINGS: [&str; 5] = ["img", "raw", "squashfs", "sqfs", "erofs"];

pub(super) fn run(args: &Install, context: &Context) -> Result<Outcome, Error> {
    let (files, typed): (Vec<&String>, Vec<&String>) =
        args.items.iter().partition(|item| is_file(item));
    let naming = Naming { name: args.naming.name.clone(), version: args.naming.version.clone() };
    if (naming.name.is_some() || naming.version.is_some()) && files.len() != 1 {
        let what = format!("--name and --version are for one image file, not for {}", files.len());
        return Err(Refusal::new(what, "install the files one by one").into());
    }
    let names = typed.into_iter().map(|text| text.parse()).collect::<Result<Vec<Name>, _>>()?;
    let set: Option<SetName> = args.set.as_deref().map(str::parse).transpose()?;
    context.make_generation(args.pointing.writing.dry_run, |store| {
        let files = files
            .iter()
            .map(|file| admit(context, &store.state, Path::new(file), &naming))
            .collect::<Result<Vec<_>, Error>>()?;
        let mut asked: Vec<String> = files.iter().map(|file| file.manifest.title()).collect();
        asked.extend(names.iter().map(ToString::to_string));
        if args.replace {
            asked.push("--replace".to_owned());
        }
        asked.extend(set.iter().map(|set| format!("--set {set}")));
        let request =
            context.request_once(format!("install {}", words(&asked)), args.pointing.try_once);
        let install =
            change::Install { files, names, set, replace: args.replace, resolved: Vec::new() };
        Ok(change::install(&store.state, &store.layout, &install, &request)?)
    })
}

fn admit(
    context: &Context,
    state: &change::State,
    file: &Path,
    naming: &Naming,
) -> Result<change::ImageFile, Error> {
    if file.is_dir() {
        let what = format!("{} is a directory, not an image", file.display());
        let hint = format!(
            "make an image of it: layerctl build {} --name N --version V -o N_V.img",
            file.display()
        );
        return Err(Refusal::new(what, hint).into());
    }
    admission::admit(context, state, file, Kind::Layer, naming)
}

fn is_file(item: &str) -> bool {
    let path = Path::new(item);
    item.contains('/')
        || path.exists()
        || path.extension().is_some_and(|ending| IMAGE_ENDINGS.iter().any(|known| ending == *known))
}
