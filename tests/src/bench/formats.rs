//! What block sizes, compressors and the settings of loop devices do to an image's size and to reading it.
//!
//! The content is the Debian base. Each image is read twice in each run: with the file in memory, where decompression and
//! the file system are what is measured, and with the file on disk alone.
#![expect(clippy::disallowed_methods, reason = "measures time, reads the mounted tree")]

use super::BenchError;
use super::cost::{Stack, StackError};
use super::figure::{Figure, Unit};
use super::machines::Format;
use crate::base::Tree;
use crate::cache::{self, Key};
use crate::files;
use crate::packages;
use crate::process;
use crate::workspace::Workspace;
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// How many small files are read.
const FILES: usize = 2_000;

/// Up to which size a file is small, in bytes.
const SMALL: u64 = 16 << 10;

/// A way to make an image.
#[derive(Debug, Clone, Copy)]
struct Recipe {
    name: &'static str,
    format: Format,
    arguments: &'static [&'static str],
}

/// The first of each format is what layerctl does.
const RECIPES: [Recipe; 11] = [
    squashfs("squashfs zstd 9, 128K", &["-comp", "zstd", "-Xcompression-level", "9"]),
    squashfs("squashfs zstd 3, 128K", &["-comp", "zstd", "-Xcompression-level", "3"]),
    squashfs("squashfs zstd 9, 64K", &["-comp", "zstd", "-Xcompression-level", "9", "-b", "64K"]),
    squashfs("squashfs zstd 9, 256K", &["-comp", "zstd", "-Xcompression-level", "9", "-b", "256K"]),
    squashfs("squashfs zstd 9, 1M", &["-comp", "zstd", "-Xcompression-level", "9", "-b", "1M"]),
    squashfs("squashfs lz4, 128K", &["-comp", "lz4"]),
    erofs("EROFS lz4, 16K", &["-zlz4", "-C16384"]),
    erofs("EROFS lz4, 64K", &["-zlz4", "-C65536"]),
    erofs("EROFS lz4hc 9, 16K", &["-zlz4hc,9", "-C16384"]),
    erofs("EROFS zstd 3, 64K", &["-zzstd,3", "-C65536"]),
    erofs("EROFS, not compressed", &[]),
];

const fn squashfs(name: &'static str, arguments: &'static [&'static str]) -> Recipe {
    Recipe { name, format: Format::Squashfs, arguments }
}

const fn erofs(name: &'static str, arguments: &'static [&'static str]) -> Recipe {
    Recipe { name, format: Format::Erofs, arguments }
}

/// A setting of the loop device that carries a squashfs image.
#[derive(Debug, Clone, Copy)]
struct Setting {
    name: &'static str,
    /// KiB that the device reads ahead; `None` is the kernel's choice.
    ahead: Option<u32>,
    /// Whether the device goes by the page cache of the image's file.
    direct: bool,
}

const SETTINGS: [Setting; 5] = [
    Setting { name: "as it is", ahead: None, direct: false },
    Setting { name: "no readahead", ahead: Some(0), direct: false },
    Setting { name: "readahead of 1 MiB", ahead: Some(1024), direct: false },
    Setting { name: "direct I/O", ahead: None, direct: true },
    Setting { name: "direct I/O, readahead of 1 MiB", ahead: Some(1024), direct: true },
];

/// An image, and what was measured of it.
struct Series {
    name: String,
    stack: Stack,
    image: PathBuf,
    setting: Setting,
    format: Format,
    /// Milliseconds of each of [`MEASURES`], run by run.
    samples: [Vec<f64>; MEASURES.len()],
}

/// What is measured, in milliseconds.
const MEASURES: [&str; 4] = [
    "2000 small files, image in memory",
    "every file, image in memory",
    "2000 small files, image on disk",
    "every file, image on disk",
];

/// Makes the images, then reads them in turns.
pub(super) fn formats(
    workspace: &Workspace,
    tree: &Tree,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let dir = images(workspace, tree)?;
    let mut figures = made(&dir)?;
    let mut series: Vec<Series> =
        RECIPES.iter().map(|recipe| Series::new(&dir, *recipe, SETTINGS[0])).collect();
    let first = RECIPES[0];
    series.extend(SETTINGS[1..].iter().map(|setting| Series::new(&dir, first, *setting)));
    for run in 1..=runs {
        for one in &mut series {
            let took = one.measure()?;
            eprintln!("xtask: run {run}, {}: {took:.0?} ms", one.name);
            one.samples.iter_mut().zip(took).for_each(|(samples, took)| samples.push(took));
        }
    }
    for (number, what) in MEASURES.iter().enumerate() {
        let of = |one: &Series| one.samples.get(number).cloned().unwrap_or_default();
        for one in &series {
            let ours = series.iter().find(|other| other.format == one.format);
            if let Some(ours) = ours.filter(|ours| ours.name != one.name) {
                let name = format!("{what}: {} ÷ {}", one.name, ours.name);
                figures.push(Figure::times(name, &of(one), &of(ours)));
            }
            figures.push(Figure::median(
                format!("{what}: {}", one.name),
                of(one),
                Unit::Milliseconds,
            ));
        }
    }
    Ok(figures)
}

/// The images, their sizes and the seconds that each took to make; from the cache if they are there.
fn images(workspace: &Workspace, tree: &Tree) -> Result<PathBuf, BenchError> {
    let key = Key::new(include_str!("formats.rs")).with(tree.tar.as_os_str().as_encoded_bytes());
    cache::directory(workspace, "bench/formats", &key, |dir| {
        let root = dir.join("tree");
        files::make_dir(&root)?;
        process::run(process::command("tar").arg("-xpf").arg(&tree.tar).arg("-C").arg(&root))?;
        let tools = packages::unpack(workspace, tree, &["erofs-utils"])?;
        let tools = tools.first().map(|unpacked| unpacked.tree.clone()).unwrap_or_default();
        for recipe in RECIPES {
            let image = image(dir, recipe);
            let mut command = match recipe.format {
                Format::Squashfs => {
                    let mut command = process::command("mksquashfs");
                    command.arg(&root).arg(&image).args(["-no-progress", "-quiet", "-no-exports"]);
                    command.args(recipe.arguments);
                    command
                }
                Format::Erofs => {
                    let mut command = debian(&root, &tools, "usr/bin/mkfs.erofs");
                    command.arg("--quiet").args(recipe.arguments).arg(&image).arg(&root);
                    command
                }
            };
            let start = Instant::now();
            process::run(&mut command)?;
            let took = start.elapsed().as_secs_f64();
            files::write(&image.with_extension("seconds"), took.to_string())?;
        }
        Ok::<_, BenchError>(files::remove_tree(&root)?)
    })
}

fn image(dir: &Path, recipe: Recipe) -> PathBuf {
    dir.join(recipe.name.replace([' ', ','], "-")).with_extension("img")
}

/// A program of Debian's package, newer than the machine's may be, with the libraries of the base.
fn debian(root: &Path, tools: &Path, program: &str) -> Command {
    let libraries = "usr/lib/x86_64-linux-gnu";
    let mut command = process::command(root.join(libraries).join("ld-linux-x86-64.so.2"));
    let paths = format!("{}:{}", tools.join(libraries).display(), root.join(libraries).display());
    command.args(["--library-path", &paths]).arg(tools.join(program));
    command
}

/// The rows of size and of making.
fn made(dir: &Path) -> Result<Vec<Figure>, BenchError> {
    let mut figures = Vec::new();
    for recipe in RECIPES {
        let image = image(dir, recipe);
        let size = files::size(&image)? as f64 / f64::from(1 << 20);
        let seconds = files::read_text(&image.with_extension("seconds"))?;
        let name = recipe.name;
        figures.push(Figure::exact(format!("size: {name}"), size, Unit::Mebibytes));
        let seconds = seconds.parse().unwrap_or_default();
        figures.push(Figure::exact(format!("time to make: {name}"), seconds, Unit::Seconds));
    }
    Ok(figures)
}

impl Series {
    fn new(dir: &Path, recipe: Recipe, setting: Setting) -> Self {
        let image = image(dir, recipe);
        let name = match setting.ahead.is_some() || setting.direct {
            true => format!("{}, {}", recipe.name, setting.name),
            false => recipe.name.to_owned(),
        };
        let stack = Stack::Image(image.clone(), recipe.format);
        Self { name, stack, image, setting, format: recipe.format, samples: Default::default() }
    }

    /// Reads small files and then all of them, on mounts that were just made.
    fn measure(&self) -> Result<[f64; MEASURES.len()], BenchError> {
        let mut took = [0.0; MEASURES.len()];
        let mut places = took.iter_mut();
        for on_disk in [false, true] {
            for all in [false, true] {
                if on_disk {
                    forget(&self.image)?;
                } else {
                    self.stack.warm()?;
                }
                let read = |root: &Path| {
                    let files = if all { files_below(root, u64::MAX)? } else { small(root)? };
                    self.setting.apply(root)?;
                    let start = Instant::now();
                    files.iter().try_for_each(|path| read(path))?;
                    Ok(start.elapsed().as_secs_f64() * 1000.0)
                };
                let (_, milliseconds) = self.stack.mounted(|| 0.0, read)?;
                if let Some(place) = places.next() {
                    *place = milliseconds;
                }
            }
        }
        Ok(took)
    }
}

impl Setting {
    /// Changes the loop device that a mount is on.
    fn apply(self, root: &Path) -> Result<(), StackError> {
        if self.ahead.is_none() && !self.direct {
            return Ok(());
        }
        let failed = |source| StackError::Read { action: "look at", path: root.to_owned(), source };
        let device = std::fs::metadata(root).map_err(failed)?.st_dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        if self.direct {
            let node = format!("/dev/loop{minor}");
            let mut losetup = process::command("losetup");
            process::run(losetup.args(["--direct-io=on", &node]))
                .map_err(|error| failed(io::Error::other(error)))?;
        }
        if let Some(ahead) = self.ahead {
            let queue = format!("/sys/dev/block/{major}:{minor}/queue/read_ahead_kb");
            files::write(Path::new(&queue), ahead.to_string())?;
        }
        Ok(())
    }
}

/// Takes an image's file out of memory.
fn forget(image: &Path) -> Result<(), BenchError> {
    let file = files::open(image)?;
    let forgotten = file.sync_all().and_then(|()| Ok(fadvise(&file, 0, None, Advice::DontNeed)?));
    Ok(forgotten.map_err(|error| files::FileError::new("forget", image, error))?)
}

/// Small files, evenly spread over the tree.
fn small(root: &Path) -> Result<Vec<PathBuf>, StackError> {
    let files = files_below(root, SMALL)?;
    let step = (files.len() / FILES).max(1);
    Ok(files.into_iter().step_by(step).take(FILES).collect())
}

/// Every regular file of at most so many bytes, sorted by path.
fn files_below(root: &Path, most: u64) -> Result<Vec<PathBuf>, StackError> {
    let mut found = files::walk(root)?;
    let fits = |path: &PathBuf| {
        std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() <= most)
    };
    found.retain(fits);
    Ok(found)
}

fn read(path: &Path) -> Result<(), StackError> {
    let read = File::open(path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
    let failed = |source| StackError::Read { action: "read", path: path.to_owned(), source };
    read.map(drop).map_err(failed)
}
