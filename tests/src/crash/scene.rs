//! What the verbs work on, outside of the disk that is recorded: images to import and install, and the /etc of images.

use super::CrashError;
use super::random::Random;
use crate::files;
use crate::process;
use layers::kernel::{Blob, Kernel};
use layers::manifest::{Kind, Manifest};
use layers::plan::change::{ImageFile, NewKernel};
use layers::store::stage;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// An image to make: its file, name, version, kind, what it requires, and bytes that do not compress.
type Description = (&'static str, &'static str, &'static str, Kind, &'static [&'static str], usize);

/// Small images, but for one that takes many requests to write.
const IMAGES: [Description; 9] = [
    ("base", "debian", "13", Kind::Base, &[], 20_000),
    ("base2", "debian", "14", Kind::Base, &[], 20_000),
    ("htop", "htop", "3.4", Kind::Layer, &[], 0),
    ("htop2", "htop", "3.5", Kind::Layer, &[], 0),
    ("jq", "jq", "1.7", Kind::Layer, &[], 0),
    ("app", "app", "5", Kind::Layer, &["libfoo"], 400_000),
    ("libfoo", "libfoo", "2", Kind::Layer, &[], 0),
    ("tree", "tree", "2.1", Kind::Layer, &[], 0),
    ("probe", "probe", "1", Kind::Layer, &[], 0),
];

/// The length of a kernel and of an initrd, in bytes: more than one request.
const KERNEL: usize = 100_000;

/// The files of the images' /etc, before and after an update.
const ETC: [(&str, &[(&str, &str)]); 2] = [
    ("old", &[("hosts", "old\n"), ("motd", "old\n"), ("passwd", "root:x:0:0::/:/bin/sh\n")]),
    (
        "new",
        &[
            ("hosts", "new\n"),
            ("motd", "new\n"),
            ("passwd", "root:x:0:0::/:/bin/sh\nntp:x:100:100::/:/bin/false\n"),
            (".updated", ""),
        ],
    ),
];

/// The images and directories.
pub(super) struct Scene {
    top: PathBuf,
    images: BTreeMap<&'static str, ImageFile>,
}

impl Scene {
    /// Makes everything in `top`, in place of what was there.
    pub(super) fn make(top: &Path) -> Result<Self, CrashError> {
        files::make_empty_dir(top)?;
        for (file, _, _, _, _, bytes) in IMAGES {
            let tree = top.join(file);
            files::make_dir(&tree.join("usr/share"))?;
            let mut random = Random::new(1, file);
            let mut content = file.as_bytes().to_vec();
            content.extend((0..bytes).map(|_| random.next().to_le_bytes()[7]));
            files::write(&tree.join("usr/share").join(file), content)?;
            for part in ["linux", "initrd"] {
                let bytes: Vec<u8> = (0..KERNEL).map(|_| random.next().to_le_bytes()[7]).collect();
                files::write(&tree.with_extension(part), bytes)?;
            }
            let mut command = process::command("mksquashfs");
            command.arg(&tree).arg(tree.with_extension("img"));
            command.args(["-comp", "gzip", "-all-root", "-quiet", "-no-progress", "-noappend"]);
            process::run(&mut command)?;
        }
        for (view, etc) in ETC {
            files::make_dir(&top.join("etc").join(view))?;
            for (name, text) in etc {
                files::write(&top.join("etc").join(view).join(name), text)?;
            }
        }
        Self::load(top)
    }

    /// Reads what [`Self::make`] left in `top`.
    pub(super) fn load(top: &Path) -> Result<Self, CrashError> {
        let image = |description: &Description| Ok((description.0, describe(top, description)?));
        let images = IMAGES.iter().map(image).collect::<Result<_, CrashError>>()?;
        Ok(Self { top: top.to_owned(), images })
    }

    /// Images, by the names of their files; one that is not in the table is left out.
    pub(super) fn images(&self, files: &[&str]) -> Vec<ImageFile> {
        files.iter().filter_map(|file| self.images.get(file).cloned()).collect()
    }

    /// The merged /etc of the images, `old` or `new`.
    pub(super) fn etc(&self, view: &str) -> PathBuf {
        self.top.join("etc").join(view)
    }
}

fn describe(top: &Path, description: &Description) -> Result<ImageFile, CrashError> {
    let (file, name, version, kind, requires, _) = *description;
    let path = top.join(file).with_extension("img");
    let invalid = |why: String| CrashError::Io {
        doing: "describe",
        path: path.clone(),
        source: io::Error::new(io::ErrorKind::InvalidData, why),
    };
    let superblock = stage::superblock(&path)
        .map_err(|source| CrashError::Io { doing: "read", path: path.clone(), source })?
        .map_err(|e| invalid(e.to_string()))?;
    let names = requires.iter().map(|name| name.parse());
    let name = name.parse().map_err(|_| invalid(format!("{name} is no name")))?;
    let version = version.parse().map_err(|_| invalid(format!("{version} is no version")))?;
    let manifest = Manifest {
        format: superblock.format,
        size: files::size(&path)?,
        dirs: vec!["usr".to_owned()],
        requires: names.collect::<Result<_, _>>().map_err(|_| invalid("its needs".to_owned()))?,
        marks_good: kind == Kind::Base,
        ..Manifest::plain(kind, name, version, stage::hash(&path, &mut |_| {})?)
    };
    let kernel = if kind == Kind::Base { Some(kernel(top, file)?) } else { None };
    Ok(ImageFile { path, manifest, signed: None, kernel })
}

/// A kernel and its initrd: nobody looks into them here.
fn kernel(top: &Path, base: &str) -> Result<NewKernel, CrashError> {
    let [linux, initrd] = ["linux", "initrd"].map(|part| top.join(base).with_extension(part));
    let blob = |path: &Path| -> Result<Blob, CrashError> {
        Ok(Blob { digest: stage::hash(path, &mut |_| {})?, size: files::size(path)? })
    };
    let (version, kernel) = (format!("6.12-{base}"), (blob(&linux)?, blob(&initrd)?));
    let kernel = Kernel { version, linux: kernel.0, initrd: kernel.1 };
    Ok(NewKernel { kernel, linux, initrd })
}
