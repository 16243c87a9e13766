//! Whether the layers fit the base below them and each other.
//!
//! A change is refused for what it makes worse, never for what was there before: what somebody allowed once does not stand
//! in the way of the next change.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Draft, ImageFile, Refusal, State};
use crate::generation::{Base, Generation, Layer};
use crate::id::{Digest, Name, SetName};
use crate::links::{self, newest_glibc};
use crate::manifest::{ANY_ARCHITECTURE, Manifest};
use crate::scrutiny::{Check, Reaction, WARNING};

/// Names that are links into /usr where the base has no directory of that name (file-hierarchy(7)): a directory in
/// their place, and every program that is named by them is gone.
const LINKS: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// The most libraries that a message lists.
const LISTED: usize = 5;

/// Checks every layer of a draft against its base and against the others; `new` are the images that enter the store
/// with it. What the policy only warns of is added to `summary`.
pub(super) fn check(
    draft: &Draft,
    state: &State,
    new: &[&ImageFile],
    summary: &mut Vec<String>,
) -> Result<(), Refusal> {
    let manifests = Manifests { state, new };
    let before = state.start().map(|start| Stacks::of(start, manifests).complaints());
    let mut known = before.unwrap_or_default();
    for complaint in Stacks::of_draft(draft, manifests).complaints() {
        if known.contains(&complaint) {
            continue;
        }
        known.push(complaint.clone());
        let reaction = complaint.check.map(|check| state.install.reaction(check));
        match reaction {
            None => return Err(complaint.refusal),
            Some(Reaction::Refuse) => return Err(complaint.avoidable()),
            Some(Reaction::Warn) => summary.push(format!("{WARNING}{}", complaint.refusal.what)),
            Some(Reaction::Allow) => {}
        }
    }
    Ok(())
}

/// What keeps a layer from being in the set that boots by default, on top of what the next boot takes: the check that
/// decides on it, if a policy may, and the refusal. What its files are to those of others is [`crate::overlap`]'s.
pub fn misfits(state: &State, layer: &Manifest) -> Vec<(Option<Check>, Refusal)> {
    let Ok(start) = state.start() else { return Vec::new() };
    let mut draft = Draft::of(start);
    draft.layers.retain(|other| other.name != layer.name);
    draft.layers.push(Layer::from_manifest(layer, true));
    let members = draft.sets.entry(SetName::default_set()).or_default();
    if !members.contains(&layer.name) {
        members.push(layer.name.clone());
    }
    let image =
        ImageFile { path: PathBuf::new(), manifest: layer.clone(), signed: None, kernel: None };
    let new = [&image];
    let manifests = Manifests { state, new: &new };
    let known = Stacks::of(start, manifests).complaints();
    let mut found = Stacks::of_draft(&draft, manifests).complaints();
    let hidden = draft.layers.last().and_then(|layer| links(layer, &draft.base));
    found.retain(|complaint| !known.contains(complaint) && hidden.as_ref() != Some(complaint));
    found.into_iter().map(|complaint| (complaint.check, complaint.refusal)).collect()
}

/// Notes in every layer of a draft beside which others it must not be mounted.
pub(super) fn record_conflicts(draft: &mut Draft, state: &State, new: &[&ImageFile]) {
    let manifests = Manifests { state, new };
    let named: Vec<Vec<Name>> = draft
        .layers
        .iter()
        .map(|layer| {
            let others = draft.layers.iter().filter(|other| manifests.conflict(layer, other));
            others.map(|other| other.name.clone()).collect()
        })
        .collect();
    for (layer, conflicts) in draft.layers.iter_mut().zip(named) {
        // Without a manifest nothing is known, and what was found out before may well hold.
        if manifests.get(&layer.digest).is_some() {
            layer.conflicts = conflicts;
        }
    }
    let there: Vec<Name> = draft.layers.iter().map(|layer| layer.name.clone()).collect();
    for layer in &mut draft.layers {
        layer.conflicts.retain(|name| there.contains(name));
    }
}

/// The manifests of what is in the store or on its way there.
#[derive(Clone, Copy)]
struct Manifests<'a> {
    state: &'a State,
    new: &'a [&'a ImageFile],
}

impl<'a> Manifests<'a> {
    fn get(self, digest: &Digest) -> Option<&'a Manifest> {
        let arriving = self.new.iter().map(|image| &image.manifest);
        let mut all = arriving.chain(self.state.manifests.get(digest));
        all.find(|manifest| manifest.digest == *digest)
    }

    /// Whether `layer` says that it conflicts with `other`.
    fn conflict(self, layer: &Layer, other: &Layer) -> bool {
        let conflicts = self.get(&layer.digest).into_iter().flat_map(|it| &it.conflicts);
        layer.name != other.name
            && conflicts.into_iter().any(|it| it.name == other.name && it.admits(&other.version))
    }
}

/// Something that does not go together.
#[derive(Clone, PartialEq, Eq)]
struct Complaint {
    /// The check that the policy may take lightly; none for what no policy can make work.
    check: Option<Check>,
    refusal: Refusal,
}

impl Complaint {
    fn firm(what: String, hint: impl Into<String>) -> Self {
        Self { check: None, refusal: Refusal::new(what, hint) }
    }

    /// The refusal with the way around it.
    fn avoidable(self) -> Refusal {
        let Self { check, mut refusal } = self;
        if let Some(check) = check {
            refusal.hint += &format!("; to take it all the same: --allow {check}");
        }
        refusal
    }
}

/// What is mounted over each other, in one set or another.
struct Stacks<'a> {
    base: &'a Base,
    layers: &'a [Layer],
    sets: Vec<(&'a SetName, Vec<&'a Layer>)>,
    manifests: Manifests<'a>,
}

impl<'a> Stacks<'a> {
    fn of(generation: &'a Generation, manifests: Manifests<'a>) -> Self {
        Self::new(&generation.base, &generation.layers, &generation.sets, manifests)
    }

    fn of_draft(draft: &'a Draft, manifests: Manifests<'a>) -> Self {
        Self::new(&draft.base, &draft.layers, &draft.sets, manifests)
    }

    fn new(
        base: &'a Base,
        layers: &'a [Layer],
        sets: &'a std::collections::BTreeMap<SetName, Vec<Name>>,
        manifests: Manifests<'a>,
    ) -> Self {
        let sets = sets.iter().map(|(set, members)| (set, with_needed(layers, members))).collect();
        Self { base, layers, sets, manifests }
    }

    fn complaints(&self) -> Vec<Complaint> {
        let base = self.manifests.get(&self.base.digest);
        let mut complaints = Vec::new();
        for layer in self.layers {
            complaints.extend(links(layer, self.base));
            if let (Some(layer), Some(base)) = (self.manifests.get(&layer.digest), base) {
                complaints.extend(architecture(layer, base));
                complaints.extend(system(layer, base));
            }
            complaints.extend(self.requirements(layer));
        }
        for (set, layers) in &self.sets {
            complaints.extend(self.conflicts(set, layers));
            if let Some(base) = base {
                complaints.extend(self.libraries(base, layers));
            }
        }
        complaints
    }

    /// Layers that are there, but in another version than the layer needs.
    fn requirements(&self, layer: &'a Layer) -> Vec<Complaint> {
        let needs = self.manifests.get(&layer.digest).into_iter().flat_map(|it| &it.requires);
        let wrong = needs.filter_map(|need| {
            let other = self.layers.iter().find(|other| other.name == need.name)?;
            (!need.admits(&other.version)).then(|| {
                Complaint::firm(
                    format!("layer {} needs {need}, and this is {}", layer.title(), other.title()),
                    format!(
                        "give both: layerctl install --replace FILE, with a fitting {}",
                        need.name
                    ),
                )
            })
        });
        wrong.collect()
    }

    fn conflicts(&self, set: &SetName, layers: &[&'a Layer]) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for layer in layers {
            for other in layers.iter().filter(|other| self.manifests.conflict(layer, other)) {
                complaints.push(Complaint::firm(
                    format!(
                        "layer {} conflicts with layer {}, and set {set} would have both",
                        layer.title(),
                        other.title()
                    ),
                    "take one of them away: layerctl uninstall NAME; or put it in a set of its own: layerctl install --set SET",
                ));
            }
        }
        complaints
    }

    /// Shared libraries that a layer needs and that neither the base nor a layer beside it brings. Of a base whose
    /// manifest does not name its libraries nothing is known.
    fn libraries(&self, base: &Manifest, layers: &[&'a Layer]) -> Vec<Complaint> {
        if base.links.provides.is_empty() {
            return Vec::new();
        }
        let layers: Vec<&Manifest> =
            layers.iter().filter_map(|layer| self.manifests.get(&layer.digest)).collect();
        let all = || layers.iter().copied().chain([base]).flat_map(|it| &it.links.provides);
        let provided: BTreeSet<&str> = all().map(|entry| links::parts(entry).0).collect();
        let newest = all().filter_map(|entry| links::parts(entry).1).max();
        let mut complaints = Vec::new();
        for layer in layers {
            let needs = &layer.links.needs;
            if let (Some(needed), Some(has)) = (newest_glibc(needs), &newest)
                && needed > *has
            {
                complaints.push(Complaint {
                    check: Some(Check::Libraries),
                    refusal: Refusal::new(
                        format!(
                            "layer {} needs GLIBC_{needed}, the base {} has {has}",
                            layer.title(),
                            base.title()
                        ),
                        "get the layer that is built for this base, or a newer base",
                    ),
                });
            }
            let missing: BTreeSet<&str> = needs
                .iter()
                .map(|entry| links::parts(entry).0)
                .filter(|soname| !provided.contains(soname))
                .collect();
            complaints.extend(missing_libraries(layer, base, &missing));
        }
        complaints
    }
}

fn missing_libraries(
    layer: &Manifest,
    base: &Manifest,
    missing: &BTreeSet<&str>,
) -> Option<Complaint> {
    if missing.is_empty() {
        return None;
    }
    let mut list = missing.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    if let Some(more) = missing.len().checked_sub(LISTED).filter(|more| *more > 0) {
        list += &format!(" and {more} more");
    }
    Some(Complaint {
        check: Some(Check::Libraries),
        refusal: Refusal::new(
            format!(
                "layer {} needs {list}, and neither the base {} nor a layer beside it brings that",
                layer.title(),
                base.title()
            ),
            "install the layer that has it too",
        ),
    })
}

/// The layers of these names with all that they need, in the order in which they are stacked.
pub(super) fn with_needed<'a>(layers: &'a [Layer], members: &[Name]) -> Vec<&'a Layer> {
    let mut wanted: BTreeSet<&Name> = members.iter().collect();
    loop {
        let chosen = layers.iter().filter(|layer| wanted.contains(&layer.name));
        let more: Vec<&Name> = chosen
            .flat_map(|layer| &layer.requires)
            .filter(|name| !wanted.contains(name))
            .collect();
        if more.is_empty() {
            return layers.iter().filter(|layer| wanted.contains(&layer.name)).collect();
        }
        wanted.extend(more);
    }
}

fn links(layer: &Layer, base: &Base) -> Option<Complaint> {
    let has = |dirs: &[String], name: &str| dirs.iter().any(|dir| dir == name);
    let name = LINKS.into_iter().find(|name| has(&layer.dirs, name) && !has(&base.dirs, name))?;
    Some(Complaint::firm(
        format!(
            "layer {} has a directory /{name}, which would hide the base's link to /usr/{name}",
            layer.title()
        ),
        format!("build it with these files in /usr/{name}"),
    ))
}

/// A layer is of its base's architecture, or of none.
fn architecture(layer: &Manifest, base: &Manifest) -> Option<Complaint> {
    let fits_all = |manifest: &Manifest| manifest.architecture == ANY_ARCHITECTURE;
    if layer.architecture == base.architecture || fits_all(layer) || fits_all(base) {
        return None;
    }
    Some(Complaint::firm(
        format!(
            "layer {} is for {}, the base {} for {}",
            layer.title(),
            layer.architecture,
            base.title(),
            base.architecture
        ),
        format!("get the layer's {} image, or go without it", base.architecture),
    ))
}

/// A layer that says which systems it fits is on one of them. Of a base whose manifest does not say what it is nothing is
/// known.
fn system(layer: &Manifest, base: &Manifest) -> Option<Complaint> {
    let misfit = layer.fits.as_ref()?.check(base.os.as_ref()?).err()?;
    Some(Complaint {
        check: Some(Check::Systems),
        refusal: Refusal::new(
            format!("layer {} {misfit}", layer.title()),
            "get the layer that is built for this base",
        ),
    })
}
