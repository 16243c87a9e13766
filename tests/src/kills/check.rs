//! What must hold of a disk after a kill: its file system is sound once the journal is replayed, and its store can be read.

use super::KillsError;
use crate::files;
use crate::process;
use crate::tools::find_program;
use layers::layout::Layout;
use layers::plan::collect::protected;
use layers::store::{read, stage};
use std::path::Path;
use std::process::Command;

/// What is wrong with a disk, if anything is. A copy in `place` is looked at: the next boot replays the journal itself.
pub(super) fn disk(disk: &Path, place: &Path) -> Result<Option<String>, KillsError> {
    let copy = place.join("copy.img");
    process::run(process::command("cp").arg("--sparse=always").arg(disk).arg(&copy))?;
    // It reports the replay as a change.
    process::run(tool("e2fsck").args(["-y", "-E", "journal_only"]).arg(&copy)).or_else(
        |error| match &error {
            process::ProcessError::Failed { status, .. } if status.code() == Some(1) => Ok(()),
            _ => Err(error),
        },
    )?;
    if let Err(error) = process::run(tool("e2fsck").args(["-f", "-n"]).arg(&copy)) {
        return Ok(Some(format!("fsck: {error}")));
    }
    let store = place.join("dump");
    files::make_empty_dir(&store.join("layerctl"))?;
    // Not the uppers: they have devices, and nothing of the store is in them.
    for part in ["schema", "store", "generations", "boot"] {
        let request = format!("rdump /layerctl/{part} {}", store.join("layerctl").display());
        process::run(tool("debugfs").args(["-R", &request]).arg(&copy))?;
    }
    let wrong = self::store(&store);
    files::remove_tree(&store)?;
    Ok(wrong)
}

fn tool(name: &str) -> Command {
    process::command(find_program(name).unwrap_or_else(|| name.into()))
}

/// What is wrong with a store, if anything is.
fn store(state: &Path) -> Option<String> {
    let layout = match read::open(state) {
        Ok(layout) => layout,
        Err(error) => return Some(error.to_string()),
    };
    let state = match read::read_state(&layout, None) {
        Ok(state) => state,
        Err(error) => return Some(error.to_string()),
    };
    if !state.damaged.is_empty() || !state.damaged_pointers.is_empty() {
        return Some(format!("damaged: {:?} {:?}", state.damaged, state.damaged_pointers));
    }
    if state.pointers.default.is_none() {
        return Some("no generation is the default one".to_owned());
    }
    if let Some(id) = protected(&state).iter().find(|id| !state.generations.contains_key(id)) {
        return Some(format!("generation {id} is gone"));
    }
    let named = state.generations.values().flat_map(|generation| generation.digests());
    named.into_iter().find_map(|digest| is_whole(&layout, &digest).err())
}

fn is_whole(layout: &Layout, digest: &layers::id::Digest) -> Result<(), String> {
    match stage::hash(&layout.image(digest), &mut |_| {}) {
        Ok(is) if is == *digest => Ok(()),
        Ok(is) => Err(format!("image {digest} has the digest {is}")),
        Err(error) => Err(format!("image {digest}: {error}")),
    }
}
