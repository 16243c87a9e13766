//! Gathers what a boot's plan depends on from a store.

use std::collections::BTreeMap;
use std::io;

use super::{StoreError, read, stage};
use crate::generation::Generation;
use crate::id::Digest;
use crate::layout::Layout;
use crate::plan::boot::BootFacts;
use crate::policy::Dir;
use crate::superblock::Format;

/// The facts that do not depend on a generation: uppers and pointers. `kernel` and `read_only` are the caller's to know.
pub fn store(layout: &Layout) -> Result<BootFacts, StoreError> {
    let (pointers, _) = read::pointers(layout);
    let shared = [Dir::Var, Dir::Home];
    Ok(BootFacts {
        images: BTreeMap::new(),
        etc_uppers: read::etc_uppers(layout)?,
        shared_uppers: shared
            .into_iter()
            .filter(|dir| layout.upper(*dir, crate::id::GenerationId::FIRST).join("upper").is_dir())
            .collect(),
        pointers,
        kernel: None,
        read_only: None,
    })
}

/// Looks at the images of one generation, by superblock.
pub fn images(
    layout: &Layout,
    generation: &Generation,
) -> BTreeMap<Digest, Result<Format, String>> {
    generation.digests().map(|digest| (digest, image(layout, &digest))).collect()
}

fn image(layout: &Layout, digest: &Digest) -> Result<Format, String> {
    match stage::superblock(&layout.image(digest)) {
        Ok(Ok(superblock)) => Ok(superblock.format),
        Ok(Err(damage)) => Err(damage.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("is missing from the store".to_owned())
        }
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}
