//! The list of kernel modules in the initramfs: what each needs, and what calls for it.
//!
//! It stands in `/lib/modules/VERSION/modules.layers` and is written when the initramfs is built, so that nothing has to
//! be worked out while booting. One statement a line, words parted by one space:
//!
//! ```text
//! kernel 6.12.107+deb13-amd64                    the kernel version that the modules belong to; first line
//! module ext4 kernel/fs/ext4/ext4.ko jbd2 ~crc32c_intel
//!                                                name, file below /lib/modules/VERSION, then the modules that it needs
//!                                                and, with ~, those that it can do without; all of them listed before it
//! boot overlay                                   loaded in every boot
//! filesystem ext4 ext4                           loaded before a file system of this type is mounted
//! alias virtio:d00000002v* virtio_blk            loaded for a device whose modalias matches the pattern
//! watchdog pci:v00008086d000025ABsv*sd*bc*sc*i* i6300esb
//!                                                as alias, in boots that ask for a watchdog
//! ```

use std::str::FromStr;

/// The file's name below /lib/modules/VERSION.
pub const FILE_NAME: &str = "modules.layers";

/// One module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The name with underscores, as in /proc/modules.
    pub name: String,
    /// The uncompressed file, below /lib/modules/VERSION.
    pub file: String,
    /// Modules without which it cannot be loaded.
    pub needs: Vec<String>,
    /// Modules that are tried before it, but whose failure does no harm.
    pub wants: Vec<String>,
}

/// A device's modalias that calls for a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// A shell pattern.
    pub pattern: String,
    /// The module's name.
    pub module: String,
}

/// A file system type that calls for modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// The type as for mount(2).
    pub name: String,
    /// The modules' names.
    pub modules: Vec<String>,
}

/// The whole list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The kernel version that the modules belong to.
    pub kernel: String,
    /// The modules, each after those that it needs.
    pub modules: Vec<Module>,
    /// The names of those that are loaded in every boot.
    pub boot: Vec<String>,
    /// Those that file systems call for.
    pub filesystems: Vec<Filesystem>,
    /// Those that devices call for.
    pub aliases: Vec<Alias>,
    /// Those that devices call for where a watchdog is asked for.
    pub watchdogs: Vec<Alias>,
}

/// A line that is no statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number} of the module list cannot be understood: {text:?}")]
pub struct Error {
    /// Counted from 1.
    pub number: usize,
    /// The line.
    pub text: String,
}

impl FromStr for Table {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut table = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            table.take(line).ok_or_else(|| Error { number, text: line.to_owned() })?;
        }
        Ok(table)
    }
}

impl Table {
    /// Whether a device on the bus of this name can have a modalias that calls for a module.
    ///
    /// A modalias begins with the name of its device's bus, but those from ACPI and from a device tree, which devices on
    /// any bus can have (Linux, scripts/mod/file2alias.c).
    pub fn may_be_on(&self, bus: &str) -> bool {
        self.aliases.iter().any(|Alias { pattern, .. }| {
            let own = pattern.strip_prefix(bus).is_some_and(|rest| rest.starts_with(':'));
            own || pattern.starts_with("acpi") || pattern.starts_with("of:")
        })
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (statement, rest) = line.split_once(' ')?;
        let mut words = rest.split(' ');
        let first = words.next().filter(|word| !word.is_empty())?.to_owned();
        match statement {
            "kernel" => self.kernel = first,
            "module" => {
                let file = words.next()?.to_owned();
                let (wants, needs): (Vec<_>, Vec<_>) =
                    words.partition(|word| word.starts_with('~'));
                self.modules.push(Module {
                    name: first,
                    file,
                    needs: needs.into_iter().map(str::to_owned).collect(),
                    wants: wants
                        .iter()
                        .map(|name| name.trim_start_matches('~').to_owned())
                        .collect(),
                });
            }
            "boot" => self.boot.push(first),
            "filesystem" => {
                let modules = words.map(str::to_owned).collect();
                self.filesystems.push(Filesystem { name: first, modules });
            }
            "alias" | "watchdog" => {
                let alias = Alias { pattern: first, module: words.next()?.to_owned() };
                let list =
                    if statement == "alias" { &mut self.aliases } else { &mut self.watchdogs };
                list.push(alias);
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The builder's tests write this very file: the two sides of the format agree.
    const EXAMPLE: &str = include_str!("example.table");

    #[test]
    fn the_example_is_understood_whole() {
        let table: Table = EXAMPLE.parse().unwrap();
        assert_eq!(table.kernel, "6.12.0-test");
        let names: Vec<_> = table.modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "overlay",
                "virtio_blk",
                "crc32c_intel",
                "crc16",
                "jbd2",
                "ext4",
                "watchdog",
                "i6300esb"
            ]
        );
        assert_eq!(
            table.modules[5],
            Module {
                name: "ext4".into(),
                file: "kernel/fs/ext4/ext4.ko".into(),
                needs: vec!["crc16".into(), "jbd2".into()],
                wants: vec!["crc32c_intel".into()],
            }
        );
        assert_eq!(table.boot, ["overlay"]);
        assert_eq!(
            table.filesystems,
            [Filesystem { name: "ext4".into(), modules: vec!["ext4".into()] }]
        );
        assert_eq!(
            table.aliases,
            [Alias { pattern: "virtio:d00000002v*".into(), module: "virtio_blk".into() }]
        );
        assert_eq!(
            table.watchdogs,
            [Alias { pattern: "pci:v00008086d000025ABsv*".into(), module: "i6300esb".into() }]
        );
    }

    #[test]
    fn a_line_that_is_no_statement_is_named() {
        for line in
            ["", "module", "module x", "alias x", "watchdog x", "boot ", "bogus x", "kernel"]
        {
            let error = format!("kernel 6\n{line}\n").parse::<Table>().unwrap_err();
            assert_eq!(error, Error { number: 2, text: line.into() });
        }
    }

    #[test]
    fn a_bus_without_an_alias_is_known_unless_firmware_names_devices() {
        let table: Table = "alias pci:v*bc01* ahci\nalias usb:v* uas\n".parse().unwrap();
        assert!(table.may_be_on("pci") && table.may_be_on("usb"));
        assert!(!table.may_be_on("pci_express") && !table.may_be_on("platform"));
        for alias in ["acpi*:ACPI0012:*", "of:N*T*Cvendor,disk"] {
            let table: Table = format!("alias {alias} nfit\n").parse().unwrap();
            assert!(table.may_be_on("platform"), "{alias}");
        }
        assert!(!Table::default().may_be_on("pci"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(kernel|module|boot|filesystem|alias|watchdog|[ a-z~]|\n){0,60}") {
            let _ = text.parse::<Table>();
        }
    }
}
