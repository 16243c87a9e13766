//! Deletes what a boot took out of uppers, once the system runs: a process of its own, so that no boot waits for it.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use layers::{exec::HostError, id::GenerationId, layout::Layout, policy::Dir, store::discard};
use nix::unistd::chdir;

use crate::child::{Child, Streams};

/// The argument that makes this program delete what is marked in the directories after it.
const ARGUMENT: &str = "--discard";

/// Starts the deletion of what is marked beside the uppers of a generation, what an earlier boot left included. The
/// process works on paths relative to its directory: the root is switched under it.
pub fn start(layout: &Layout, generation: GenerationId) -> Result<(), HostError> {
    let uppers = layout.uppers();
    let own = [layout.etc_upper(Some(generation))];
    let all = own.into_iter().chain(Dir::ALL.map(|dir| layout.shared_upper(dir)));
    let pending = all.filter(|dir| !discard::pending(dir).is_empty());
    let relative = |dir: PathBuf| dir.strip_prefix(&uppers).map(Path::to_owned).ok();
    let pending: Vec<PathBuf> = pending.filter_map(relative).collect();
    if pending.is_empty() {
        return Ok(());
    }
    start_in(&uppers, &pending)
        .map_err(|error| HostError::io("start the deletion in", &uppers, error))
}

/// The system's init reaps it.
fn start_in(uppers: &Path, pending: &[PathBuf]) -> io::Result<()> {
    let mut arguments = vec![OsStr::new(ARGUMENT)];
    arguments.extend(pending.iter().map(|dir| dir.as_os_str()));
    chdir(uppers)?;
    let started = Child::start(Path::new("/proc/self/exe"), &arguments, &[], Streams::Nowhere);
    chdir("/")?;
    started.map(drop)
}

/// Does the deletion, where the program was started for it; gives the exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Option<i32> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let failed = arguments.filter(|dir| discard::delete(Path::new(dir)).is_err()).count();
    Some(i32::from(failed > 0))
}
