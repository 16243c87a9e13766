//! Images from directory trees, by mksquashfs and mkfs.erofs: one tree, one name and version, the same bytes each time.

#![expect(clippy::disallowed_methods, reason = "makes image files")]

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::thread;

use layers::id::{Name, Version};
use layers::manifest::{self, Kind, Manifest};
use layers::plan::change::Refusal;
use layers::requirement::Requirement;
use layers::store::stage;
use layers::superblock::{Format, squashfs_inodes};
use sha2::{Digest as _, Sha256};

use crate::admission;
use crate::context::Context;
use crate::describe;
use crate::error::Error;
use crate::program;
use crate::source::SourceTree;

/// What an image is to be, apart from its files.
pub(crate) struct Recipe {
    /// Its name.
    pub(crate) name: Name,
    /// Its version.
    pub(crate) version: Version,
    /// Base or layer.
    pub(crate) kind: Kind,
    /// Its architecture, as systemd names it.
    pub(crate) architecture: String,
    /// Its file system.
    pub(crate) format: Format,
    /// Layers that it needs.
    pub(crate) requires: Vec<Requirement>,
    /// Layers beside which it must not be in one boot.
    pub(crate) conflicts: Vec<Requirement>,
    /// Whether a generation without it must not boot.
    pub(crate) required: bool,
    /// Whiteouts and opaque directories that it is meant to have.
    pub(crate) deletes: Vec<String>,
}

impl Recipe {
    /// What makes an image with this description.
    pub(crate) fn like(manifest: Manifest, format: Format) -> Self {
        Self {
            name: manifest.name,
            version: manifest.version,
            kind: manifest.kind,
            architecture: manifest.architecture,
            format,
            requires: manifest.requires,
            conflicts: manifest.conflicts,
            required: manifest.required,
            deletes: manifest.deletes,
        }
    }
}

/// Packs a tree into the new file `image` and gives its manifest.
pub(crate) fn pack(
    context: &Context,
    tree: &SourceTree,
    recipe: Recipe,
    image: &Path,
) -> Result<Manifest, Error> {
    admission::check_contents(&tree.name, &tree.contents, recipe.kind, &recipe.deletes)?;
    // The tree is read for both at the same time, so looking at its programs costs no time of its own.
    let (made, links) = thread::scope(|scope| {
        let links = scope.spawn(|| describe::links(&tree.root));
        let made = make(context, tree, &recipe, image);
        (made, links.join())
    });
    made?;
    let links = links.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let size = fs::metadata(image).map_err(|error| Error::io("read", image, error))?.len();
    let bar = context.ui.bar("hashing", size);
    let digest = stage::hash(image, &mut |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    let described = describe::identity(&tree.root, recipe.kind, Some(&recipe.name))?;
    Ok(Manifest {
        schema: manifest::SCHEMA,
        name: recipe.name,
        version: recipe.version,
        kind: recipe.kind,
        architecture: recipe.architecture,
        format: recipe.format,
        size,
        digest,
        dirs: tree.contents.dirs.clone(),
        kernels: admission::kernels(&tree.contents, recipe.kind),
        marks_good: admission::marks_good(&tree.contents, recipe.kind),
        requires: recipe.requires,
        required: recipe.required,
        deletes: recipe.deletes,
        conflicts: recipe.conflicts,
        packages: described.packages,
        os: admission::os(&tree.contents, recipe.kind),
        fits: described.fits,
        links,
        grants: Vec::new(),
        verity: None,
    })
}

fn make(context: &Context, tree: &SourceTree, recipe: &Recipe, image: &Path) -> Result<(), Error> {
    let spinner = context.ui.spinner("packing");
    match recipe.format {
        Format::Squashfs => squashfs(context, tree, image)?,
        // Made on every machine that gets a layer, and the same on all of them.
        Format::Erofs if recipe.kind == Kind::Trigger => {
            let uuid = uuid_number(&recipe.name, &recipe.version).to_be_bytes();
            crate::erofs::write(&tree.root, image, tree.newest, uuid)?;
        }
        Format::Erofs => erofs(context, tree, recipe, image)?,
    }
    spinner.finish_and_clear();
    Ok(())
}

fn squashfs(context: &Context, tree: &SourceTree, image: &Path) -> Result<(), Error> {
    let mut mksquashfs = program::command("mksquashfs");
    let command = &mut mksquashfs.command;
    command.arg(&tree.root).arg(image);
    // A file that cannot be read must not become an empty one.
    command.args(["-noappend", "-no-progress", "-quiet", "-no-exports", "-exit-on-error"]);
    // Level 9 is within 7 % of level 15 at a third of its time.
    command.args(["-comp", "zstd", "-Xcompression-level", "9"]);
    if !context.environment.root {
        command.arg("-all-root");
    }
    match context.environment.epoch {
        // The image's own time, and no file is newer.
        Some(epoch) => command.env("SOURCE_DATE_EPOCH", epoch.to_string()),
        None => command.arg("-mkfs-time").arg(tree.newest.to_string()),
    };
    mksquashfs.run()?;
    check_count(tree, image)
}

/// mksquashfs takes a directory that it cannot list for one that ends there, and says nothing.
fn check_count(tree: &SourceTree, image: &Path) -> Result<(), Error> {
    let mut head = [0; 8];
    File::open(image)
        .and_then(|mut file| file.read_exact(&mut head))
        .map_err(|error| Error::io("read", image, error))?;
    let has = squashfs_inodes(&head).unwrap_or_default();
    if has == tree.inodes {
        return Ok(());
    }
    let what = format!(
        "{} has {} files and directories, and {has} of them came into the image",
        tree.root.display(),
        tree.inodes
    );
    let hint = "it changed meanwhile, or could not be read (dmesg says): try again";
    Err(Refusal::new(what, hint).into())
}

fn erofs(context: &Context, tree: &SourceTree, recipe: &Recipe, image: &Path) -> Result<(), Error> {
    let mut help = program::command("mkfs.erofs");
    help.command.arg("--help");
    let help = help.run()?;
    // The help goes to standard error or output, depending on the version.
    let help = String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned();
    let mut mkfs = program::command("mkfs.erofs");
    let command = &mut mkfs.command;
    let epoch = context.environment.epoch;
    // LZ4 reads fastest, and every kernel with compressed EROFS has it. lz4hc saves a tenth of the bytes for seven times
    // the time, and crawls at 2 MB/s over what cannot be compressed (erofs-utils 1.5).
    command.args(["--quiet", "-zlz4", "-C16384"]);
    command.arg(format!("-T{}", epoch.unwrap_or(tree.newest)));
    // Before erofs-utils 1.8, -T gives this time to every file too.
    if epoch.is_none() && help.contains("--mkfs-time") {
        command.arg("--mkfs-time");
    }
    command.arg("-U").arg(uuid(&recipe.name, &recipe.version));
    if !context.environment.root {
        command.arg("--all-root");
    }
    command.arg(image).arg(&tree.root);
    mkfs.run().map(drop)
}

/// A UUID (RFC 9562, version 8) that follows from name and version.
fn uuid_number(name: &Name, version: &Version) -> u128 {
    let hash = Sha256::digest(format!("layerctl image {name} {version}"));
    let number = hash.iter().take(16).fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
    (number & !(0xf << 76) & !(0x3 << 62)) | 0x8 << 76 | 0x2 << 62
}

/// As text.
fn uuid(name: &Name, version: &Version) -> String {
    let digits = format!("{:032x}", uuid_number(name, version));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if [8, 12, 16, 20].contains(&place) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_of_version_8_and_follows_from_name_and_version() {
        let id = |version: &str| uuid(&"htop".parse().unwrap(), &version.parse().unwrap());
        let one = id("3.4");
        assert_eq!(one, id("3.4"));
        assert_ne!(one, id("3.5"));
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'8');
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }
}
