//! `layerctl man`.

#![expect(clippy::disallowed_methods, reason = "writes the pages")]

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man as Page;
use layers::plan::change::Refusal;

use crate::cli::{Cli, Man};
use crate::context::{Context, Outcome};
use crate::error::Error;

pub(super) fn run(args: &Man, context: &Context) -> Result<Outcome, Error> {
    // The subcommands' full names, such as `layerctl set create`, come with it.
    let mut top = Cli::command();
    top.build();
    let Some(directory) = &args.output else {
        context.ui.data(page(find(&top, &args.command)?)?)?;
        return Ok(Outcome::Done);
    };
    fs::create_dir_all(directory).map_err(|error| Error::io("create", directory, error))?;
    write_all(&top, directory)?;
    context.ui.say(&format!("wrote the manual pages to {}", directory.display()));
    Ok(Outcome::Done)
}

fn find<'a>(top: &'a Command, words: &[String]) -> Result<&'a Command, Refusal> {
    let mut command = top;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            let what = format!("there is no command {}", words.join(" "));
            Refusal::new(what, "see which there are: layerctl --help")
        })?;
    }
    Ok(command)
}

fn page(command: &Command) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    Page::new(command.clone())
        .source(concat!("layerctl ", env!("CARGO_PKG_VERSION")))
        .render(&mut text)
        .map_err(Error::Output)?;
    Ok(text)
}

fn write_all(command: &Command, directory: &Path) -> Result<(), Error> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page(command)?).map_err(|error| Error::io("write", &path, error))?;
    command.get_subcommands().try_for_each(|sub| write_all(sub, directory))
}
