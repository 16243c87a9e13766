//! What was asked of the package manager and came out as layers: requests, apart from what is applied of them.
//!
//! A request is resolved on this machine, for one base. When the base changes all of them are resolved again, and what
//! came out is put in place in the same change: layers keep their place and their sets, those that the base makes
//! superfluous go, and come back with a base that lacks the packages.

use std::path::PathBuf;

use super::{Decision, Draft, ImageFile, Refusal, Request, State, fit, publish};
use crate::generation::{Generation, Layer};
use crate::id::{Name, SetName};
use crate::intent::Intent;
use crate::layout::Layout;
use crate::plan::Op;

/// A request and what came out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The request; an inactive one says why there is no image.
    pub intent: Intent,
    /// The layer that was built; none for an inactive request.
    pub image: Option<ImageFile>,
    /// The package's file that enters the store with it: where it is and its length in bytes. One that the store has need
    /// not be named.
    pub package: Option<(PathBuf, u64)>,
}

/// The requests of a generation; one that this program cannot read keeps it from being changed.
pub fn intents(generation: &Generation) -> Result<Vec<Intent>, Refusal> {
    let parse = |text: &String| {
        text.parse().map_err(|why| {
            Refusal::new(
                format!("generation {} asks for something unknown: {why}", generation.id),
                "use the layerctl that made it, or a newer one",
            )
        })
    };
    generation.requests.iter().map(parse).collect()
}

/// Decides how a generation is made whose requests are these and no others, newly resolved: what `layerctl override`
/// leads to.
pub fn resolve(
    state: &State,
    layout: &Layout,
    resolved: &[Resolved],
    request: &Request,
) -> Result<Decision, Refusal> {
    let start = state.start()?;
    let mut draft = Draft::of(start);
    let mut summary = Vec::new();
    put_all(&mut draft, &intents(start)?, resolved, &mut summary)?;
    if draft.layers == start.layers && draft.requests == start.requests {
        return Ok(Decision::unchanged("nothing to change: all is as asked for".to_owned()));
    }
    let images: Vec<&ImageFile> = images(resolved).collect();
    fit::check(&draft, state, &images, &mut summary)?;
    let mut decision = publish(state, layout, request, draft, &images, summary)?;
    decision.plan.ops.splice(0..0, package_files(state, layout, resolved));
    Ok(decision)
}

/// What brings packages' files into the store that it does not have.
fn package_files(state: &State, layout: &Layout, resolved: &[Resolved]) -> Vec<Op> {
    let files = resolved.iter().filter_map(|one| {
        let (from, size) = one.package.clone()?;
        let digest = one.intent.file().filter(|file| state.packages.get(file) != Some(&size))?;
        Some(Op::StageImage { from, to: layout.package_file(&digest), digest, size })
    });
    files.collect()
}

/// The images that came out.
pub(super) fn images(resolved: &[Resolved]) -> impl Iterator<Item = &ImageFile> {
    resolved.iter().filter_map(|one| one.image.as_ref())
}

/// Makes `resolved` all the requests of a draft, in place of `before`: the layers of those that went go too.
pub(super) fn put_all(
    draft: &mut Draft,
    before: &[Intent],
    resolved: &[Resolved],
    summary: &mut Vec<String>,
) -> Result<(), Refusal> {
    let layer = |intent: &Intent| intent.layer().map_err(refused_name);
    let kept = resolved.iter().map(|one| layer(&one.intent)).collect::<Result<Vec<Name>, _>>()?;
    for intent in before {
        let name = layer(intent)?;
        if !kept.contains(&name) {
            take_away(draft, &name, summary);
            forget(draft, &name);
        }
    }
    resolved.iter().try_for_each(|one| put(draft, one, &SetName::default_set(), summary))
}

/// Puts one request and its layer into a draft, in place of those of the same name; a new layer goes into `set`, one that
/// overrides the base into all sets.
pub(super) fn put(
    draft: &mut Draft,
    resolved: &Resolved,
    set: &SetName,
    summary: &mut Vec<String>,
) -> Result<(), Refusal> {
    let Resolved { intent, image, .. } = resolved;
    let name = intent.layer().map_err(refused_name)?;
    let known = draft.requests.contains(&intent.to_string());
    forget(draft, &name);
    draft.requests.push(intent.to_string());
    let Some(image) = image else {
        if let Intent::Packages { inactive: Some(why), .. } = intent
            && !known
        {
            summary.push(format!("{name} is inactive: {why}"));
        }
        take_away(draft, &name, summary);
        return Ok(());
    };
    let new = Layer::from_manifest(&image.manifest, true);
    match draft.layers.iter_mut().find(|layer| layer.name == name) {
        Some(old) if old.digest == new.digest => {}
        Some(old) => {
            summary.push(format!("replaced {} by {}", old.title(), new.title()));
            *old = new;
        }
        None => {
            summary.push(format!("added {}", new.title()));
            insert(draft, new, intent.is_override(), set);
        }
    }
    Ok(())
}

/// A change to the base's own packages lies right above it, in every set; other layers go on top.
fn insert(draft: &mut Draft, layer: Layer, overrides: bool, set: &SetName) {
    let name = layer.name.clone();
    if !overrides {
        draft.sets.entry(set.clone()).or_default().push(name);
        draft.layers.push(layer);
        return;
    }
    draft.sets.values_mut().for_each(|members| members.push(name.clone()));
    let overriding: Vec<Name> = draft
        .requests
        .iter()
        .filter_map(|text| text.parse::<Intent>().ok())
        .filter(Intent::is_override)
        .filter_map(|intent| intent.layer().ok())
        .collect();
    let above = draft.layers.iter().position(|layer| !overriding.contains(&layer.name));
    draft.layers.insert(above.unwrap_or(draft.layers.len()), layer);
}

/// Refuses a request whose layer would take the place of one that did not come of a request.
pub(super) fn check_free(draft: &Draft, intent: &Intent) -> Result<(), Refusal> {
    let name = intent.layer().map_err(refused_name)?;
    let of = |text: &String| text.parse::<Intent>().ok()?.layer().ok();
    let asked = draft.requests.iter().any(|text| of(text).as_ref() == Some(&name));
    match draft.layers.iter().find(|layer| layer.name == name).filter(|_| !asked) {
        None => Ok(()),
        Some(layer) => Err(Refusal::new(
            format!("a layer named {} is installed already: version {}", layer.name, layer.version),
            format!("choose another name with --name, or take it away: layerctl uninstall {name}"),
        )),
    }
}

fn forget(draft: &mut Draft, name: &Name) {
    let layer = |text: &String| text.parse::<Intent>().ok()?.layer().ok();
    draft.requests.retain(|text| layer(text).as_ref() != Some(name));
}

fn take_away(draft: &mut Draft, name: &Name, summary: &mut Vec<String>) {
    let gone = draft.layers.extract_if(.., |layer| layer.name == *name);
    summary.extend(gone.map(|layer| format!("removed {}", layer.title())));
    draft.sets.values_mut().for_each(|members| members.retain(|member| member != name));
}

fn refused_name(why: crate::id::IdError) -> Refusal {
    Refusal::new(why.to_string(), "choose a name for the layer: --name NAME")
}

#[cfg(test)]
mod tests {
    use super::super::compose::tests::{add, carry_out, image, layout, request, store};
    use super::*;
    use crate::manifest::Kind;

    fn resolved(intent: &str) -> Resolved {
        let intent: Intent = intent.parse().unwrap();
        let name = intent.layer().unwrap();
        let active = !matches!(&intent, Intent::Packages { inactive: Some(_), .. });
        Resolved { package: None, intent, image: active.then(|| image(name.as_str(), Kind::Layer)) }
    }

    fn apply(state: &mut State, intents: &[&str]) -> Vec<String> {
        let all: Vec<Resolved> = intents.iter().map(|text| resolved(text)).collect();
        let decision = resolve(state, &layout(), &all, &request("resolve")).unwrap();
        let summary = decision.summary.clone();
        let files: Vec<ImageFile> = images(&all).cloned().collect();
        carry_out(state, decision, &files);
        summary
    }

    fn names(state: &State) -> Vec<String> {
        state.start().unwrap().layers.iter().map(|layer| layer.name.to_string()).collect()
    }

    #[test]
    fn overrides_lie_right_above_the_base_and_are_in_every_set() {
        let mut state = store();
        let (decision, file) = add(&state, "tree");
        carry_out(&mut state, decision, &[file]);
        apply(&mut state, &["packages web: nginx curl", "remove vim-tiny"]);
        assert_eq!(names(&state), ["override-vim-tiny", "tree", "web"]);
        apply(&mut state, &["packages web: nginx curl", "remove vim-tiny", "remove nano"]);
        assert_eq!(names(&state), ["override-vim-tiny", "override-nano", "tree", "web"]);
        let start = state.start().unwrap();
        assert_eq!(start.sets[&SetName::default_set()].len(), 4);
        assert_eq!(start.requests[0], "packages web: nginx curl");
    }

    #[test]
    fn a_request_that_the_base_satisfies_is_inactive_and_comes_back() {
        let mut state = store();
        apply(&mut state, &["packages htop: htop"]);
        let inactive = "packages htop: htop (inactive: the base has htop 3.4)";
        let summary = apply(&mut state, &[inactive]);
        assert_eq!(summary[..2], ["htop is inactive: the base has htop 3.4", "removed htop 1"]);
        assert_eq!(state.start().unwrap().requests, [inactive]);
        apply(&mut state, &["packages htop: htop"]);
        assert_eq!(names(&state), ["htop"]);
    }

    #[test]
    fn what_is_no_longer_asked_for_goes() {
        let mut state = store();
        apply(&mut state, &["packages htop: htop", "remove nano"]);
        apply(&mut state, &["packages htop: htop"]);
        assert_eq!(names(&state), ["htop"]);
        let again = [resolved("packages htop: htop")];
        let decision = resolve(&state, &layout(), &again, &request("again")).unwrap();
        assert!(decision.is_unchanged());
    }

    #[test]
    fn a_package_s_file_enters_the_store_before_anything_names_it() {
        let state = store();
        let file = "ab".repeat(32);
        let mut replaced = resolved(&format!("replace htop 2:3.4 {file}"));
        replaced.package = Some(("/htop.deb".into(), 12));
        let decision = resolve(&state, &layout(), &[replaced], &request("replace")).unwrap();
        let staged = decision.plan.ops.first().unwrap().to_string();
        assert_eq!(
            staged,
            format!("stage /htop.deb as /state/layerctl/store/{file}.deb (12 bytes)")
        );
        crate::plan::check::check_change(&decision.plan, &layout()).unwrap();
    }
}
