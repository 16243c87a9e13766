//! `layerctl initrd`.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::words;
use crate::cli::Initrd;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::initramfs::{self, Request, Role};
use crate::uki;
use crate::work::{Holds, WorkDirectory};

pub(super) fn run(args: &Initrd, context: &Context) -> Result<Outcome, Error> {
    let roles = roles(args)?;
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    let request = Request {
        init: args.init.clone(),
        modules_from: args.modules_from.clone(),
        kernel: args.kernel.clone(),
        roles: roles.clone(),
        shell: args.shell.clone(),
        trust: context.trust_for_initrd()?,
    };
    let parts = if args.uki.uki { Some(gather(args)?) } else { None };
    let spinner = context.ui.spinner("building the initrd");
    let initrd = initramfs::build(&request)?;
    spinner.finish_and_clear();
    let output = args.output.display();
    if args.writing.dry_run {
        let size = initrd.len();
        context.ui.data(match &parts {
            None => format!("write {output} ({size} bytes) for {}\n", names.join(",")),
            Some(parts) => format!(
                "write {output} with an initrd ({size} bytes) for {}, {}\n    {}\n",
                names.join(","),
                signature(args),
                parts.cmdline
            ),
        })?;
        return Ok(Outcome::Done);
    }
    let bytes = match &parts {
        None => initrd,
        Some(parts) => {
            let work = WorkDirectory::new(".layerctl-uki-", &parent(&args.output)?, Holds::Files)?;
            uki::build(parts, &initrd, args.uki.signer(), work.path())?
        }
    };
    write(&args.output, &bytes)?;
    context.ui.say(&format!("built {output}: {} bytes, for {}", bytes.len(), words(&names)));
    if let Some(parts) = &parts {
        context.ui.say(&format!("{}; command line: {}", signature(args), parts.cmdline));
    }
    Ok(Outcome::Done)
}

fn gather(args: &Initrd) -> Result<uki::Parts, Error> {
    let version = initramfs::kernel_version(&args.modules_from, args.kernel.as_deref())?;
    args.uki.signer().map_or(Ok(()), uki::check_signer)?;
    uki::gather(&uki::Request {
        tree: &args.modules_from,
        version: &version,
        linux: args.uki.linux.as_deref(),
        stub: args.uki.stub.as_deref(),
        cmdline: args.uki.cmdline.as_deref(),
        os_release: args.uki.os_release.as_deref(),
    })
}

fn signature(args: &Initrd) -> String {
    match args.uki.signer() {
        Some((key, _)) => format!("signed with {}", key.display()),
        None => "not signed: firmware with Secure Boot does not start it".to_owned(),
    }
}

fn roles(args: &Initrd) -> Result<Vec<Role>, Error> {
    if args.roles.is_empty() {
        return Ok(initramfs::possible_roles(&args.modules_from, args.kernel.as_deref())?);
    }
    args.roles.iter().map(|name| name.parse().map_err(Error::Role)).collect()
}

/// The directory that a file is to be in.
fn parent(path: &Path) -> Result<PathBuf, Error> {
    let absolute = std::path::absolute(path).map_err(|error| Error::io("write", path, error))?;
    Ok(absolute.parent().unwrap_or(Path::new("/")).to_owned())
}

/// A boot loader may read the file at any time: the old one or the new one, never a part.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::io("write", path, error);
    let parent = parent(path)?;
    let mut file = NamedTempFile::new_in(&parent).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    layers::store::publish::sync(&parent).map_err(failed)
}
