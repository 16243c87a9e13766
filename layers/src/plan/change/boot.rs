//! `layerctl boot sync`: the boot partition as the store says that it should be.

use super::entries::{self, After};
use super::{Decision, Refusal, Request, State};
use crate::layout::Layout;
use crate::plan::Op;

/// Decides what mends the boot partition; `state` has looked at its files' bytes.
pub fn sync_boot(state: &State, layout: &Layout, request: &Request) -> Result<Decision, Refusal> {
    let Some(partition) = &state.boot else {
        return Err(Refusal::new(
            "there is no boot partition that goes with this store",
            "mount it, or name the directory where it is mounted: --boot DIR",
        ));
    };
    let at = partition.dir.top().display();
    let start = state.start()?;
    if start.kernel.is_none() && partition.entries.is_empty() {
        return Err(Refusal::new(
            format!("generation {} has no kernel to put on the boot partition at {at}", start.id),
            "import a base that has one: layerctl base import IMAGE",
        ));
    }
    let aligned = entries::align(state, layout, &After::of(state))?;
    let mut summary = aligned.notes.clone();
    let mut ops = aligned.ops();
    if ops.is_empty() {
        summary.push(format!("the boot partition at {at} is as it should be"));
        return Ok(Decision::of(Vec::new(), summary));
    }
    summary.push(format!("the boot partition at {at} is in line with the store"));
    let line = format!("{}\t-\t{}", request.time, request.asked);
    ops.push(Op::AppendLine { path: layout.log(), line });
    Ok(Decision::of(ops, summary))
}
