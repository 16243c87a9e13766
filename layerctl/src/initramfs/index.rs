//! What depmod(8) has found out about a kernel's modules: modules.dep, modules.builtin, modules.alias, modules.softdep.

use std::collections::{BTreeMap, BTreeSet};

/// The texts of depmod's files.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Texts<'a> {
    /// modules.dep: `FILE: FILE…`.
    pub(super) dep: &'a str,
    /// modules.builtin: a file name for each module that is part of the kernel.
    pub(super) builtin: &'a str,
    /// modules.alias: `alias PATTERN NAME`.
    pub(super) alias: &'a str,
    /// modules.softdep: `softdep NAME pre: NAME… post: NAME…`.
    pub(super) softdep: &'a str,
}

/// A module that is a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// The file below the modules' directory, as it is there: perhaps compressed.
    pub(super) file: String,
    /// The names of the modules that it needs, in the order in which they are loaded.
    pub(super) needs: Vec<String>,
    /// The names of the modules or aliases that should be loaded before it.
    pub(super) wants: Vec<String>,
}

/// A kernel's modules by name; names have underscores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Index {
    modules: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
    /// Pattern and module, in the file's order.
    aliases: Vec<(String, String)>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A file.
    Module(&'a Module),
    /// A part of the kernel.
    BuiltIn,
    /// Nothing that this kernel has.
    Nothing,
}

impl Index {
    /// Reads depmod's files; lines of other forms are comments.
    pub(super) fn parse(texts: Texts<'_>) -> Self {
        let mut index = Self::default();
        for line in texts.dep.lines() {
            let Some((file, needs)) = line.split_once(':') else { continue };
            // depmod writes the one that is loaded first last.
            let needs = needs.split_whitespace().rev().map(name_of).collect();
            let module = Module { file: file.to_owned(), needs, wants: Vec::new() };
            index.modules.insert(name_of(file), module);
        }
        index.builtin = texts.builtin.lines().map(name_of).collect();
        for line in texts.alias.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(pattern), Some(name)) =
                (words.next(), words.next(), words.next())
            {
                index.aliases.push((pattern.to_owned(), name.to_owned()));
            }
        }
        for line in texts.softdep.lines() {
            index.take_softdep(line);
        }
        index
    }

    /// What this kernel has under a module's name.
    pub(super) fn find(&self, name: &str) -> Found<'_> {
        match self.modules.get(name) {
            Some(module) => Found::Module(module),
            None if self.builtin.contains(name) => Found::BuiltIn,
            None => Found::Nothing,
        }
    }

    /// The modules that a soft dependency stands for: one of that name, or all with that alias (`crypto-crc32c`).
    ///
    /// None where the kernel has it built in or not at all: a soft dependency does no harm by its absence.
    pub(super) fn providers(&self, wanted: &str) -> Vec<String> {
        let name = underscores(wanted);
        match self.find(&name) {
            Found::Module(_) => return vec![name],
            Found::BuiltIn => return Vec::new(),
            Found::Nothing => {}
        }
        let with_alias = self.aliases.iter().filter(|(pattern, _)| underscores(pattern) == name);
        with_alias.map(|(_, module)| module.clone()).collect()
    }

    /// The aliases of a module that a device's modalias can match.
    pub(super) fn device_aliases(&self, name: &str) -> impl Iterator<Item = &str> {
        self.aliases
            .iter()
            .filter(move |(_, module)| module == name)
            .map(|(pattern, _)| pattern.as_str())
            .filter(|pattern| BUSES.iter().any(|bus| pattern.starts_with(bus)))
    }

    fn take_softdep(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some("softdep"), Some(name)) = (words.next(), words.next()) else { return };
        let Some(module) = self.modules.get_mut(&underscores(name)) else { return };
        // Only "pre:" says what comes before; words outside of "pre:" and "post:" mean nothing (modprobe.d(5)).
        let mut before = false;
        for word in words {
            match word {
                "pre:" => before = true,
                "post:" => before = false,
                wanted if before => module.wants.push(wanted.to_owned()),
                _ => {}
            }
        }
    }
}

// Buses that disks and their controllers are on. Aliases of other kinds (crypto-, fs-, cpu:) are no device's.
const BUSES: [&str; 11] = [
    "acpi",
    "mmc:",
    "nd:",
    "of:",
    "pci:",
    "platform:",
    "scsi:",
    "usb:",
    "virtio:",
    "vmbus:",
    "nvme:",
];

/// A module's name from its file's: without directory, `.ko` and compression, with underscores.
fn name_of(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    let name = base.split_once(".ko").map_or(base, |(name, _)| name);
    underscores(name)
}

fn underscores(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        Index::parse(Texts {
            dep: "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n\
                  kernel/fs/jbd2/jbd2.ko.xz:\nkernel/lib/crc16.ko.xz:\n\
                  kernel/arch/x86/crypto/crc32c-intel.ko.xz:\nkernel/crypto/crc32c_generic.ko.zst:\n",
            builtin: "kernel/drivers/virtio/virtio_pci.ko\nkernel/lib/crc-t10dif.ko\n",
            alias: "# Aliases extracted from modules themselves.\nalias crypto-crc32c crc32c_intel\n\
                    alias crypto-crc32c crc32c_generic\nalias cpu:type:x86*feature:*0094* crc32c_intel\n\
                    alias fs-ext4 ext4\nalias pci:v*d* ext4\n",
            softdep: "softdep ext4 pre: crypto-crc32c no-such post: later\nsoftdep jbd2 crc16\nsoftdep gone pre: x\n",
        })
    }

    #[test]
    fn names_have_underscores_and_no_ending() {
        for (file, name) in [
            ("kernel/arch/x86/crypto/crc32c-intel.ko.xz", "crc32c_intel"),
            ("a.ko", "a"),
            ("kernel/b.ko.zst", "b"),
        ] {
            assert_eq!(name_of(file), name);
        }
    }

    #[test]
    fn needs_are_in_loading_order_and_wants_are_those_before() {
        let index = index();
        let Found::Module(ext4) = index.find("ext4") else { panic!() };
        assert_eq!(ext4.needs, ["crc16", "jbd2"]);
        assert_eq!(ext4.wants, ["crypto-crc32c", "no-such"]);
        let Found::Module(jbd2) = index.find("jbd2") else { panic!() };
        assert_eq!(jbd2.wants, [""; 0]);
        assert_eq!(index.find("virtio_pci"), Found::BuiltIn);
        assert_eq!(index.find("xfs"), Found::Nothing);
    }

    #[test]
    fn a_soft_dependency_is_a_name_or_an_alias() {
        let index = index();
        assert_eq!(index.providers("crypto-crc32c"), ["crc32c_intel", "crc32c_generic"]);
        assert_eq!(index.providers("crc32c-intel"), ["crc32c_intel"]);
        assert_eq!(index.providers("crc-t10dif"), [""; 0]);
        assert_eq!(index.providers("no-such"), [""; 0]);
    }

    #[test]
    fn only_what_a_device_can_match_is_a_device_alias() {
        let index = index();
        assert_eq!(index.device_aliases("ext4").collect::<Vec<_>>(), ["pci:v*d*"]);
        assert_eq!(index.device_aliases("crc32c_intel").count(), 0);
    }
}
