//! Gathers what a boot's plan depends on from a store.

use std::fs;
use std::io;
use std::path::Path;

use super::{StoreError, bound, read, stage};
use crate::generation::Generation;
use crate::id::Digest;
use crate::layout::Layout;
use crate::lowers::LowerImages;
use crate::plan::boot::{BootFacts, EtcOrigin, EtcSource, EtcUppers, UpperFacts, etc_origin};
use crate::policy::{Dir, Scope};
use crate::superblock::Format;

/// The facts that do not depend on a generation: pointers, shared uppers, what is asked of the boot. `kernel` and
/// `read_only` are the caller's to know.
pub fn store(layout: &Layout) -> BootFacts {
    let (pointers, _) = read::pointers(layout);
    BootFacts {
        var: upper(&layout.shared_upper(Dir::Var)),
        home: upper(&layout.shared_upper(Dir::Home)),
        reset: read::reset(layout),
        pointers,
        ..BootFacts::default()
    }
}

/// Adds what depends on the generation: its /etc or the one that it starts from, and the images of all.
pub fn generation(
    layout: &Layout,
    generation: &Generation,
    facts: &mut BootFacts,
) -> Result<(), StoreError> {
    // What cannot be read is told where the candidates are put in order; it gives no start.
    facts.attempts = read::attempts(layout, generation.id).and_then(Result::ok);
    etc(layout, generation, facts)?;
    let var = layout.shared_upper(Dir::Var);
    let mut bound = generation.writable.bound_in_var();
    let in_the_way = |path: &String| {
        bound::check(&var, path).err().map(|error| (path.clone(), error.to_string()))
    };
    facts.unbindable.extend(bound.iter().filter_map(in_the_way));
    let unmoved = |path: &&String| {
        !Layout::bound(&var).join(path).is_dir() && has_entries(&var.join("upper").join(path))
    };
    facts.unmoved = bound.iter().filter(unmoved).cloned().collect();
    bound.retain(|path| has_entries(&Layout::bound(&var).join(path)));
    facts.occupied.clear();
    facts.occupied.extend(bound);
    let source = facts.etc_source.as_ref().map(|source| &source.upper);
    let uppers = [facts.etc.as_ref(), source, facts.home.as_ref()];
    let before = uppers.into_iter().flatten().flat_map(|upper| [&upper.lowers, &upper.presets]);
    let before = before.flatten().flat_map(|images| images.0.iter().map(|image| image.digest));
    let digests: Vec<Digest> = generation.digests().chain(before).collect();
    facts.images.clear();
    for digest in digests {
        let hashed = facts.hashed;
        facts.images.entry(digest).or_insert_with(|| image(layout, &digest, hashed));
    }
    Ok(())
}

fn etc(layout: &Layout, generation: &Generation, facts: &mut BootFacts) -> Result<(), StoreError> {
    let scope = generation.writable.etc.scope;
    let own = layout.upper(Dir::Etc, generation.id, scope);
    facts.etc = upper(&own);
    if facts.etc.is_some() {
        return Ok(());
    }
    let ran = facts.pointers.ran.and_then(|ran| read::generation(layout, ran).ok());
    let uppers = EtcUppers {
        own: read::etc_uppers(layout)?,
        shared: layout.etc_upper(None).join("upper").is_dir(),
        ran_scope: ran.map_or(Scope::Generation, |ran| ran.writable.etc.scope),
    };
    let (origin, problem) = etc_origin(generation.id, scope, &facts.pointers, &uppers);
    facts.etc_problem = problem;
    if let EtcOrigin::Other(owner) = origin {
        let upper = upper(&layout.etc_upper(owner)).unwrap_or_default();
        facts.etc_source = Some(EtcSource { owner, upper });
    }
    Ok(())
}

/// Looks again at the /etc of a generation, which the boot has just brought in line with the images.
pub fn in_line(layout: &Layout, generation: &Generation, facts: &mut BootFacts) {
    facts.etc = upper(&layout.upper(Dir::Etc, generation.id, generation.writable.etc.scope));
}

/// What is known of the upper in `dir`, if it is there.
fn upper(dir: &Path) -> Option<UpperFacts> {
    dir.join("upper").is_dir().then(|| UpperFacts {
        lowers: lowers(&Layout::lowers(dir)),
        presets: lowers(&Layout::presets(dir)),
    })
}

/// A record that is missing or damaged tells nothing.
fn lowers(path: &Path) -> Option<LowerImages> {
    read::text(path).ok()?.parse().ok()
}

fn has_entries(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut listing| listing.next().is_some())
}

fn image(layout: &Layout, digest: &Digest, hashed: bool) -> Result<Format, String> {
    let path = layout.image(digest);
    match stage::superblock(&path) {
        Ok(Ok(superblock)) if hashed => match stage::hash(&path, &mut |_| {}) {
            Ok(is) if is == *digest => Ok(superblock.format),
            Ok(is) => Err(format!("has other bytes: they hash to {}", is.short())),
            Err(error) => Err(error.to_string()),
        },
        Ok(Ok(superblock)) => Ok(superblock.format),
        Ok(Err(damage)) => Err(damage.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("is missing from the store".to_owned())
        }
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}
