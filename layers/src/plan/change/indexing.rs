//! Of which stacks a generation has an index, and what becomes of a generation when they are made.
//!
//! A path costs what its lookup in every image of a plain stack costs. The index is one small image with the names and
//! attributes of all of them together. It is known by the digests of the images, and made once.

use super::{Decision, ImageFile, Refusal, State, fit, stage};
use crate::generation::Generation;
use crate::id::{Digest, Name};
use crate::index::Index;
use crate::layout::Layout;
use crate::plan::Op;
use crate::plan::check::LOWERS_MAX;

/// So many images at least have an index: one alone is shown by a bind mount, without any overlay.
const IMAGES_MIN: usize = 2;

/// A stack that is to be indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexing {
    /// The digest of what goes in, as [`Index::inputs_of`] has it.
    pub inputs: Digest,
    /// The images, bottom first.
    pub images: Vec<Digest>,
}

/// An index that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// Its image.
    pub image: ImageFile,
    /// As in [`Index::data`].
    pub data: Vec<usize>,
    /// The digest of what it was made from.
    pub inputs: Digest,
}

impl Decision {
    /// Gives the generation those indexes that other generations have, and tells which are to be made. Its trigger layers
    /// must be known by now.
    pub fn indexings(&mut self, state: &State) -> Vec<Indexing> {
        let Some(generation) = self.generation.as_mut() else { return Vec::new() };
        let mut missing: Vec<Indexing> = Vec::new();
        for images in stacks(generation) {
            let inputs = Index::inputs_of(images.iter().copied());
            let known = generation.indexes.iter().any(|index| index.inputs == inputs);
            if known || missing.iter().any(|other| other.inputs == inputs) {
                continue;
            }
            let there = |index: &&Index| index.inputs == inputs && state.is_whole(&index.digest);
            let mut others = state.generations.values().rev().flat_map(|other| &other.indexes);
            match others.find(there) {
                Some(found) => generation.indexes.push(found.clone()),
                None => missing.push(Indexing { inputs, images }),
            }
        }
        self.rewrite();
        missing
    }

    /// Puts in the indexes that were made: images to stage before anything is published, and their names in the generation's
    /// record.
    pub fn indexed(
        mut self,
        state: &State,
        layout: &Layout,
        made: &[Indexed],
    ) -> Result<Self, Refusal> {
        let Some(generation) = &mut self.generation else { return Ok(self) };
        generation.indexes.extend(made.iter().map(|one| Index {
            digest: one.image.manifest.digest,
            data: one.data.clone(),
            inputs: one.inputs,
        }));
        self.add_staged(layout, made.iter().flat_map(|one| stage(state, layout, &one.image)));
        self.rewrite();
        Ok(self)
    }

    /// Puts operations before the first record, each once: what was asked for enters the store before what was made of it.
    pub(super) fn add_staged(&mut self, layout: &Layout, ops: impl Iterator<Item = Op>) {
        let mut staged: Vec<Op> = Vec::new();
        for op in ops {
            if !staged.contains(&op) && !self.plan.ops.contains(&op) {
                staged.push(op);
            }
        }
        let serial = layout.serial();
        let first = |op: &Op| matches!(op, Op::WriteFile { path, .. } if *path == serial);
        let at = self.plan.ops.iter().position(first).unwrap_or_default();
        self.plan.ops.splice(at..at, staged);
    }

    /// Has the plan publish the generation as it is now.
    pub(super) fn rewrite(&mut self) {
        let Some(generation) = &self.generation else { return };
        for op in &mut self.plan.ops {
            if let Op::PublishGeneration { text, .. } = op {
                *text = generation.to_string();
            }
        }
    }
}

/// The images that a boot takes for each set, bottom first. Where triggers are still to be run over some layers, what a
/// boot will put on top of these is not known.
fn stacks(generation: &Generation) -> Vec<Vec<Digest>> {
    let of_set = |members: &Vec<Name>| {
        let layers = fit::with_needed(&generation.layers, members);
        let over = generation
            .triggers
            .iter()
            .find(|trigger| trigger.layers.iter().eq(layers.iter().map(|layer| &layer.name)));
        if over.is_none() && !layers.is_empty() && !generation.triggers.is_empty() {
            return None;
        }
        let base = [generation.base.digest];
        let layers = layers.iter().map(|layer| layer.digest);
        let top = over.and_then(|trigger| trigger.digest);
        Some(base.into_iter().chain(layers).chain(top).collect::<Vec<_>>())
    };
    let stacks = generation.sets.values().filter_map(of_set);
    // The index is a lower too.
    stacks.filter(|images| (IMAGES_MIN..LOWERS_MAX).contains(&images.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::compose::tests::{add, carry_out, image, layout, request, store};
    use super::super::{Made, uninstall};
    use super::*;
    use crate::manifest::Kind;

    fn made(indexing: &Indexing, name: &str) -> Indexed {
        let image = image(name, Kind::Index);
        Indexed { image, data: vec![1, 0], inputs: indexing.inputs }
    }

    #[test]
    fn a_set_with_layers_has_an_index_of_all_that_a_boot_mounts() {
        let state = store();
        let (decision, file) = add(&state, "htop");
        let top = image("trigger", Kind::Trigger);
        let composed = [Made::Image(Box::new(top.clone()))];
        let mut decision = decision.complete(&state, &layout(), &composed).unwrap();
        let base = decision.generation.as_ref().unwrap().base.digest;
        let indexings = decision.indexings(&state);
        let [indexing] = indexings.as_slice() else { panic!("one set") };
        assert_eq!(indexing.images, [base, file.manifest.digest, top.manifest.digest]);
    }

    #[test]
    fn an_index_is_staged_before_the_generation_that_names_it_and_not_made_again() {
        let mut state = store();
        let (decision, file) = add(&state, "htop");
        let mut decision = decision.complete(&state, &layout(), &[Made::Nothing]).unwrap();
        let indexings = decision.indexings(&state);
        let index = made(&indexings[0], "index");
        let decision = decision.indexed(&state, &layout(), std::slice::from_ref(&index)).unwrap();
        let place = |test: &dyn Fn(&Op) -> bool| decision.plan.ops.iter().position(test).unwrap();
        let digest = index.image.manifest.digest;
        let staged =
            place(&|op| matches!(op, Op::StageImage { digest: staged, .. } if *staged == digest));
        let published = place(&|op| {
            matches!(op, Op::PublishGeneration { text, .. }
                if Generation::parse(text).unwrap().indexes[0].digest == digest)
        });
        assert!(staged < published);
        carry_out(&mut state, decision, &[file, index.image]);

        let (decision, jq) = add(&state, "jq");
        let mut decision = decision.complete(&state, &layout(), &[Made::Nothing]).unwrap();
        assert_eq!(decision.indexings(&state).len(), 1);
        carry_out(&mut state, decision, &[jq]);
        let again = || uninstall(&state, &layout(), &["jq".parse().unwrap()], &request("u"));
        let mut again = again().unwrap();
        assert_eq!(again.indexings(&state), [], "known from an earlier generation");
        assert_eq!(again.generation.unwrap().indexes[0].digest, digest);

        state.images.remove(&digest);
        let mut lost =
            uninstall(&state, &layout(), &["jq".parse().unwrap()], &request("u")).unwrap();
        assert_eq!(lost.indexings(&state).len(), 1, "one that went is made anew");
    }

    #[test]
    fn the_base_alone_has_none() {
        let state = store();
        let (decision, _) = add(&state, "htop");
        let mut decision = decision.complete(&state, &layout(), &[Made::Nothing]).unwrap();
        let generation = decision.generation.as_mut().unwrap();
        generation.sets.values_mut().for_each(Vec::clear);
        assert_eq!(decision.indexings(&state), []);
    }

    #[test]
    fn what_triggers_are_still_to_say_something_about_has_none() {
        let state = store();
        let (decision, _) = add(&state, "htop");
        let mut skipped = decision.complete(&state, &layout(), &[Made::Skipped]).unwrap();
        assert_eq!(skipped.indexings(&state).len(), 1, "no trigger layer at all");
        let generation = skipped.generation.as_mut().unwrap();
        let stranger = format!("other: nothing, of {}", "cd".repeat(32));
        generation.triggers = vec![stranger.parse().unwrap()];
        generation.indexes.clear();
        assert_eq!(skipped.indexings(&state), []);
    }
}
