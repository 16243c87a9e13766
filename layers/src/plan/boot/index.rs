//! Which index a boot sees its root through.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::stack::Stack;
use super::usable;
use crate::id::Digest;
use crate::index::Index;
use crate::superblock::Format;

/// An index that a boot mounts.
pub(super) struct Merged {
    pub(super) digest: Digest,
    pub(super) format: Format,
    /// The images that files' bytes are in, in the order in which they are searched.
    pub(super) data: Vec<PathBuf>,
}

/// The index that was made of the very images that this boot mounts, in their order; without one, or where it cannot be
/// used, which a problem tells, the root is a plain stack, which shows the same.
pub(super) fn choose(stack: &Stack<'_>, problems: &mut Vec<String>) -> Option<Merged> {
    let indexes = &stack.generation.indexes;
    if indexes.is_empty() {
        return None;
    }
    let inputs = Index::inputs_of(stack.images.0.iter().rev().map(|image| image.digest));
    let index = indexes.iter().find(|index| index.inputs == inputs)?;
    let data = data(index, &stack.places());
    let data = data.ok_or_else(|| "is described with images that are not there".to_owned());
    match usable(stack.facts, &index.digest).and_then(|format| Ok((format, data?))) {
        Ok((format, data)) => Some(Merged { digest: index.digest, format, data }),
        Err(why) => {
            problems.push(format!(
                "the index {} {why}: the root is a plain stack",
                index.digest.short()
            ));
            None
        }
    }
}

/// The places of an index's images among those of a boot, topmost first; none where the record names one that is not there, or
/// one twice, which the kernel refuses.
fn data(index: &Index, places: &[PathBuf]) -> Option<Vec<PathBuf>> {
    let mut named = BTreeSet::new();
    let place = |from_base: &usize| {
        places.iter().rev().nth(*from_base).filter(|_| named.insert(*from_base)).cloned()
    };
    index.data.iter().map(place).collect()
}
