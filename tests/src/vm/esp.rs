//! The file system of an EFI system partition, made, read and changed by mtools(1), without a mount.

use super::disk::DiskError;
use crate::files;
use crate::process;
use crate::tools::find_program;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A FAT file system in a file: an image of its own, or a partition of a disk.
///
/// A running machine that has it mounted may hold back what it wrote, and does not see what is written here.
#[derive(Debug, Clone)]
pub struct Esp {
    image: PathBuf,
    /// Where the file system starts, in bytes.
    start: u64,
}

impl Esp {
    /// Makes the sparse file `image` of `mebibytes`, 34 or more, with FAT32 and the contents of `from` in it.
    pub fn make(mebibytes: u64, from: &Path, image: &Path) -> Result<Self, DiskError> {
        files::make_sparse(image, mebibytes << 20)?;
        let program = find_program("mkfs.vfat").unwrap_or_else(|| "mkfs.vfat".into());
        let mut mkfs = process::command(program);
        process::run(mkfs.args(["--invariant", "-F", "32", "-n", "ESP"]).arg(image))?;
        let esp = Self::in_disk(image, 0);
        let contents = files::list(from)?;
        if !contents.is_empty() {
            process::run(esp.command("mcopy").args(["-s", "-p", "-m"]).args(contents).arg("::"))?;
        }
        Ok(esp)
    }

    /// The file system that starts at this byte of a disk.
    pub fn in_disk(image: &Path, start: u64) -> Self {
        Self { image: image.to_owned(), start }
    }

    /// The names in a directory, given from the top and sorted; those of directories end with a slash.
    pub fn list(&self, dir: &str) -> Result<Vec<String>, DiskError> {
        let listing = process::read(self.command("mdir").args(["-b", "-a"]).arg(inside(dir)))?;
        let listing = String::from_utf8_lossy(&listing);
        let prefix = format!("{}/", inside(dir).trim_end_matches('/'));
        let mut names: Vec<_> = listing
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The text of a file.
    pub fn read(&self, path: &str) -> Result<String, DiskError> {
        let bytes = process::read(self.command("mtype").arg(inside(path)))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a file, replacing what was there; its directory is there already.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> Result<(), DiskError> {
        let source = self.image.with_extension("source");
        files::write(&source, bytes)?;
        process::run(self.command("mcopy").arg("-o").arg(&source).arg(inside(path)))?;
        Ok(files::remove_file(&source)?)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = process::command(program);
        // mtools takes nothing from the user's configuration, and asks nothing.
        command.env("MTOOLSRC", "/dev/null").env("MTOOLS_SKIP_CHECK", "1");
        command.arg("-i").arg(format!("{}@@{}", self.image.display(), self.start));
        command
    }
}

/// A path as mtools has it where the image is given with `-i`.
fn inside(path: &str) -> String {
    format!("::/{}", path.trim_start_matches('/'))
}
