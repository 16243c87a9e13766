//! Gathers what a boot's plan depends on from a store.

use std::fs;
use std::io;
use std::path::Path;

use super::{StoreError, bound, read, stage};
use crate::generation::Generation;
use crate::id::Digest;
use crate::index::Index;
use crate::layout::Layout;
use crate::lowers::LowerImages;
use crate::manifest::Kind;
use crate::plan::Cover;
use crate::plan::boot::{BootFacts, EtcOrigin, EtcSource, EtcUppers, UpperFacts, etc_origin};
use crate::policy::{Dir, Scope};
use crate::superblock::Format;
use crate::trust::{Distrust, Document, Essence, Floors, Trust, Verify};

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

/// What is trusted in a store: what the initrd or the machine says, and what the store asks beside that. The error is a
/// sentence's end.
pub fn trust(layout: &Layout, built_in: &Trust) -> Result<Trust, String> {
    let mut trust = built_in.clone();
    match read::text(&layout.trust()) {
        Ok(text) => trust.raise(&Trust::parse(&text).map_err(|error| error.to_string())?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("cannot be read: {error}")),
    }
    Ok(trust)
}

/// The lowest versions that are taken: the highest that were marked good, and below these what an administrator has signed
/// off. The error is a sentence's end, and the text beside the floors says why a sign-off does not count.
pub fn floors(
    layout: &Layout,
    trust: &Trust,
    now: u64,
) -> (Result<Floors, String>, Option<String>) {
    let read = |path: &Path| match read::text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    let known = read(&layout.versions()).and_then(|text| text.unwrap_or_default().parse());
    let mut floors: Floors = match known {
        Ok(floors) => floors,
        Err(why) => {
            return (Err(format!("cannot be told from an older one: boot/versions {why}")), None);
        }
    };
    let signed_off = || -> Result<Option<Floors>, String> {
        let Some(text) = read(&layout.downgrade())? else { return Ok(None) };
        let signatures = read(&layout.downgrade_signatures())?;
        trust.signed_off(&text, signatures.as_deref(), now).map(Some)
    };
    match signed_off() {
        Ok(lower) => {
            lower.iter().for_each(|lower| floors.lower(lower));
            (Ok(floors), None)
        }
        Err(why) => (Ok(floors), Some(format!("boot/downgrade {why}"))),
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
    facts.covers.clear();
    facts.untrusted.clear();
    for digest in digests {
        if facts.images.contains_key(&digest) {
            continue;
        }
        let mut found = image(layout, &digest, facts.hashed);
        match cover(layout, generation, &digest, facts) {
            Ok(None) => {}
            Ok(Some(cover)) => drop(facts.covers.insert(digest, cover)),
            Err(why) => {
                facts.untrusted.insert(digest);
                found = Err(why.to_string());
            }
        }
        facts.images.insert(digest, found);
    }
    Ok(())
}

/// What covers an image that is signed, or why it must not be used. It is for this digest and this generation.
fn cover(
    layout: &Layout,
    generation: &Generation,
    digest: &Digest,
    facts: &BootFacts,
) -> Result<Option<Cover>, Distrust> {
    if facts.trust.verify == Verify::Off {
        return Ok(None);
    }
    let refused = |why: &str| Distrust::Refused(why.to_owned());
    let read = |path: &Path| match read::text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(_) => Err(refused("has a manifest or signature that cannot be read")),
    };
    let manifest = read(&layout.manifest(digest))?;
    let signatures = read(&layout.signatures(digest))?;
    let document = Document { manifest: manifest.as_deref(), signatures: signatures.as_deref() };
    let floors = facts.floors.as_ref().map_err(|why| Distrust::Refused(why.clone()))?;
    let Some(admitted) = facts.trust.admit(document, floors, facts.now)? else {
        return Ok(None);
    };
    let manifest = admitted.manifest;
    let length = fs::metadata(layout.image(digest)).map(|found| found.len());
    if manifest.digest != *digest || length.is_ok_and(|length| length != manifest.size) {
        return Err(refused("has a signed manifest of another image"));
    }
    if !is_as_signed(generation, &manifest) {
        return Err(refused("is described otherwise in the generation than in its manifest"));
    }
    let (tree, corruption) = (layout.tree(digest), facts.trust.corruption);
    Ok(Some(Cover { verity: manifest.verity, tree, corruption }))
}

/// Whether a generation says of an image what its manifest says, if it names it at all: what is left out there decides
/// what is mounted.
fn is_as_signed(generation: &Generation, manifest: &Essence) -> bool {
    let base = generation.base.digest == manifest.digest;
    let layer = generation.layers.iter().find(|layer| layer.digest == manifest.digest);
    let of_kind = match manifest.kind {
        Kind::Base => layer.is_none(),
        Kind::Layer => !base,
        Kind::Trigger | Kind::Index => !base && layer.is_none(),
    };
    let trigger = generation.triggers.iter().find(|one| one.digest == Some(manifest.digest));
    let index = generation.indexes.iter().find(|one| one.digest == manifest.digest);
    of_kind
        && (!base || generation.base == manifest.base())
        && trigger.is_none_or(|one| {
            manifest.kind == Kind::Trigger
                && one.dirs == manifest.dirs
                && one.inputs.to_string().starts_with(manifest.version.as_str())
        })
        && index.is_none_or(|one| {
            manifest.kind == Kind::Index
                && Index::version(&one.inputs, &one.data) == manifest.version.as_str()
        })
        && layer.is_none_or(|layer| *layer == manifest.layer(layer))
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
