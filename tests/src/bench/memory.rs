//! What 64 mounted images cost in memory: page cache, slab, and what else the kernel takes.
//!
//! A guest mounts them in one way each, walks them, reads them, and says /proc/meminfo after each step; what a guest says
//! that mounts none, and else does the same, is taken from that. Nothing else runs there, and Debian's kernel is the one that
//! counts: it has a decompressor for each processor.

use super::BenchError;
use super::cost::Content;
use super::figure::{Figure, Unit};
use super::machines::{DEADLINE, END, Format, Machines};
use super::store::Store;
use crate::base::Tree;
use crate::cache::{self, Key};
use crate::files;
use crate::programs::{self, Programs};
use crate::tools::find_program;
use crate::vm::{Drive, Filesystem, Machine, make_disk};
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

/// How many images are mounted.
const MOUNTS: usize = 64;

/// Size of the disk in MiB; the file is sparse.
const DISK_SIZE: u64 = 1024;

/// Where the disk's own directory is in the guest, and what lies in it.
const SCRIPT: &str = r#"#!/bin/sh
# run FORMAT BACKING buffered|direct COUNT
cd /run/initramfs/layers/state/bench
say() {
    sync
    sed "s/^/memory: $1: /" /proc/meminfo
}
modprobe -a loop squashfs erofs
mkdir /run/mounts
format=$1 backing=$2 io=$3 count=$4
# One mount in any case: what a format needs once, for any number of mounts, is no image's cost.
./mounts "$format" "$backing" /run/once images/"$format"/package000_1.img
ls images/"$format"/* | sed 1d | head -n "$count" >/run/images
xargs -r ./mounts "$format" "$backing" /run/mounts </run/images
for loop in /sys/block/loop*/loop; do
    disk=${loop#/sys/block/}
    [ "$io" = buffered ] || ./losetup --direct-io=on "/dev/${disk%/loop}"
done
echo "memory: direct: $(cat /sys/block/loop*/loop/dio | grep -c 1)"
echo 1 >/proc/sys/vm/stat_refresh
say mounted
find /run/mounts -size +9999999 2>&1
say walked
find /run/mounts -type f -print0 | xargs -0r cat >/dev/null
say "read"
echo "bench: end"
echo o >/proc/sysrq-trigger
read -r _
"#;

/// How a loop device reads its file: through that file's page cache, or past it.
const BUFFERED: &str = "buffered";
const DIRECT: &str = "direct";

/// A way to mount an image.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Way {
    name: &'static str,
    format: Format,
    backing: &'static str,
    io: &'static str,
    processors: u32,
}

/// All that are measured.
const WAYS: [Way; 6] = [
    way("squashfs on loop devices", Format::Squashfs, "loop", BUFFERED),
    Way {
        processors: 4,
        ..way("squashfs on loop devices, 4 processors", Format::Squashfs, "loop", BUFFERED)
    },
    way("squashfs on loop devices with direct I/O", Format::Squashfs, "loop", DIRECT),
    way("EROFS on loop devices", Format::Erofs, "loop", BUFFERED),
    way("EROFS on loop devices with direct I/O", Format::Erofs, "loop", DIRECT),
    way("EROFS from files", Format::Erofs, "file", BUFFERED),
];

const fn way(name: &'static str, format: Format, backing: &'static str, io: &'static str) -> Way {
    Way { name, format, backing, io, processors: 1 }
}

/// What the guest has in use, in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Use {
    /// Everything but free memory.
    all: f64,
    /// Contents of files and of block devices.
    cache: f64,
    /// Inodes, directory entries and whatever else is in slabs.
    slab: f64,
}

impl Use {
    /// Reads the lines `memory: POINT: KEY: N kB`.
    fn parse(said: &str, point: &str) -> Option<Self> {
        let prefix = format!("memory: {point}: ");
        let value = |key: &str| {
            let lines = said.lines().filter_map(|line| line.strip_prefix(&prefix));
            let mut values = lines.filter_map(|line| line.split_once(':'));
            let (_, text) = values.find(|(found, _)| *found == key)?;
            let kibibytes: f64 = text.split_whitespace().next()?.parse().ok()?;
            Some(kibibytes / 1024.0)
        };
        let all = value("MemTotal")? - value("MemFree")?;
        Some(Self { all, cache: value("Cached")? + value("Buffers")?, slab: value("Slab")? })
    }

    /// What came on top of an earlier use.
    fn since(self, before: Self) -> Self {
        let Self { all, cache, slab } = before;
        Self { all: self.all - all, cache: self.cache - cache, slab: self.slab - slab }
    }

    /// What is neither cache nor slab: pages that the kernel holds for itself.
    fn other(self) -> f64 {
        self.all - self.cache - self.slab
    }
}

/// What is in use after each step.
#[derive(Debug, Clone, Copy)]
struct Sample {
    mounted: Use,
    walked: Use,
    read: Use,
}

/// The memory that mounts take, each way in turn.
pub(super) fn mounts(
    workspace: &Workspace,
    programs: &Programs,
    tree: &Tree,
    machines: &Machines,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let disk = disk(workspace, programs, tree)?;
    let initrd = machines.initrd(None)?;
    let mut samples: Vec<(Way, Vec<Sample>)> = WAYS.map(|way| (way, Vec::new())).into();
    for run in 1..=runs {
        for (way, samples) in &mut samples {
            let boot = |count| boot(*way, count, tree, &initrd, &disk);
            let (without, with) = (boot(0)?, boot(MOUNTS)?);
            let sample = Sample {
                mounted: with.mounted.since(without.mounted),
                walked: with.walked.since(without.walked),
                read: with.read.since(without.read),
            };
            eprintln!("xtask: run {run}, {}: {:.1} MiB", way.name, sample.read.all);
            samples.push(sample);
        }
    }
    Ok(figures(&samples))
}

/// The rows: after the mounts what each takes, after the walk and the reading all of them.
fn figures(samples: &[(Way, Vec<Sample>)]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let all =
        |samples: &[Sample], of: fn(&Sample) -> f64| samples.iter().map(of).collect::<Vec<_>>();
    let file = samples.last();
    for (way, samples) in samples.iter().filter(|(way, _)| Some(way) != file.map(|(way, _)| way)) {
        let Some((least, file)) = file else { continue };
        let (over, under) = (all(samples, |s| s.read.all), all(file, |s| s.read.all));
        let what =
            format!("memory of {MOUNTS} images that are read: {} ÷ {}", way.name, least.name);
        figures.push(Figure::times(what, &over, &under));
    }
    for (way, samples) in samples {
        let name = way.name;
        let each = |of: fn(&Sample) -> f64| {
            all(samples, of).iter().map(|all| all / MOUNTS as f64).collect()
        };
        let what = format!("{name}: memory for each mount");
        figures.push(Figure::median(what, each(|s| s.mounted.all), Unit::Mebibytes));
        let what = format!("… of it neither page cache nor slab, {name}");
        figures.push(Figure::median(what, each(|s| s.mounted.other()), Unit::Mebibytes));
        type Part = (&'static str, fn(Use) -> f64);
        let parts: [Part; 3] =
            [("page cache", |used| used.cache), ("slab", |used| used.slab), ("other", Use::other)];
        for (point, of) in [
            ("walked", (|sample| sample.walked) as fn(&Sample) -> Use),
            ("read", |sample| sample.read),
        ] {
            for (part, part_of) in parts {
                let values = samples.iter().map(|sample| part_of(of(sample))).collect();
                let what = format!("{name}, {MOUNTS} images {point}: {part}");
                let plot = format!("Memory of {MOUNTS} images, {point}");
                figures.push(Figure::median(what, values, Unit::Mebibytes).part(plot, name, part));
            }
        }
    }
    figures
}

/// Boots once and mounts `count` images one way; what is in use then.
fn boot(
    way: Way,
    count: usize,
    tree: &Tree,
    initrd: &Path,
    disk: &Path,
) -> Result<Sample, BenchError> {
    let Way { format, backing, io, processors, .. } = way;
    let format = format.name();
    let script = "/run/initramfs/layers/state/bench/run";
    let words = format!("init=/bin/sh -- {script} {format} {backing} {io} {count}");
    let machine = Machine::new("bench-memory", &tree.kernel(), initrd)
        .processors(processors)
        .drive(Drive::scratch(disk))
        .append("quiet layers.state=LABEL=layers")
        .append(&words);
    let mut guest = machine.start()?;
    guest.wait_for(END, DEADLINE)?;
    guest.wait_for_exit(DEADLINE)?;
    let said = guest.said();
    let missing = |line: String| BenchError::NoLine { line, console: said.to_owned() };
    // One that cannot have it would count as one that has.
    if io == DIRECT && said.lines().any(|line| line.trim_end() == "memory: direct: 0") {
        return Err(missing("memory: direct: 1".to_owned()));
    }
    let at = |point: &str| {
        Use::parse(said, point).ok_or_else(|| missing(format!("memory: {point}: MemFree")))
    };
    Ok(Sample { mounted: at("mounted")?, walked: at("walked")?, read: at("read")? })
}

/// A state disk with a base alone in its store, and beside that images of both formats and what mounts them.
fn disk(workspace: &Workspace, programs: &Programs, tree: &Tree) -> Result<PathBuf, BenchError> {
    let content = Content::build(workspace, programs, tree)?;
    let mounts = programs::mounts(workspace)?;
    let key = Key::new(include_str!("memory.rs"))
        .with(files::read(&mounts)?)
        .with(files::read(&programs.layerctl)?)
        .with(content.flat(Format::Erofs).as_os_str().as_encoded_bytes());
    let dir = cache::directory(workspace, "bench/memory", &key, |dir| {
        let base = content.base(Format::Squashfs);
        let store = Store::with_base(&programs.layerctl, dir.join("root"), &base)?;
        let (root, bench) = (store.root(), store.root().join("bench"));
        files::make_dir(&bench)?;
        files::write(&bench.join("run"), SCRIPT)?;
        files::copy(&mounts, &bench.join("mounts"))?;
        // The base has none.
        let losetup = find_program("losetup").unwrap_or_else(|| "losetup".into());
        files::copy(&losetup, &bench.join("losetup"))?;
        for format in Format::ALL {
            let images = bench.join("images").join(format.name());
            files::make_dir(&images)?;
            // One more: what is mounted first is not counted.
            for image in content.packages(format, MOUNTS + 1)? {
                let name = image.file_name().unwrap_or_default();
                files::copy(&image, &images.join(name))?;
            }
        }
        make_disk(Filesystem::Ext4, "layers", DISK_SIZE, root, &dir.join("disk.img"))?;
        Ok::<_, BenchError>(files::remove_tree(root)?)
    })?;
    Ok(dir.join("disk.img"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
memory: mounted: MemTotal:        1000 kB
memory: mounted: MemFree:          600 kB
memory: mounted: Buffers:           10 kB
memory: mounted: Cached:           110 kB
memory: mounted: SwapCached:         7 kB
memory: mounted: Slab:              80 kB
memory: read: MemTotal:          1000 kB
memory: read: MemFree:            100 kB
memory: read: Buffers:             30 kB
memory: read: Cached:             390 kB
memory: read: Slab:               180 kB
";

    #[test]
    fn memory_is_told_by_what_it_is_used_for() {
        let at = |point| Use::parse(SAID, point).unwrap();
        let used = at("read").since(at("mounted"));
        let kibibytes = [used.all, used.cache, used.slab, used.other()].map(|n| n * 1024.0);
        assert_eq!(kibibytes, [500.0, 300.0, 100.0, 100.0]);
        assert_eq!(Use::parse(SAID, "walked"), None);
    }
}
