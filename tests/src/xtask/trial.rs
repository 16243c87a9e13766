//! `cargo xtask try`.

use super::TaskError;
use crate::artefacts::Artefacts;
use crate::files;
use crate::process;
use crate::tools;
use crate::vm::{Drive, Filesystem, Machine, make_disk};
use crate::workspace::Workspace;
use clap::Args;
use std::path::PathBuf;
use std::process::Stdio;

/// The size of the state disk in MiB; the file is sparse.
const STATE_SIZE: u64 = 4096;

#[derive(Debug, Args)]
pub(super) struct TryArguments {
    /// Start from a new state disk, without what earlier runs installed
    #[arg(long)]
    fresh: bool,
    /// The state disk [default: target/try/state.img, which keeps what was done from one run to the next]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Words to add to the kernel command line, such as layers.ephemeral
    append: Vec<String>,
}

pub(super) fn run(arguments: &TryArguments) -> Result<(), TaskError> {
    tools::provide()?;
    let workspace = Workspace::here();
    let artefacts = Artefacts::build(&workspace)?;
    let own = workspace.target().join("try/state.img");
    let state = arguments.state.clone().unwrap_or(own);
    let media = state.with_extension("media");
    if arguments.fresh {
        files::remove_file(&state)?;
    }
    if !files::exists(&state) {
        let new = state.with_extension("new");
        make_disk(Filesystem::Ext4, "layers", STATE_SIZE, &artefacts.state, &new)?;
        files::rename(&new, &state)?;
    }
    make_disk(Filesystem::Ext4, "layermedia", 64, &artefacts.layers, &media)?;
    let machine = Machine::new("try", &artefacts.kernel, &artefacts.initrd)
        .drive(Drive::writable(&state))
        .drive(Drive::read_only(&media))
        .append("quiet layers.state=LABEL=layers")
        .append(&arguments.append.join(" "));
    eprintln!(
        "xtask: root logs in by itself; layer images are in /layers; `systemctl poweroff`, or \
         Ctrl-A X, ends the machine; what you change is kept, `cargo xtask try --fresh` starts anew"
    );
    let mut command = machine.command("mon:stdio");
    Ok(process::show(command.stdin(Stdio::inherit()))?)
}
