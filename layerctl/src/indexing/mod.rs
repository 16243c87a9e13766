//! An index: one small EROFS image with the names and attributes of some images together, whose files say in which image and
//! at which path their bytes are. Through it a path costs the same however many images there are.
//!
//! ```text
//! images, bottom first → merge → nodes  → erofs::image   the image
//!                              → order  → data           where the kernel looks for bytes, first to last
//! ```
//!
//! The same images make the same bytes.

#![expect(clippy::disallowed_methods, reason = "writes an image")]

mod merge;
mod order;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use layers::index::Index;
use layers::manifest::{Kind, Manifest};
use layers::plan::change::{ImageFile, Indexed, Indexing};
use layers::store::inspect::OpenImage;
use sha2::{Digest as _, Sha256};

use crate::admission;
use crate::context::Context;
use crate::error::Error;
use crate::triggers::StackImage;

/// What an index is called in its manifest.
const NAME: &str = "index";

/// Makes the index of `images`, bottom first, as a new file in `work`. A boot needs none, so where it cannot be made there is
/// none, and people are told.
pub(crate) fn make(
    context: &Context,
    indexing: &Indexing,
    images: &[StackImage],
    work: &Path,
) -> Result<Option<Indexed>, Error> {
    let none = |why: &str| {
        context.ui.warn(&format!("no index was made, and paths will cost more: {why}"));
        Ok(None)
    };
    let spinner = context.ui.spinner("making an index of all images");
    let merged = merged(images)?;
    spinner.finish_and_clear();
    let merged = match merged {
        Ok(merged) => merged,
        Err(why) => return none(&why),
    };
    let data = merged.order.data();
    let version = Index::version(&indexing.inputs, &data);
    // RFC 9562, version 8: it follows from what goes in.
    let mut uuid = [0; 16];
    uuid.iter_mut().zip(indexing.inputs.bytes()).for_each(|(to, from)| *to = *from);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    // Every inode has its own time.
    let Some(bytes) = crate::erofs::image(&merged.nodes, &merged.parents, 0, uuid) else {
        return none("it would be too large for EROFS");
    };
    let path = work.join(format!("{NAME}-{version}.img"));
    if let Err(error) = fs::write(&path, &bytes) {
        // On a full disk what was asked for has the room.
        let _gone = fs::remove_file(&path);
        return none(&error.to_string());
    }
    let digest = layers::id::Digest::new(Sha256::digest(&bytes).into());
    let manifest = Manifest {
        size: bytes.len() as u64,
        ..Manifest::plain(Kind::Index, NAME.parse()?, version.parse()?, digest)
    };
    let image = ImageFile { path, manifest, signed: None, kernel: None };
    Ok(Some(Indexed { image, data, inputs: indexing.inputs }))
}

/// The merged tree; inside, why there is none.
fn merged(images: &[StackImage]) -> Result<Result<merge::Merged, String>, Error> {
    let open: Vec<OpenImage> = images
        .iter()
        .map(|image| admission::open(&image.path, image.format))
        .collect::<Result<_, Error>>()?;
    let roots: Vec<&Path> = open.iter().map(OpenImage::root).collect();
    Ok(merge::merge(&roots).map_err(|failed| {
        let image = images.get(failed.image).map(|image| image.name.to_string());
        let what = failed
            .error
            .map_or("it has attributes that EROFS has no room for".into(), |e| e.to_string());
        format!("{} of {}: {what}", failed.path.display(), image.unwrap_or_default())
    }))
}
