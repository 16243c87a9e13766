//! Writes to a boot partition on real files, and what is read there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test makes its files and ends with the first surprise"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use layers::entry::{Counters, EntryName};
use layers::exec::{Failure, HostError, execute, retract_entries};
use layers::host::LinuxHost;
use layers::id::GenerationId;
use layers::kernel::{KernelFile, Part};
use layers::layout::BootDir;
use layers::plan::{BootName, CopyToBoot, Op, Plan};
use layers::store::partition::{Look, read};
use layers::store::stage;
use tempfile::TempDir;

struct World {
    directory: TempDir,
    boot: BootDir,
}

fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let boot = BootDir::new(&directory.path().join("boot"));
    fs::create_dir(boot.top()).unwrap();
    World { directory, boot }
}

impl World {
    /// The copy of a kernel that holds `bytes`; its source lies beside the partition.
    fn copy(&self, bytes: &[u8]) -> CopyToBoot {
        let digest = stage::digest(bytes);
        let from = self.directory.path().join(digest.short());
        fs::write(&from, bytes).unwrap();
        let file = KernelFile { part: Part::Linux, digest };
        CopyToBoot { from, boot: self.boot.clone(), file, size: bytes.len() as u64 }
    }

    fn entry(&self, text: &str, counters: Option<Counters>) -> (EntryName, Op) {
        let name = EntryName::of(false, GenerationId::FIRST, text, counters);
        (name, Op::WriteEntry { boot: self.boot.clone(), name, text: text.to_owned() })
    }

    fn run(&self, ops: Vec<Op>) -> Result<(), Failure> {
        execute(&Plan { ops }, &mut LinuxHost::new())
    }

    fn all(&self) -> Vec<PathBuf> {
        let output = Command::new("find").arg(self.boot.top()).args(["-type", "f"]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.lines().map(PathBuf::from).collect()
    }
}

#[test]
fn what_is_written_is_read_back_and_found() {
    let world = world();
    let copy = world.copy(b"kernel");
    let counters = Some(Counters { left: 3, done: None });
    let (name, entry) = world.entry("title x\nlinux /x\n", counters);
    assert_eq!(read(&world.boot, Look::Quick).unwrap().missing_directories, 3);
    world.run(vec![Op::CopyToBoot(copy.clone()), entry]).unwrap();
    let found = read(&world.boot, Look::Thorough).unwrap();
    assert_eq!(found.missing_directories, 0);
    assert_eq!(found.files[&copy.file].size, 6);
    assert_eq!(found.files[&copy.file].sound, Some(true));
    assert_eq!(found.entries[&name], "title x\nlinux /x\n");
    assert_eq!(found.sound_entries().count(), 1);
    assert!(found.cluster >= 512 && found.free > 0);
    let remove = |name| Op::RemoveFromBoot { boot: world.boot.clone(), name };
    let away = vec![remove(BootName::Entry(name)), remove(BootName::File(copy.file))];
    world.run(away.clone()).unwrap();
    assert!(world.all().is_empty());
    // What is gone already is no failure: the plan may have been cut short before.
    world.run(away).unwrap();
}

#[test]
fn a_file_that_is_there_with_its_bytes_is_left_and_another_is_replaced() {
    let world = world();
    let copy = world.copy(b"kernel");
    let path = world.boot.file(&copy.file);
    world.run(vec![Op::CopyToBoot(copy.clone())]).unwrap();
    fs::remove_file(&copy.from).unwrap();
    // Without its source: nothing is copied.
    world.run(vec![Op::CopyToBoot(copy)]).unwrap();
    let copy = world.copy(b"kernel");
    for other in ["kernex", "half", "much longer than it was"] {
        fs::write(&path, other).unwrap();
        let found = read(&world.boot, Look::Thorough).unwrap();
        assert_eq!(found.files[&copy.file].sound, Some(false));
        world.run(vec![Op::CopyToBoot(copy.clone())]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"kernel");
    }
}

#[test]
fn a_source_that_is_damaged_leaves_nothing() {
    let world = world();
    let copy = world.copy(b"kernel");
    fs::write(&copy.from, "damaged").unwrap();
    let failure = world.run(vec![Op::CopyToBoot(copy)]).unwrap_err();
    assert!(matches!(failure.source, HostError::Digest { .. }), "{failure}");
    assert!(world.all().is_empty());
}

#[test]
fn an_entry_is_never_written_over() {
    let world = world();
    let (name, entry) = world.entry("text", None);
    let path = world.boot.entry(&name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "what was there").unwrap();
    world.run(vec![entry]).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"what was there");
}

#[test]
fn entries_of_others_are_theirs_and_what_they_name_is_known() {
    let world = world();
    let copy = world.copy(b"kernel");
    let entries = world.boot.entries();
    fs::create_dir_all(&entries).unwrap();
    fs::create_dir_all(world.boot.files()).unwrap();
    let text = format!("linux {}\n", BootDir::inside(&copy.file));
    fs::write(entries.join("mine.conf"), &text).unwrap();
    fs::write(entries.join("layerctl-1-00000000.conf.bak"), &text).unwrap();
    fs::write(entries.join("layerctl-1-00000000.conf"), [b'#', 0xff, b'\n']).unwrap();
    fs::write(world.boot.files().join("README"), "x").unwrap();
    fs::write(world.boot.files().join("0123-linux"), "x").unwrap();
    let found = read(&world.boot, Look::Thorough).unwrap();
    assert_eq!(found.foreign.into_iter().collect::<Vec<_>>(), [copy.file]);
    assert_eq!(found.entries.len(), 1);
    assert!(found.files.is_empty());
}

#[test]
fn a_full_partition_gets_no_half_file() {
    let world = world();
    let copy = world.copy(&[7; 200_000]);
    let mount = |arguments: &[&str]| {
        let status =
            Command::new(arguments[0]).args(&arguments[1..]).arg(world.boot.top()).status();
        assert!(status.unwrap().success(), "{arguments:?}");
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "none"]);
    let (name, entry) = world.entry("text", None);
    let plan = Plan { ops: vec![entry, Op::CopyToBoot(copy)] };
    let failure = execute(&plan, &mut LinuxHost::new()).unwrap_err();
    let left = world.all();
    let back = retract_entries(&plan, failure.done, &mut LinuxHost::new());
    let after = world.all();
    mount(&["umount"]);
    assert!(failure.to_string().contains("No space left on device"), "{failure}");
    assert_eq!(left, [world.boot.entry(&name)]);
    assert!(back.is_empty() && after.is_empty(), "{after:?}");
}

#[test]
fn a_partition_that_is_not_there_is_an_error() {
    let world = world();
    let error = read(&BootDir::new(Path::new("/nowhere")), Look::Quick).unwrap_err();
    assert!(error.to_string().starts_with("read /nowhere: "), "{error}");
    let file = world.directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(read(&BootDir::new(&file), Look::Quick).is_err());
}
