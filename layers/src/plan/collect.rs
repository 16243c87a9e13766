//! `layerctl cleanup`: what no generation that is kept can reach any more.

use std::collections::BTreeSet;

use super::Op;
use super::change::entries::{self, After};
use super::change::{Decision, Refusal, Request, State};
use crate::id::{Digest, GenerationId};
use crate::intent::Intent;
use crate::kernel::{Kernel, KernelFile};
use crate::layout::Layout;

/// Generations that are never removed: booted, default, next, good, the one that ran last, and the pinned ones.
pub fn protected(state: &State) -> BTreeSet<GenerationId> {
    let pointers = &state.pointers;
    [state.booted, pointers.default, pointers.next, pointers.good, pointers.ran]
        .into_iter()
        .flatten()
        .chain(state.pinned.iter().copied())
        .collect()
}

/// Decides what to remove: generations that are not protected and not among the `keep` newest, then the images,
/// manifests, /etc uppers and attempts that only they used, and what unfinished changes left behind.
pub fn cleanup(
    state: &State,
    layout: &Layout,
    keep: usize,
    request: &Request,
) -> Result<Decision, Refusal> {
    refuse_damaged(state, layout)?;
    let mut kept = protected(state);
    kept.extend(state.generations.keys().rev().take(keep));
    let gone: Vec<GenerationId> =
        state.generations.keys().filter(|id| !kept.contains(id)).copied().collect();
    let reachable: BTreeSet<Digest> = state
        .generations
        .values()
        .filter(|generation| kept.contains(&generation.id))
        .flat_map(|generation| generation.digests().collect::<Vec<_>>())
        .collect();

    let kept_kernels: BTreeSet<KernelFile> = state
        .generations
        .values()
        .filter(|generation| kept.contains(&generation.id))
        .flat_map(|generation| generation.kernel.iter().flat_map(Kernel::files))
        .map(|(file, _)| file)
        .collect();

    let kept_packages: BTreeSet<Digest> = state
        .generations
        .values()
        .filter(|generation| kept.contains(&generation.id))
        .flat_map(|generation| generation.requests.iter().filter_map(|text| text.parse().ok()))
        .filter_map(|intent: Intent| intent.file())
        .collect();

    // Entries go before the generations that they start, and those before what they name: nothing that is seen names
    // what is missing.
    let aligned = entries::align_or_remove(state, layout, &After::of(state).without(&gone))?;
    let notes = aligned.notes.clone();
    let mut ops = aligned.ops();
    ops.extend(gone.iter().map(|id| Op::Remove { path: layout.generation(*id) }));
    let stale_uppers = state.etc_uppers.iter().filter(|id| !kept.contains(id));
    ops.extend(
        stale_uppers.map(|id| Op::Remove { path: layout.etc_uppers().join(id.to_string()) }),
    );
    let stale_tries = state.tries.keys().filter(|id| !kept.contains(id));
    ops.extend(stale_tries.map(|id| Op::Remove { path: layout.tries_of(*id) }));
    let loose_images: Vec<_> =
        state.images.iter().filter(|(digest, _)| !reachable.contains(digest)).collect();
    ops.extend(loose_images.iter().map(|(digest, _)| Op::Remove { path: layout.image(digest) }));
    let loose_manifests = state.manifests.keys().filter(|digest| !reachable.contains(digest));
    ops.extend(loose_manifests.map(|digest| Op::Remove { path: layout.manifest(digest) }));
    let loose_signatures = state.signed.keys().filter(|digest| !reachable.contains(digest));
    ops.extend(loose_signatures.map(|digest| Op::Remove { path: layout.signatures(digest) }));
    let loose_trees = state.trees.iter().filter(|digest| !reachable.contains(digest));
    ops.extend(loose_trees.map(|digest| Op::Remove { path: layout.tree(digest) }));
    let loose_kernels: Vec<_> =
        state.kernels.iter().filter(|(file, _)| !kept_kernels.contains(file)).collect();
    ops.extend(loose_kernels.iter().map(|(file, _)| Op::Remove { path: layout.kernel_file(file) }));
    let loose_packages = state.packages.keys().filter(|digest| !kept_packages.contains(digest));
    ops.extend(loose_packages.map(|digest| Op::Remove { path: layout.package_file(digest) }));
    ops.extend(state.leftovers.iter().map(|path| Op::Remove { path: path.clone() }));

    if ops.is_empty() {
        return Ok(Decision::unchanged("nothing to clean up".to_owned()));
    }
    let mut summary: Vec<String> =
        gone.iter().map(|id| format!("removed generation {id}")).collect();
    let bytes: u64 = loose_images.iter().map(|(_, size)| *size).sum();
    summary.push(format!("removed {} images, {bytes} bytes", loose_images.len()));
    if !loose_kernels.is_empty() {
        let bytes: u64 = loose_kernels.iter().map(|(_, size)| *size).sum();
        summary.push(format!("removed {} kernels and initrds, {bytes} bytes", loose_kernels.len()));
    }
    summary.extend(notes);
    if !state.leftovers.is_empty() {
        summary.push(format!("removed {} leftovers of unfinished changes", state.leftovers.len()));
    }
    let line = format!("{}\t-\t{}", request.time, request.asked);
    ops.push(Op::AppendLine { path: layout.log(), line });
    Ok(Decision::of(ops, summary))
}

/// What a damaged generation or pointer needs is unknown, so nothing may be removed.
fn refuse_damaged(state: &State, layout: &Layout) -> Result<(), Refusal> {
    let generation = state.damaged.iter().next().map(|(id, why)| {
        let hint = format!(
            "see which still boot: layerctl status; then drop the damaged one: rm -r {}",
            layout.generation(*id).display()
        );
        Refusal::new(format!("generation {id} is damaged: {why}; nothing was removed"), hint)
    });
    let rollback = "choose the generation to boot: layerctl rollback ID";
    let pointer = state.damaged_pointers.first().map(|(path, why)| {
        let what = format!("{} {why}; nothing was removed", path.display());
        if *path == layout.default() || *path == layout.next() {
            return Refusal::new(what, rollback);
        }
        Refusal::new(what, format!("boots go on without it: rm {}", path.display()))
    });
    // Without a default generation, the last ones that boot could go.
    let default = match state.pointers.default {
        Some(id) if !state.generations.contains_key(&id) => Some(Refusal::new(
            format!("generation {id}, the default, is not there; nothing was removed"),
            rollback,
        )),
        None if !state.generations.is_empty() => {
            Some(Refusal::new("no generation is the default one; nothing was removed", rollback))
        }
        _ => None,
    };
    generation.or(pointer).or(default).map_or(Ok(()), Err)
}
