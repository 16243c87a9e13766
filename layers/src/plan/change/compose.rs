//! Over which choices of layers package triggers have to run, and what becomes of a generation when they have.
//!
//! Packages share files that index what all of them bring: the loader's cache, accounts, the package database. No layer
//! can have them, so each layer set of a generation gets a trigger layer on top, made of the very base and layers of that
//! set. It is known by the digest of what it was made from, and made once.

use sha2::{Digest as _, Sha256};

use super::{Decision, Draft, ImageFile, Refusal, State, fit, stage};
use crate::generation::Generation;
use crate::id::{Digest, Name};
use crate::layout::Layout;
use crate::trigger::Trigger;

/// A choice of layers over which triggers have to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composition {
    /// The digest of what goes in: base, layers, the table of triggers.
    pub inputs: Digest,
    /// The base's image.
    pub base: Digest,
    /// The layers and their images, bottom first; one at least.
    pub layers: Vec<(Name, Digest)>,
}

/// What came of a composition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// An image.
    Image(Box<ImageFile>),
    /// The triggers had nothing to do.
    Nothing,
    /// This machine could not run them: another one, or another day, may.
    Skipped,
}

impl Made {
    /// The image, if there is one.
    pub fn image(&self) -> Option<&ImageFile> {
        match self {
            Self::Image(image) => Some(image),
            Self::Nothing | Self::Skipped => None,
        }
    }
}

impl Composition {
    /// A table of triggers, by its digest, over a base and layers, bottom first.
    pub fn new(table: &Digest, base: Digest, layers: Vec<(Name, Digest)>) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("triggers {table}\nbase {base}\n"));
        layers.iter().for_each(|(name, digest)| hash.update(format!("layer {name} {digest}\n")));
        Self { inputs: Digest::new(hash.finalize().into()), base, layers }
    }

    /// What a generation says of it, when the triggers have made `image`, or had nothing to do.
    fn made(&self, image: Option<&ImageFile>) -> Trigger {
        Trigger {
            layers: self.layers.iter().map(|(name, _)| name.clone()).collect(),
            inputs: self.inputs,
            digest: image.map(|image| image.manifest.digest),
            dirs: image.map(|image| image.manifest.dirs.clone()).unwrap_or_default(),
        }
    }
}

/// The trigger layers of a draft that are known from other generations, and what the others have to be made of. Without
/// a table those of generations with the same base and layers are good enough, and nothing is made anew.
pub(super) fn triggers(state: &State, draft: &Draft) -> (Vec<Trigger>, Vec<Composition>) {
    let (mut known, mut missing) = (Vec::<Trigger>::new(), Vec::<Composition>::new());
    for layers in choices(draft) {
        let names: Vec<&Name> = layers.iter().map(|(name, _)| name).collect();
        let is_same = |others: &[Name]| others.iter().eq(names.iter().copied());
        let asked = known.iter().any(|trigger| is_same(&trigger.layers));
        if asked || missing.iter().any(|other| other.layers == layers) {
            continue;
        }
        let wanted =
            state.triggers.map(|table| Composition::new(&table, draft.base.digest, layers.clone()));
        let fits = |generation: &Generation, trigger: &Trigger| match &wanted {
            Some(wanted) => trigger.inputs == wanted.inputs,
            None => {
                generation.base.digest == draft.base.digest
                    && of_generation(generation, &trigger.layers) == layers
            }
        };
        let found = state.generations.values().rev().find_map(|generation| {
            let found = generation.triggers.iter().find(|trigger| fits(generation, trigger))?;
            found.digest.is_none_or(|digest| state.is_whole(&digest)).then_some(found)
        });
        match (found, wanted) {
            (Some(found), _) => known.push(found.clone()),
            (None, Some(wanted)) => missing.push(wanted),
            (None, None) => {}
        }
    }
    (known, missing)
}

/// The layers that a boot takes for each set, bottom first; sets without any need no trigger layer.
fn choices(draft: &Draft) -> impl Iterator<Item = Vec<(Name, Digest)>> {
    let chosen = draft.sets.values().map(|members| {
        let layers = fit::with_needed(&draft.layers, members).into_iter();
        layers.map(|layer| (layer.name.clone(), layer.digest)).collect::<Vec<_>>()
    });
    chosen.filter(|layers| !layers.is_empty())
}

fn of_generation(generation: &Generation, names: &[Name]) -> Vec<(Name, Digest)> {
    let layer = |name: &Name| generation.layer(name).map(|layer| (name.clone(), layer.digest));
    names.iter().filter_map(layer).collect()
}

impl Decision {
    /// Puts in what the triggers have made, one for each of [`Decision::compositions`] in their order: images to stage
    /// before anything is published, and their names in the generation's record.
    pub fn complete(
        mut self,
        state: &State,
        layout: &Layout,
        made: &[Made],
    ) -> Result<Self, Refusal> {
        let Some(generation) = &mut self.generation else { return Ok(self) };
        let pairs = self.compositions.iter().zip(made).filter(|(_, made)| **made != Made::Skipped);
        generation.triggers.extend(pairs.map(|(asked, made)| asked.made(made.image())));
        generation.check().map_err(|what| {
            Refusal::new(
                format!("this would make a generation that cannot boot: {what}"),
                "please report it with the command that you typed",
            )
        })?;
        self.rewrite();
        let images = made.iter().filter_map(Made::image);
        self.add_staged(layout, images.flat_map(|image| stage(state, layout, image)));
        self.compositions.clear();
        Ok(self)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::{Install, Request, import_base, install};
    use super::*;
    use crate::id::GenerationId;
    use crate::manifest::{Kind, Manifest};
    use crate::plan::{Op, Plan};

    pub(in super::super) fn image(name: &str, kind: Kind) -> ImageFile {
        let word = match kind {
            Kind::Base => "base",
            Kind::Layer => "layer",
            Kind::Trigger => "trigger",
            Kind::Index => "index",
        };
        let digest = Digest::new(Sha256::digest(name).into());
        let text = format!(
            "schema = 1\nname = \"{name}\"\nversion = \"1\"\nkind = \"{word}\"\narchitecture = \"any\"\n\
             format = \"erofs\"\nsize = 4096\ndigest = \"{digest}\"\ndirs = [\"etc\"]\n"
        );
        let manifest = Manifest::parse(&text).unwrap();
        ImageFile { path: format!("/{name}.img").into(), manifest, signed: None, kernel: None }
    }

    pub(in super::super) fn request(asked: &str) -> Request {
        Request { time: "2026-11-21T09:00:00Z".into(), asked: asked.into(), once: false }
    }

    pub(in super::super) fn layout() -> Layout {
        Layout::new(Path::new("/state"))
    }

    /// What the store holds when a decision was carried out.
    pub(in super::super) fn carry_out(state: &mut State, decision: Decision, images: &[ImageFile]) {
        check(&decision.plan);
        let generation = decision.generation.unwrap();
        state.pointers.default = Some(generation.id);
        state.generations.insert(generation.id, generation);
        for manifest in images.iter().map(|image| &image.manifest) {
            state.images.insert(manifest.digest, manifest.size);
            state.manifests.insert(manifest.digest, manifest.clone());
        }
    }

    fn check(plan: &Plan) {
        crate::plan::check::check_change(plan, &layout()).unwrap();
    }

    /// A store with a base and a table of triggers.
    pub(in super::super) fn store() -> State {
        let mut state = State { triggers: Some(Digest::new([7; 32])), ..State::default() };
        let base = image("debian", Kind::Base);
        let decision =
            import_base(&state, &layout(), &base, None, &request("base import")).unwrap();
        assert!(decision.compositions.is_empty(), "the base alone needs no triggers");
        carry_out(&mut state, decision, &[base]);
        state
    }

    pub(in super::super) fn add(state: &State, name: &str) -> (Decision, ImageFile) {
        let file = image(name, Kind::Layer);
        let asked = Install { files: vec![file.clone()], ..Install::default() };
        (install(state, &layout(), &asked, &request("install")).unwrap(), file)
    }

    #[test]
    fn triggers_run_over_what_a_set_needs_too() {
        let mut state = store();
        let (lib, mut app) = (image("lib", Kind::Layer), image("app", Kind::Layer));
        app.manifest.requires = vec![lib.manifest.name.clone().into()];
        let asked = Install { files: vec![lib.clone(), app.clone()], ..Install::default() };
        let decision = install(&state, &layout(), &asked, &request("install")).unwrap();
        assert_eq!(decision.compositions.len(), 1);
        let decision = decision.complete(&state, &layout(), &[Made::Nothing]).unwrap();
        carry_out(&mut state, decision, &[lib, app.clone()]);
        // A boot of this set takes both: it is the choice that is known already.
        let members = [app.manifest.name];
        let set = "spare".parse().unwrap();
        let decision = crate::plan::change::create_set(
            &state,
            &layout(),
            &set,
            &members,
            &request("set create"),
        )
        .unwrap();
        assert_eq!(decision.compositions, []);
    }

    #[test]
    fn what_triggers_made_is_staged_and_named_before_the_generation_is_published() {
        let mut state = store();
        let (decision, file) = add(&state, "htop");
        let [composition] = decision.compositions.as_slice() else { panic!("one set has layers") };
        assert_eq!(composition.layers, [("htop".parse().unwrap(), file.manifest.digest)]);
        let top = image("trigger", Kind::Trigger);
        let made = [Made::Image(Box::new(top.clone()))];
        let decision = decision.complete(&state, &layout(), &made).unwrap();
        assert!(decision.compositions.is_empty());
        let place = |test: &dyn Fn(&Op) -> bool| decision.plan.ops.iter().position(test).unwrap();
        let staged = place(&|op| matches!(op, Op::StageImage { from, .. } if *from == top.path));
        let published = place(&|op| {
            matches!(op, Op::PublishGeneration { text, .. }
                if Generation::parse(text).unwrap().triggers[0].digest == Some(top.manifest.digest))
        });
        assert!(staged < published);
        carry_out(&mut state, decision, &[file, top]);
        assert_eq!(state.generations[&GenerationId::FIRST.next().unwrap()].triggers.len(), 1);
    }

    #[test]
    fn what_was_made_once_is_not_made_again() {
        let mut state = store();
        let (decision, file) = add(&state, "htop");
        let top = image("trigger", Kind::Trigger);
        let decision =
            decision.complete(&state, &layout(), &[Made::Image(Box::new(top.clone()))]).unwrap();
        carry_out(&mut state, decision, &[file, top.clone()]);
        let (decision, file) = add(&state, "jq");
        assert_eq!(decision.compositions.len(), 1);
        let decision = decision.complete(&state, &layout(), &[Made::Nothing]).unwrap();
        carry_out(&mut state, decision, &[file]);

        let again =
            super::super::uninstall(&state, &layout(), &["jq".parse().unwrap()], &request("u"));
        let again = again.unwrap();
        assert!(again.compositions.is_empty(), "known from an earlier generation");
        let triggers = again.generation.unwrap().triggers;
        assert_eq!(triggers[0].digest, Some(top.manifest.digest));

        state.triggers = Some(Digest::new([8; 32]));
        let other =
            super::super::uninstall(&state, &layout(), &["jq".parse().unwrap()], &request("u"));
        assert_eq!(other.unwrap().compositions.len(), 1, "another table makes it anew");
        state.triggers = Some(Digest::new([7; 32]));
        state.images.remove(&top.manifest.digest);
        let lost =
            super::super::uninstall(&state, &layout(), &["jq".parse().unwrap()], &request("u"));
        assert_eq!(lost.unwrap().compositions.len(), 1, "an image that went is made anew");
    }

    #[test]
    fn what_could_not_be_made_is_asked_for_again() {
        let mut state = store();
        let (decision, file) = add(&state, "htop");
        let decision = decision.complete(&state, &layout(), &[Made::Skipped]).unwrap();
        assert_eq!(decision.generation.as_ref().unwrap().triggers, []);
        carry_out(&mut state, decision, &[file]);
        let (decision, _) = add(&state, "jq");
        assert_eq!(decision.compositions.len(), 1);
        let gone = super::super::create_set(
            &state,
            &layout(),
            &"mine".parse().unwrap(),
            &["htop".parse().unwrap()],
            &request("set create"),
        );
        assert_eq!(gone.unwrap().compositions.len(), 1, "the same layers, not made yet");
    }

    #[test]
    fn each_set_with_layers_of_its_own_has_a_composition_and_equal_ones_share_it() {
        let state = store();
        let (decision, _) = add(&state, "htop");
        let mut draft = Draft::of(&decision.generation.unwrap());
        let htop: Vec<Name> = vec!["htop".parse().unwrap()];
        let set = |name: &str| name.parse().unwrap();
        draft.sets = BTreeMap::from([
            (set("default"), htop.clone()),
            (set("same"), htop),
            (set("empty"), Vec::new()),
        ]);
        assert_eq!(triggers(&state, &draft).1.len(), 1);
        let without = State { triggers: None, ..state };
        assert_eq!(triggers(&without, &draft), (Vec::new(), Vec::new()));
    }
}
