//! What is on a boot partition, as far as it is ours: kernels, initrds and boot loader entries.
//!
//! The partition is a copy of what the store says: every change brings it in line, and `layerctl boot sync` makes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::entry::{EntryName, Said};
use crate::kernel::KernelFile;
use crate::layout::BootDir;

/// A boot partition and the machine that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPartition {
    /// Where it is mounted.
    pub dir: BootDir,
    /// Our kernels and initrds on it.
    pub files: BTreeMap<KernelFile, FileFacts>,
    /// Our entries on it, with their texts.
    pub entries: BTreeMap<EntryName, String>,
    /// Our kernels and initrds that entries of others name: an administrator's own copy of one of ours.
    pub foreign: BTreeSet<KernelFile>,
    /// Directories that are still missing.
    pub missing_directories: u64,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that a file takes at least, and by which it grows.
    pub cluster: u64,
    /// The machine ID of the system that the entries are for, where it is known.
    pub machine_id: Option<String>,
    /// The UUID of the state file system, where it is known.
    pub state: Option<String>,
    /// How the boot loader is told which entry to start once, where it takes one.
    pub one_shot: Option<OneShot>,
}

/// The firmware's variable for an entry that is started once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneShot {
    /// Its file.
    pub variable: PathBuf,
    /// Whether it names one of our entries at the moment.
    pub set: bool,
}

/// One of our files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Its length in bytes.
    pub size: u64,
    /// Whether its bytes are what its name says; `None` where nobody looked.
    pub sound: Option<bool>,
}

impl BootPartition {
    /// Gives away the entries of another installation that has this partition too: those that name both another machine
    /// ID and another state file system than ours. Where either is not known, all are taken for ours.
    pub fn disown(&mut self) {
        let (Some(machine), Some(state)) = (&self.machine_id, &self.state) else { return };
        let state = format!("UUID={state}");
        let others: Vec<(EntryName, Said)> = self
            .sound_entries()
            .filter(|(_, said)| {
                said.machine_id.as_ref().is_some_and(|other| other != machine)
                    && said.option("layers.state").is_some_and(|other| other != state)
            })
            .map(|(name, said)| (*name, said))
            .collect();
        for (name, said) in others {
            self.entries.remove(&name);
            self.foreign.extend(said.files.iter().filter_map(|path| BootDir::named(path)));
        }
    }

    /// The bytes that a file of this length takes.
    pub fn space(&self, length: u64) -> u64 {
        length.div_ceil(self.cluster.max(1)).saturating_mul(self.cluster.max(1))
    }

    /// Our entries whose text is what their name says, with what they say.
    pub fn sound_entries(&self) -> impl Iterator<Item = (&EntryName, Said)> {
        let sound = self.entries.iter().filter(|(name, text)| name.fits(text));
        sound.map(|(name, text)| (name, Said::parse(text)))
    }

    /// Whether a file is there in this length and either was looked at, or a whole entry names it: entries are written
    /// after the files that they name were read back.
    pub fn has(&self, file: &KernelFile, size: u64) -> bool {
        let Some(facts) = self.files.get(file).filter(|facts| facts.size == size) else {
            return false;
        };
        facts.sound.unwrap_or_else(|| self.sound_entries().any(|(_, said)| names(&said, file)))
    }

    /// The machine ID for the entries: the running system's, else what entries that are there say.
    pub fn machine_id(&self) -> Option<String> {
        let said = || self.sound_entries().find_map(|(_, said)| said.machine_id);
        self.machine_id.clone().or_else(said)
    }

    /// The argument that names the state file system: by the UUID that is known, else as entries that are there say.
    pub fn state(&self) -> Option<String> {
        let said = || {
            let uuid = |state: &&str| state.starts_with("UUID=");
            let said =
                |(_, said): (_, Said)| said.option("layers.state").filter(uuid).map(str::to_owned);
            self.sound_entries().find_map(said)
        };
        self.state.as_ref().map(|uuid| format!("UUID={uuid}")).or_else(said)
    }
}

/// Whether an entry names a file.
pub(crate) fn names(said: &Said, file: &KernelFile) -> bool {
    said.files.iter().any(|path| BootDir::named(path).as_ref() == Some(file))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::id::{Digest, GenerationId};
    use crate::kernel::Part;

    fn partition(entries: &[String]) -> BootPartition {
        let named =
            |text: &String| (EntryName::of(false, GenerationId::FIRST, text, None), text.clone());
        BootPartition {
            dir: BootDir::new(Path::new("/boot")),
            files: BTreeMap::new(),
            entries: entries.iter().map(named).collect(),
            foreign: BTreeSet::new(),
            missing_directories: 0,
            free: 0,
            cluster: 512,
            machine_id: None,
            state: None,
            one_shot: None,
        }
    }

    #[test]
    fn another_installation_is_known_by_machine_and_state() {
        let file = KernelFile { part: Part::Linux, digest: Digest::new([1; 32]) };
        let entry = |machine: &str, state: &str| {
            let linux = BootDir::inside(&file);
            format!("machine-id {machine}\noptions layers.state={state}\nlinux {linux}\n")
        };
        let texts = [("a", "UUID=1"), ("b", "UUID=1"), ("a", "UUID=2"), ("b", "UUID=2")];
        let mut found = partition(&texts.map(|(machine, state)| entry(machine, state)));
        found.disown();
        assert_eq!(found.entries.len(), 4, "nobody knows whose they are");
        (found.machine_id, found.state) = (Some("a".to_owned()), Some("1".to_owned()));
        found.disown();
        assert_eq!(found.entries.len(), 3);
        assert!(found.entries.values().all(|text| *text != entry("b", "UUID=2")));
        assert_eq!(found.foreign.into_iter().collect::<Vec<_>>(), [file]);
    }

    #[test]
    fn files_take_whole_clusters() {
        let found = partition(&[]);
        let space = [0, 1, 512, 513].map(|length| found.space(length));
        assert_eq!(space, [0, 512, 512, 1024]);
    }

    #[test]
    fn what_is_not_known_is_taken_from_entries_that_are_there() {
        let text = "machine-id a\noptions layers.state=UUID=1 x\n".to_owned();
        let mut found = partition(&[text, "options layers.state=LABEL=x\n".to_owned()]);
        assert_eq!(found.state(), Some("UUID=1".to_owned()));
        assert_eq!(found.machine_id(), Some("a".to_owned()));
        found.state = Some("2".to_owned());
        assert_eq!(found.state(), Some("UUID=2".to_owned()));
        assert_eq!(partition(&["options layers.state=LABEL=x\n".to_owned()]).state(), None);
    }
}
