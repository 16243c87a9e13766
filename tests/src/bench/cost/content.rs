//! What the stacks hold: a Debian base, and 400 packages that are divided among any number of layers.
//!
//! ```text
//! base ──┬→ base.FORMAT ─────────────────┐
//!        │                               ├→ a store for each format and number of layers
//! 400 ───┼→ FORMAT-N/layerNNN_1.img × N ─┘
//!        └→ flat.FORMAT: all of it as one image, made with the same settings
//! ```
//!
//! Whatever the number of layers, the merged tree is the same; so what a path costs more is the stack's doing alone.

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

/// How much of the libraries is cut into files, in bytes.
const POOL: usize = 16 << 20;

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

    /// The images of `count` layers among which the packages are divided.
    pub(in crate::bench) fn layers(
        &self,
        format: Format,
        count: usize,
    ) -> Result<Vec<PathBuf>, BenchError> {
        let dir = self.dir.join(format!("{}-{count}", format.name()));
        if !files::exists(&dir) {
            let packages = Packages {
                program: self.dir.join("program"),
                pool: files::read(&self.dir.join("pool"))?,
            };
            let (making, tree) = (dir.with_extension("making"), dir.with_extension("tree"));
            files::make_empty_dir(&making)?;
            for (number, range) in shares(PACKAGES, count).enumerate() {
                files::make_empty_dir(&tree)?;
                range.into_iter().try_for_each(|number| packages.write(&tree, number))?;
                let name = format!("layer{number:03}");
                let mut build = process::command(&self.programs.layerctl);
                build.arg("build").arg(&tree).args(["--name", &name, "--version", "1"]);
                build.args(["--format", format.name(), "-o"]);
                process::run(build.arg(making.join(format!("{name}_1.img"))))?;
            }
            files::remove_tree(&tree)?;
            files::rename(&making, &dir)?;
        }
        let mut images = files::list(&dir)?;
        images.retain(|path| path.extension().is_some_and(|extension| extension == "img"));
        Ok(images)
    }
}

/// Divides the numbers below `of` among `count` ranges that differ in length by at most one.
fn shares(of: usize, count: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..count).map(move |share| share * of / count..(share + 1) * of / count)
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

    /// Adds a package to a tree: a program, 46 files of 100 bytes to 4 KiB in directories of its own, an entry in /etc.
    fn write(&self, tree: &Path, number: usize) -> Result<(), BenchError> {
        let name = name(number);
        files::make_dir(&tree.join("usr/bin"))?;
        files::copy(&self.program, &tree.join("usr/bin").join(&name))?;
        let shares = (0..40).map(|file| format!("usr/share/{name}/part{}/file{file:02}", file % 4));
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
    fn shares_are_whole_and_even() {
        for count in [1, 8, 32, 64, 128, 256, 400] {
            let shares: Vec<_> = shares(PACKAGES, count).collect();
            assert_eq!(shares.len(), count);
            assert_eq!((shares[0].start, shares[count - 1].end), (0, PACKAGES));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(shares.iter().all(|share| share.len().abs_diff(PACKAGES / count) <= 1));
        }
    }

    #[test]
    fn a_file_has_the_same_bytes_each_time_and_others_than_its_neighbour() {
        let pool = (0..1_u32 << 16).flat_map(u32::to_ne_bytes).collect();
        let packages = Packages { program: PathBuf::new(), pool };
        assert_eq!(packages.piece(7), packages.piece(7));
        assert_ne!(packages.piece(7), packages.piece(8));
        assert!((0..1000).all(|number| (100..4196).contains(&packages.piece(number).len())));
    }
}
