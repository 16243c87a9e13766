//! Disks with a partition table, put together from images of file systems, without a mount and without being root.

use super::disk::DiskError;
use crate::files;
use crate::process;
use crate::tools::find_program;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Partitions start on multiples of this, and the table's copy at the end gets as much: one MiB, as all tools have it.
const ALIGNMENT: u64 = 1 << 20;

/// The size of a sector in bytes, in which sfdisk(8) counts.
const SECTOR: u64 = 512;

/// What a partition is for, which its type in the table says (UAPI.2, Discoverable Partitions Specification).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The EFI system partition: the firmware looks for a boot loader here.
    Esp,
    /// Any file system of Linux.
    Data,
}

impl Purpose {
    fn guid(self) -> &'static str {
        match self {
            Self::Esp => "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
            Self::Data => "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
        }
    }
}

/// A partition to be made.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Its name in the table, which `/dev/disk/by-partlabel` and `PARTLABEL=` go by.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The image of the file system in it; its size is the partition's.
    pub image: PathBuf,
}

/// Makes the disk `image` with a GUID partition table and these partitions, in this order; the file is sparse.
///
/// Returns the byte at which each partition starts.
pub fn make_gpt(partitions: &[Partition], image: &Path) -> Result<Vec<u64>, DiskError> {
    let sizes = partitions.iter().map(|one| files::size(&one.image));
    let layout = Layout::of(&sizes.collect::<Result<Vec<_>, _>>()?);
    files::make_sparse(image, layout.size)?;
    let script = image.with_extension("sfdisk");
    files::write(&script, layout.script(partitions))?;
    let mut sfdisk = process::command(program("sfdisk"));
    sfdisk.args(["--quiet", "--no-reread", "--no-tell-kernel"]).arg(image);
    process::run(sfdisk.stdin(files::open(&script)?))?;
    files::remove_file(&script)?;
    for (partition, start) in partitions.iter().zip(&layout.starts) {
        let operand = |key: &str, path: &Path| {
            let mut operand = std::ffi::OsString::from(key);
            operand.push(path);
            operand
        };
        let mut dd = process::command("dd");
        dd.arg(operand("if=", &partition.image)).arg(operand("of=", image));
        dd.arg(format!("bs={ALIGNMENT}")).arg(format!("seek={}", start / ALIGNMENT));
        process::run(dd.args(["conv=notrunc,sparse", "status=none"]))?;
    }
    Ok(layout.starts)
}

/// Where partitions lie, in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    starts: Vec<u64>,
    sizes: Vec<u64>,
    /// The whole disk's.
    size: u64,
}

impl Layout {
    fn of(sizes: &[u64]) -> Self {
        let sizes: Vec<_> = sizes.iter().map(|size| size.next_multiple_of(ALIGNMENT)).collect();
        let mut end = ALIGNMENT;
        let mut starts = Vec::new();
        for size in &sizes {
            starts.push(end);
            end += size;
        }
        Self { starts, sizes, size: end + ALIGNMENT }
    }

    /// The standard input of sfdisk(8).
    fn script(&self, partitions: &[Partition]) -> String {
        let mut script = String::from("label: gpt\n");
        for ((partition, start), size) in partitions.iter().zip(&self.starts).zip(&self.sizes) {
            let (start, size) = (start / SECTOR, size / SECTOR);
            let (kind, name) = (partition.purpose.guid(), &partition.name);
            // Writing to a string does not fail.
            let _ = writeln!(script, "start={start}, size={size}, type={kind}, name=\"{name}\"");
        }
        script
    }
}

/// These programs are in /usr/sbin, which a user's PATH may lack.
fn program(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_each_other_on_whole_mebibytes() {
        let layout = Layout::of(&[64 << 20, (2 << 20) + 1]);
        assert_eq!(layout.starts, [1 << 20, 65 << 20]);
        assert_eq!(layout.sizes, [64 << 20, 3 << 20]);
        assert_eq!(layout.size, 69 << 20);
        let partition = |name: &str, purpose| Partition {
            name: name.to_owned(),
            purpose,
            image: PathBuf::new(),
        };
        let partitions = [partition("esp", Purpose::Esp), partition("state", Purpose::Data)];
        assert_eq!(
            layout.script(&partitions),
            "label: gpt\n\
             start=2048, size=131072, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=\"esp\"\n\
             start=133120, size=6144, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=\"state\"\n"
        );
    }
}
