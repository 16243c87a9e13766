//! `layerctl initrd`.

use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

use super::words;
use crate::cli::Initrd;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::initramfs::{self, Request, Role};

pub(super) fn run(args: &Initrd, context: &Context) -> Result<Outcome, Error> {
    let roles = roles(args)?;
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    let request = Request {
        init: args.init.clone(),
        modules_from: args.modules_from.clone(),
        kernel: args.kernel.clone(),
        roles: roles.clone(),
        shell: args.shell.clone(),
    };
    let spinner = context.ui.spinner("building the initrd");
    let bytes = initramfs::build(&request)?;
    spinner.finish_and_clear();
    let output = args.output.display();
    if args.writing.dry_run {
        context.ui.data(format!(
            "write {output} ({} bytes) for {}\n",
            bytes.len(),
            names.join(",")
        ))?;
        return Ok(Outcome::Done);
    }
    write(&args.output, &bytes)?;
    context.ui.say(&format!("built {output}: {} bytes, for {}", bytes.len(), words(&names)));
    Ok(Outcome::Done)
}

fn roles(args: &Initrd) -> Result<Vec<Role>, Error> {
    if args.roles.is_empty() {
        return Ok(initramfs::possible_roles(&args.modules_from, args.kernel.as_deref())?);
    }
    args.roles.iter().map(|name| name.parse().map_err(Error::Role)).collect()
}

/// A boot loader may read the file at any time: the old one or the new one, never a part.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::io("write", path, error);
    let absolute = std::path::absolute(path).map_err(failed)?;
    let parent = absolute.parent().unwrap_or(Path::new("/"));
    let mut file = NamedTempFile::new_in(parent).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&absolute).map_err(|error| failed(error.error))?;
    layers::store::publish::sync(parent).map_err(failed)
}
