//! The block devices that sysfs lists now, probed (sysfs: Documentation/ABI/testing/sysfs-block and stable/sysfs-block).

#![expect(clippy::disallowed_methods, reason = "reads sysfs")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::{BlockDevice, PartitionEntry, can_hold_state, node};
use crate::probe::{self, Content};

/// /sys/class/block could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot list block devices in {path}: {source}")]
pub struct Error {
    /// The directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Probes each device once, and again only after [`Self::forget`].
pub struct Scanner {
    sys: PathBuf,
    dev: PathBuf,
    probed: BTreeMap<String, Probed>,
}

struct Probed {
    /// Whether a partition table was looked for, too.
    table: bool,
    content: Result<Content, String>,
}

/// What sysfs says of a device.
struct Listed {
    name: String,
    /// The disk's name and the number on it, for a partition.
    partition: Option<(String, u32)>,
}

impl Scanner {
    /// A scanner that finds sysfs and devtmpfs at these places.
    pub fn new(sys: &Path, dev: &Path) -> Self {
        Self { sys: sys.to_owned(), dev: dev.to_owned(), probed: BTreeMap::new() }
    }

    /// Probes the device of this name (as an event's DEVNAME has it) anew in the next scan.
    pub fn forget(&mut self, devname: &str) {
        self.probed.remove(&devname.replace('/', "!"));
    }

    /// Probes every device anew in the next scan.
    pub fn forget_all(&mut self) {
        self.probed.clear();
    }

    /// All block devices that can hold state, ordered by name.
    pub fn scan(&mut self) -> Result<Vec<BlockDevice>, Error> {
        let listed = self.list()?;
        let mut partitioned = BTreeSet::new();
        let tables = listed.iter().filter_map(|device| device.partition.as_ref());
        partitioned.extend(tables.map(|(table, _)| table.as_str()));
        for Listed { name, .. } in &listed {
            let table = partitioned.contains(name.as_str());
            let known = self.probed.get(name).is_some_and(|known| known.table || !table);
            if !known {
                let content = probe::read(&node(&self.dev, name), table)
                    .map_err(|error| error.source.to_string());
                self.probed.insert(name.clone(), Probed { table, content });
            }
        }
        Ok(listed.iter().map(|device| self.device(device)).collect())
    }

    fn device(&self, listed: &Listed) -> BlockDevice {
        let content = |name: &str| self.probed.get(name).map(|probed| &probed.content);
        let superblocks = match content(&listed.name) {
            Some(Ok(content)) => Ok(content.superblocks.clone()),
            Some(Err(why)) => Err(why.clone()),
            None => Ok(Vec::new()),
        };
        let partition = listed.partition.as_ref().and_then(|(disk, number)| {
            let table = content(disk)?.as_ref().ok()?.table.as_ref()?;
            let entry = table.partitions.iter().find(|entry| entry.number == *number)?;
            Some(PartitionEntry { uuid: entry.uuid.clone(), name: entry.name.clone() })
        });
        BlockDevice { node: node(&self.dev, &listed.name), superblocks, partition }
    }

    fn list(&self) -> Result<Vec<Listed>, Error> {
        let path = self.sys.join("class/block");
        let failed = |source| Error { path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            // The class is made with the first block device.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            names.insert(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        let mut listed = Vec::new();
        for name in names {
            let directory = path.join(&name);
            if can_hold_state(&name) && !is_empty(&directory) && !is_held(&directory) {
                let partition = partition(&directory);
                listed.push(Listed { name, partition });
            }
        }
        Ok(listed)
    }
}

// A drive without medium has size 0.
fn is_empty(directory: &Path) -> bool {
    fs::read_to_string(directory.join("size")).is_ok_and(|size| size.trim_end() == "0")
}

// A part of a device-mapper or RAID device shows the superblock of the whole; the device above it is the one meant.
fn is_held(directory: &Path) -> bool {
    fs::read_dir(directory.join("holders")).is_ok_and(|mut holders| holders.next().is_some())
}

// The entries of class/block are links into the device tree, where a partition is a directory in its disk's.
fn partition(directory: &Path) -> Option<(String, u32)> {
    let number = fs::read_to_string(directory.join("partition")).ok()?.trim_end().parse().ok()?;
    let place = fs::canonicalize(directory).ok()?;
    let disk = place.parent()?.file_name()?.to_string_lossy().into_owned();
    Some((disk, number))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, process::Command};

    use super::*;

    /// A miniature sysfs and /dev in a directory: real images stand for the device nodes.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(tempfile::TempDir::new().unwrap());
            fs::create_dir_all(machine.0.path().join("sys/class/block")).unwrap();
            fs::create_dir_all(machine.0.path().join("dev")).unwrap();
            machine
        }

        fn add(&self, place: &str, files: &[(&str, &str)]) {
            let sys = self.0.path().join("sys");
            let directory = sys.join("devices").join(place);
            fs::create_dir_all(directory.join("holders")).unwrap();
            for (file, text) in files {
                fs::write(directory.join(file), text).unwrap();
            }
            let name = directory.file_name().unwrap();
            symlink(&directory, sys.join("class/block").join(name)).unwrap();
        }

        fn image(&self, name: &str, program: &str, arguments: &[&str]) {
            let path = self.0.path().join("dev").join(name);
            fs::File::create(&path).unwrap().set_len(16 << 20).unwrap();
            let done = Command::new(program)
                .args(arguments)
                .arg(&path)
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
        }

        fn scanner(&self) -> Scanner {
            Scanner::new(&self.0.path().join("sys"), &self.0.path().join("dev"))
        }

        fn lines(&self, scanner: &mut Scanner) -> Vec<String> {
            let dev = format!("{}/", self.0.path().join("dev").display());
            let devices = scanner.scan().unwrap();
            devices.iter().map(|device| device.to_string().replace(&dev, "")).collect()
        }
    }

    #[test]
    fn disks_partitions_and_what_is_passed_over() {
        let machine = Machine::new();
        machine.add("pci/vda", &[("size", "32768\n")]);
        machine.add("pci/vda/vda1", &[("size", "2048\n"), ("partition", "1\n")]);
        machine.add("pci/vdb", &[("size", "32768\n")]);
        machine.add("pci/vdb/holders/dm-0", &[]);
        machine.add("virtual/loop0", &[("size", "100\n")]);
        machine.add("pci/sr0", &[("size", "0\n")]);
        machine.add("pci/sr1", &[("size", "4\n")]);
        machine.image("vda", "true", &[]);
        machine.image(
            "vda1",
            "mkfs.ext4",
            &["-q", "-L", "one", "-U", "00000000-0000-0000-0000-0000000000aa"],
        );
        let table = "label: gpt\nstart=2048, size=2048, uuid=AAAAAAAA-0000-0000-0000-00000000000B, name=\"p one\"\n";
        let script = machine.0.path().join("script");
        fs::write(&script, table).unwrap();
        let done = Command::new("sh")
            .args(["-c", "PATH=$PATH:/usr/sbin:/sbin exec sfdisk -q \"$1\" < \"$2\"", "sh"])
            .args([&machine.0.path().join("dev/vda"), &script])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");

        let mut scanner = machine.scanner();
        let vda1 = "vda1: ext4, LABEL=one, UUID=00000000-0000-0000-0000-0000000000aa, \
                    PARTLABEL=p one, PARTUUID=aaaaaaaa-0000-0000-0000-00000000000b";
        assert_eq!(
            machine.lines(&mut scanner),
            [
                "dm-0: cannot be read (No such file or directory (os error 2))",
                "sr1: cannot be read (No such file or directory (os error 2))",
                "vda: no known file system",
                vda1,
            ]
        );
    }

    #[test]
    fn a_device_is_probed_anew_only_when_it_changed() {
        let machine = Machine::new();
        machine.add("pci/vda", &[("size", "32768\n")]);
        machine.image("vda", "true", &[]);
        let mut scanner = machine.scanner();
        assert_eq!(machine.lines(&mut scanner), ["vda: no known file system"]);
        machine.image("vda", "mkfs.vfat", &["-n", "NEW", "-i", "11223344"]);
        assert_eq!(machine.lines(&mut scanner), ["vda: no known file system"]);
        scanner.forget("vda");
        assert_eq!(machine.lines(&mut scanner), ["vda: vfat, LABEL=NEW, UUID=1122-3344"]);
        machine.image("vda", "true", &[]);
        scanner.forget_all();
        assert_eq!(machine.lines(&mut scanner), ["vda: no known file system"]);
    }

    #[test]
    fn a_disk_whose_partitions_appear_later_is_probed_for_its_table() {
        let machine = Machine::new();
        machine.add("pci/vda", &[("size", "32768\n")]);
        machine.image("vda", "sgdisk", &["-n", "2:2048:4095", "-c", "2:late"]);
        let mut scanner = machine.scanner();
        assert_eq!(machine.lines(&mut scanner), ["vda: no known file system"]);
        machine.add("pci/vda/vda2", &[("size", "2048\n"), ("partition", "2\n")]);
        machine.image("vda2", "true", &[]);
        let lines = machine.lines(&mut scanner);
        assert!(
            lines[1].starts_with("vda2: no known file system, PARTLABEL=late, PARTUUID="),
            "{lines:?}"
        );
    }
}
