//! Trees of Debian's own packages for programs that the machine need not have.

use crate::cache::{self, Key};
use crate::files::FileError;
use crate::process::{self, ProcessError};
use crate::sources::{RELEASE, Sources};
use crate::workspace::Workspace;
use std::path::PathBuf;

/// A minimal tree with `packages`, a list with commas; made now by mmdebstrap(1), or taken from the cache, where it is `name`.
pub fn build<E: From<FileError> + From<ProcessError>>(
    workspace: &Workspace,
    sources: &Sources,
    name: &str,
    packages: &str,
) -> Result<PathBuf, E> {
    let key = Key::new(packages).with(sources.lines().join("\n"));
    let dir = cache::directory(workspace, name, &key, |dir| {
        let mut command = process::command("mmdebstrap");
        command
            .args(["--quiet", "--variant=apt", "--format=directory", "--architectures=amd64"])
            .arg(format!("--include={packages}"))
            .arg(RELEASE)
            .arg(dir.join("root"))
            .args(sources.lines());
        Ok::<_, E>(process::run(&mut command)?)
    })?;
    Ok(dir.join("root"))
}
