//! Deletes what a boot took out of uppers, once the system runs: a process of its own, so that no boot waits for it.

#![expect(clippy::disallowed_methods, reason = "starts this program once more")]

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use layers::{exec::HostError, id::GenerationId, layout::Layout, policy::Dir, store::discard};

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
    Command::new("/proc/self/exe")
        .arg(ARGUMENT)
        .args(pending)
        .current_dir(&uppers)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        // The system's init reaps it.
        .map(drop)
        .map_err(|error| HostError::io("start the deletion in", &uppers, error))
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
