//! The images of a new generation: all of them are checked before anything is done, those that the store has as well.

use layers::generation::Generation;
use layers::id::Digest;
use layers::layout::Layout;
use layers::plan::Op;
use layers::plan::change::{Decision, Refusal, State};
use layers::trust::{Document, Verify};

use super::Guard;
use crate::context::Context;

/// Checks the base and the layers of the generation that a decision makes, as the boot will: before the kernel mounts any of
/// them, and before any of their programs runs as a trigger.
pub(crate) fn check_decision(
    guard: &Guard,
    decision: &Decision,
    state: &State,
    layout: &Layout,
) -> Result<(), Refusal> {
    let Some(generation) = decision.generation.as_ref() else { return Ok(()) };
    members(guard, generation, &|digest| describe(Some(decision), state, layout, digest))
}

/// Tells which trigger layers of the generation that a decision makes are left out at boot.
pub(crate) fn check_triggers(
    context: &Context,
    guard: &Guard,
    decision: &Decision,
    state: &State,
    layout: &Layout,
) {
    let describe = |digest: &Digest| describe(Some(decision), state, layout, digest);
    decision.generation.iter().for_each(|made| triggers(context, guard, made, &describe));
}

/// Checks every image of a generation that is there.
pub(crate) fn check_generation(
    context: &Context,
    guard: &Guard,
    generation: &Generation,
    state: &State,
    layout: &Layout,
) -> Result<(), Refusal> {
    let describe = |digest: &Digest| describe(None, state, layout, digest);
    members(guard, generation, &describe)?;
    triggers(context, guard, generation, &describe);
    Ok(())
}

fn members(
    guard: &Guard,
    generation: &Generation,
    describe: &dyn Fn(&Digest) -> Described,
) -> Result<(), Refusal> {
    if guard.verify() == Verify::Off {
        return Ok(());
    }
    let base = &generation.base;
    one(guard, &format!("base {} {}", base.name, base.version), &base.digest, describe)?;
    for layer in &generation.layers {
        one(guard, &format!("layer {}", layer.title()), &layer.digest, describe)?;
    }
    Ok(())
}

/// A trigger layer that is not trusted is left out at boot, alone; so here it is only told.
fn triggers(
    context: &Context,
    guard: &Guard,
    generation: &Generation,
    describe: &dyn Fn(&Digest) -> Described,
) {
    if guard.verify() == Verify::Off {
        return;
    }
    for digest in generation.triggers.iter().filter_map(|trigger| trigger.digest) {
        let what = format!("the trigger layer of {}", generation.id);
        if let Err(refusal) = one(guard, &what, &digest, describe) {
            context.ui.warn(&format!("{}: boots leave it out", refusal.what));
            context.ui.warn(&format!("to have it signed on this machine: {}", super::MACHINE_KEY));
        }
    }
}

/// What there is of an image's description.
#[derive(Debug, Default)]
struct Described {
    manifest: Option<String>,
    signatures: Option<String>,
}

fn one(
    guard: &Guard,
    what: &str,
    digest: &Digest,
    describe: &dyn Fn(&Digest) -> Described,
) -> Result<(), Refusal> {
    let Described { manifest, signatures } = describe(digest);
    let document = Document { manifest: manifest.as_deref(), signatures: signatures.as_deref() };
    let checked = guard.check(&what, document).map_err(|refusal| match document.signatures {
        Some(_) => refusal,
        None => {
            let own = super::MACHINE_KEY;
            let hint = format!(
                "sign it: layerctl sign IMAGE --key FILE; what this machine makes itself: {own}"
            );
            Refusal { hint, ..refusal }
        }
    });
    match checked? {
        Some(admitted) if admitted.manifest.digest != *digest => Err(Refusal::new(
            format!("{what} has a signed manifest of another image"),
            "see what is damaged: layerctl verify",
        )),
        _ => Ok(()),
    }
}

/// The description that is on its way into the store, or that is there.
fn describe(
    decision: Option<&Decision>,
    state: &State,
    layout: &Layout,
    digest: &Digest,
) -> Described {
    let arriving = |place: &std::path::Path| {
        let ops = decision.iter().flat_map(|decision| &decision.plan.ops);
        // The last one is what stays.
        ops.rev().find_map(|op| match op {
            Op::WriteFile { path, text } if path == place => Some(text.clone()),
            _ => None,
        })
    };
    let stored = state.signed.get(digest);
    let manifest = arriving(&layout.manifest(digest))
        .or_else(|| stored.map(|signed| signed.manifest.clone()))
        .or_else(|| state.manifests.get(digest).map(ToString::to_string));
    let signatures = arriving(&layout.signatures(digest))
        .or_else(|| stored.map(|signed| signed.signatures.clone()));
    Described { manifest, signatures }
}
