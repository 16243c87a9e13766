//! `layerctl man`.

#![expect(clippy::disallowed_methods, reason = "makes the directory of the pages")]

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man as Page;
use layers::plan::change::Refusal;

use crate::cli::{Cli, Man};
use crate::context::{Context, Outcome};
use crate::error::Error;

pub(super) fn run(args: &Man, context: &Context) -> Result<Outcome, Error> {
    // The subcommands' full names, such as `layerctl set create`, come with it.
    let mut command = Cli::command();
    command.build();
    match &args.output {
        Some(directory) => write_all(command, directory, context)?,
        None => context.ui.data(page(&command, &args.command)?)?,
    }
    Ok(Outcome::Done)
}

fn page(top: &Command, words: &[String]) -> Result<Vec<u8>, Error> {
    let mut command = top;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            let what = format!("there is no command {}", words.join(" "));
            Refusal::new(what, "see which there are: layerctl --help")
        })?;
    }
    let mut text = Vec::new();
    Page::new(command.clone()).render(&mut text).map_err(Error::Output)?;
    Ok(text)
}

fn write_all(command: Command, directory: &Path, context: &Context) -> Result<(), Error> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory))
        .map_err(|error| Error::io("write manual pages to", directory, error))?;
    context.ui.say(&format!("wrote the manual pages to {}", directory.display()));
    Ok(())
}
