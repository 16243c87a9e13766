//! What the stacks hold: a Debian base, and 400 packages that are divided among any number of layers.
//!
//! ```text
//! base ──┬→ base.FORMAT ───────────────────────────────────┐
//!        │       a layer of each of the first N - 1,       │
//! 400 ───┼→ FORMAT/packageNNN_1.img, and one of the rest, ─┴→ a store for each format and number of layers
//!        │       FORMAT/restNNN_1.img, at the bottom
//!        └→ flat.FORMAT: all of it as one image, made with the same settings
//! ```
//!
//! Whatever the number of layers, the merged tree is the same; so what a path costs more is the stack's doing alone.

use super::stack::StackError;
use crate::base::Tree;
use crate::bench::BenchError;
use crate::bench::machines::Format;
use crate::cache::{self, Key};
use crate::files;
use crate::process;
use crate::programs::Programs;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

/// How many packages there are, and the greatest number of layers that they can be divided among.
pub(super) const PACKAGES: usize = 400;

/// Where the programs' bytes and the files' come from.
const PROGRAM: &str = "usr/bin/true";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// How many layers are made at a time.
const WORKERS: usize = 4;

/// How much of the libraries is cut into files, in bytes.
const POOL: usize = 4 << 20;

/// The images, and the paths that they hold.
pub(in crate::bench) struct Content {
    workspace: Workspace,
    programs: Programs,
    dir: PathBuf,
    /// Every path of the merged tree, sorted, relative to its root, which is not among them.
    pub(super) paths: Vec<PathBuf>,
}

impl Content {
    /// Makes base and flat images, or takes them from the cache. Needs root: owners are kept.
    pub(in crate::bench) fn build(
        workspace: &Workspace,
        programs: &Programs,
        tree: &Tree,
    ) -> Result<Self, BenchError> {
        let key =
            Key::new(include_str!("content.rs")).with(tree.tar.as_os_str().as_encoded_bytes());
        let dir = cache::directory(workspace, "bench/cost", &key, |dir| {
            let root = dir.join("tree");
            files::make_dir(&root)?;
            process::run(process::command("tar").arg("-xpf").arg(&tree.tar).arg("-C").arg(&root))?;
            let packages = Packages::of(&root)?;
            for format in Format::ALL {
                pack(&root, format, &dir.join("base"))?;
            }
            (0..PACKAGES).try_for_each(|number| packages.write(&root, number))?;
            for format in Format::ALL {
                pack(&root, format, &dir.join("flat"))?;
            }
            let paths = files::walk(&root)?;
            let paths = paths.iter().filter_map(|path| path.strip_prefix(&root).ok()?.to_str());
            files::write(&dir.join("paths"), paths.collect::<Vec<_>>().join("\n"))?;
            files::write(&dir.join("pool"), &packages.pool)?;
            files::copy(&packages.program, &dir.join("program"))?;
            Ok::<_, BenchError>(files::remove_tree(&root)?)
        })?;
        let paths = files::read_text(&dir.join("paths"))?;
        let paths = paths.lines().map(PathBuf::from).collect();
        Ok(Self { workspace: workspace.clone(), programs: programs.clone(), dir, paths })
    }

    /// All of it as one image.
    pub(in crate::bench) fn flat(&self, format: Format) -> PathBuf {
        self.dir.join("flat").with_extension(format.name())
    }

    /// The base as an image.
    pub(in crate::bench) fn base(&self, format: Format) -> PathBuf {
        self.dir.join("base").with_extension(format.name())
    }

    /// A store whose generation has the base and the packages in `count` layers.
    pub(in crate::bench) fn store(
        &self,
        format: Format,
        count: usize,
    ) -> Result<PathBuf, BenchError> {
        let layers = self.layers(format, count)?;
        let key = Key::new(include_str!("content.rs"))
            .with(files::read(&self.programs.layerctl)?)
            .with(self.dir.as_os_str().as_encoded_bytes());
        let kind = format!("bench/cost-{}-{count}", format.name());
        cache::directory(&self.workspace, &kind, &key, |root| {
            let layerctl = || {
                let mut command = process::command(&self.programs.layerctl);
                command.arg("--root").arg(root);
                command
            };
            process::run(layerctl().arg("init"))?;
            let base = self.base(format);
            let naming = ["--name", "debian", "--version", "13"];
            process::run(layerctl().args(["base", "import"]).arg(&base).args(naming))?;
            Ok(process::run(layerctl().arg("install").args(&layers))?)
        })
    }

    /// The images of `count` layers among which the packages are divided, bottom first: one has what the others, a package
    /// each, do not have.
    fn layers(&self, format: Format, count: usize) -> Result<Vec<PathBuf>, BenchError> {
        let alone = count.saturating_sub(1);
        let rest = self.layer(format, &format!("rest{alone:03}"), alone..PACKAGES)?;
        let packages = self.packages(format, alone)?;
        Ok([rest].into_iter().chain(packages).collect())
    }

    /// The images of the first packages, a layer each.
    pub(in crate::bench) fn packages(
        &self,
        format: Format,
        count: usize,
    ) -> Result<Vec<PathBuf>, BenchError> {
        let one = |number| self.layer(format, &name(number), number..number + 1);
        // A layer takes many short programs one after the other: several at a time keep the processors busy.
        let worker = |first| (first..count).step_by(WORKERS).try_for_each(|n| one(n).map(drop));
        std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..WORKERS).map(|first| scope.spawn(move || worker(first))).collect();
            workers.into_iter().try_for_each(|worker| {
                worker.join().unwrap_or_else(|_| Err(StackError::Thread.into()))
            })
        })?;
        (0..count).map(one).collect()
    }

    /// The image of a layer of some packages, made where it is not there yet.
    fn layer(
        &self,
        format: Format,
        name: &str,
        numbers: std::ops::Range<usize>,
    ) -> Result<PathBuf, BenchError> {
        let image = self.dir.join(format.name()).join(format!("{name}_1.img"));
        if !files::exists(&image) {
            let packages = Packages {
                program: self.dir.join("program"),
                pool: files::read(&self.dir.join("pool"))?,
            };
            let making = image.with_extension("making");
            let (tree, made) = (making.join("tree"), making.join("layer.img"));
            files::make_empty_dir(&making)?;
            numbers.into_iter().try_for_each(|number| packages.write(&tree, number))?;
            let mut build = process::command(&self.programs.layerctl);
            build.arg("build").arg(&tree).args(["--name", name, "--version", "1"]);
            process::run(build.args(["--format", format.name(), "-o"]).arg(&made))?;
            files::rename(&made.with_extension("toml"), &image.with_extension("toml"))?;
            files::rename(&made, &image)?;
            files::remove_tree(&making)?;
        }
        Ok(image)
    }
}

/// What the packages' files are made of.
struct Packages {
    /// The program of each, with its mode.
    program: PathBuf,
    pool: Vec<u8>,
}

impl Packages {
    /// Takes bytes of a base tree, so that they compress as files do.
    fn of(root: &Path) -> Result<Self, BenchError> {
        let mut pool = Vec::new();
        for path in files::walk(&root.join(LIBRARIES))? {
            if pool.len() >= POOL {
                break;
            }
            if files::is_file(&path) {
                pool.extend(files::read(&path)?);
            }
        }
        pool.truncate(POOL);
        Ok(Self { program: root.join(PROGRAM), pool })
    }

    /// Adds a package to a tree: a program and 18 files of 100 bytes to 4 KiB in directories of its own.
    fn write(&self, tree: &Path, number: usize) -> Result<(), BenchError> {
        let name = name(number);
        files::make_dir(&tree.join("usr/bin"))?;
        files::copy(&self.program, &tree.join("usr/bin").join(&name))?;
        let shares = (0..12).map(|file| format!("usr/share/{name}/part{}/file{file:02}", file % 4));
        let modules = (0..4).map(|file| format!("usr/lib/{name}/module{file}"));
        let others = [format!("usr/share/doc/{name}/copyright"), format!("etc/{name}/conf")];
        for (place, path) in shares.chain(modules).chain(others).enumerate() {
            let path = tree.join(path);
            files::make_dir(path.parent().unwrap_or(tree))?;
            files::write(&path, self.piece(number * 64 + place))?;
        }
        Ok(())
    }

    /// The bytes of a file: a piece of the pool whose place and length follow from its number.
    fn piece(&self, number: usize) -> &[u8] {
        // The golden ratio's multiples are spread evenly.
        let spread = number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff;
        let from = spread % self.pool.len().saturating_sub(4196).max(1);
        self.pool.get(from..).unwrap_or_default().get(..100 + spread % 4096).unwrap_or_default()
    }
}

/// A package's name, which is also its program's.
pub(super) fn name(number: usize) -> String {
    format!("package{number:03}")
}

/// Makes the image `STEM.FORMAT` with the settings that layerctl has.
fn pack(tree: &Path, format: Format, stem: &Path) -> Result<(), BenchError> {
    let image = stem.with_extension(format.name());
    let mut command = match format {
        Format::Squashfs => {
            let mut command = process::command("mksquashfs");
            command.arg(tree).arg(&image).args(["-no-progress", "-quiet", "-no-exports"]);
            command.args(["-comp", "zstd", "-Xcompression-level", "9"]);
            command
        }
        Format::Erofs => {
            let mut command = process::command("mkfs.erofs");
            command.args(["--quiet", "-zlz4", "-C16384"]).arg(&image).arg(tree);
            command
        }
    };
    Ok(process::run(&mut command)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_same_bytes_each_time_and_others_than_its_neighbour() {
        let pool = (0..1_u32 << 16).flat_map(u32::to_ne_bytes).collect();
        let packages = Packages { program: PathBuf::new(), pool };
        assert_eq!(packages.piece(7), packages.piece(7));
        assert_ne!(packages.piece(7), packages.piece(8));
        assert!((0..1000).all(|number| (100..4196).contains(&packages.piece(number).len())));
    }
}
