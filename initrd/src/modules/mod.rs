//! Kernel modules from the initramfs, loaded by finit_module(2): some in every boot, others when a device or a file
//! system calls for them. What is built into the kernel is not in the list, and asking for it does nothing.

#![expect(clippy::disallowed_methods, reason = "opens module files, reads sysfs")]

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
};

pub mod parameters;
pub mod pattern;
pub mod table;

use parameters::Parameters;
use table::Table;

/// Why modules are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The initramfs was built for another kernel.
    #[error(
        "this initrd holds modules for kernel {}, but the running kernel is {running}: boot the kernel that it was \
         built for, or build one for this kernel (layerctl initrd)", .held.join(", ")
    )]
    OtherKernel {
        /// The running kernel's version.
        running: String,
        /// The versions that there are modules for.
        held: Vec<String>,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list of modules is damaged.
    #[error("{path}: {source}")]
    Table {
        /// The list.
        path: PathBuf,
        /// Which line.
        source: table::Error,
    },
    /// The kernel refused a module.
    #[error("the kernel does not take the module {name}: {source}")]
    Refused {
        /// Its name.
        name: String,
        /// What finit_module(2) answered.
        source: Errno,
    },
    /// The list names a module that it does not hold.
    #[error("the module {name} is not in this initrd")]
    Missing {
        /// Its name.
        name: String,
    },
}

/// The modules of the running kernel in this initramfs, and which of them have been loaded.
#[derive(Debug, Default)]
pub struct Modules {
    directory: PathBuf,
    table: Table,
    parameters: Parameters,
    tried: BTreeSet<String>,
}

impl Modules {
    /// Reads the list for the kernel version `running` below `root`/lib/modules; `cmdline` is searched for parameters.
    ///
    /// An initramfs without any modules is one for a kernel that has everything built in: an empty list.
    pub fn open(root: &Path, running: &str, cmdline: &str) -> Result<Self, Error> {
        let parameters = Parameters::parse(cmdline);
        let versions = root.join("lib/modules");
        let held = directories(&versions)?;
        if held.is_empty() {
            return Ok(Self { parameters, ..Self::default() });
        }
        if !held.iter().any(|version| version == running) {
            return Err(Error::OtherKernel { running: running.to_owned(), held });
        }
        let directory = versions.join(running);
        let path = directory.join(table::FILE_NAME);
        let text = fs::read_to_string(&path)
            .map_err(|source| Error::Read { path: path.clone(), source })?;
        let table = text.parse().map_err(|source| Error::Table { path, source })?;
        Ok(Self { directory, table, parameters, tried: BTreeSet::new() })
    }

    /// Takes the drivers of watchdogs for those of any other device, from now on.
    pub fn look_for_watchdogs(&mut self) {
        let watchdogs = std::mem::take(&mut self.table.watchdogs);
        self.table.aliases.extend(watchdogs);
    }

    /// Loads what every boot needs; one error for each module that the kernel did not take.
    pub fn load_for_boot(&mut self) -> Vec<Error> {
        let names = self.table.boot.clone();
        names.iter().filter_map(|name| self.load(name).err()).collect()
    }

    /// Loads what a file system of this type needs before it can be mounted; nothing for one that is not in the list.
    pub fn load_for_filesystem(&mut self, filesystem: &str) -> Result<(), Error> {
        let entry = self.table.filesystems.iter().find(|entry| entry.name == filesystem);
        let names = entry.map(|entry| entry.modules.clone()).unwrap_or_default();
        names.iter().try_for_each(|name| self.load(name))
    }

    /// Loads every module with an alias that matches a device's modalias; one error for each that did not load.
    pub fn load_for_device(&mut self, modalias: &str) -> Vec<Error> {
        let mut names = BTreeSet::new();
        let matching = self
            .table
            .aliases
            .iter()
            .filter(|alias| !self.tried.contains(&alias.module))
            .filter(|alias| !self.parameters.refuses(&alias.module))
            .filter(|alias| pattern::matches(&alias.pattern, modalias))
            .map(|alias| alias.module.clone());
        names.extend(matching);
        names.iter().filter_map(|name| self.load(name).err()).collect()
    }

    /// Loads the modules for the devices that are there already, from the `modalias` files below `sys`.
    ///
    /// Every device with a modalias belongs to a bus, so the buses' lists name them all without a walk of the tree. A bus
    /// that no alias can be about is passed over.
    pub fn load_for_present_devices(&mut self, sys: &Path) -> Vec<Error> {
        let mut errors = Vec::new();
        if self.table.aliases.is_empty() {
            return errors;
        }
        let Ok(buses) = fs::read_dir(sys.join("bus")) else {
            return errors;
        };
        let mut aliases = BTreeSet::new();
        for bus in buses.flatten() {
            if !self.table.may_be_on(&bus.file_name().to_string_lossy()) {
                continue;
            }
            let Ok(devices) = fs::read_dir(bus.path().join("devices")) else {
                continue;
            };
            // A device may be gone again, and many have no modalias.
            let read =
                |device: fs::DirEntry| fs::read_to_string(device.path().join("modalias")).ok();
            aliases.extend(devices.flatten().filter_map(read));
        }
        for modalias in aliases {
            errors.extend(self.load_for_device(modalias.trim_end()));
        }
        errors
    }

    /// The names of all that have been asked for so far, loaded or not.
    pub fn tried(&self) -> impl Iterator<Item = &str> {
        self.tried.iter().map(String::as_str)
    }

    fn load(&mut self, name: &str) -> Result<(), Error> {
        // Entered before its dependencies, so that a list that goes round in a circle ends all the same.
        if !self.tried.insert(name.to_owned()) {
            return Ok(());
        }
        let missing = || Error::Missing { name: name.to_owned() };
        let module = self.table.modules.iter().find(|module| module.name == name).cloned();
        let module = module.ok_or_else(missing)?;
        for wanted in &module.wants {
            let _ = self.load(wanted);
        }
        for needed in &module.needs {
            self.load(needed)?;
        }
        insert(name, &self.directory.join(&module.file), &self.parameters.of(name))
    }
}

fn insert(name: &str, path: &Path, parameters: &str) -> Result<(), Error> {
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let parameters = CString::new(parameters).unwrap_or_default();
    match finit_module(&file, &parameters, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(source) => Err(Error::Refused { name: name.to_owned(), source }),
    }
}

fn directories(path: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        names.insert(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(version: &str, table: &str) -> tempfile::TempDir {
        let root = tempfile::TempDir::new().unwrap();
        let directory = root.path().join("lib/modules").join(version);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(table::FILE_NAME), table).unwrap();
        root
    }

    #[test]
    fn modules_of_another_kernel_are_refused_by_name() {
        let root = tree("6.12.1", "kernel 6.12.1\n");
        let error = Modules::open(root.path(), "6.12.2", "").unwrap_err();
        assert_eq!(
            error.to_string(),
            "this initrd holds modules for kernel 6.12.1, but the running kernel is 6.12.2: boot the kernel that it was \
             built for, or build one for this kernel (layerctl initrd)"
        );
    }

    #[test]
    fn without_modules_everything_is_taken_for_built_in() {
        let root = tempfile::TempDir::new().unwrap();
        let mut modules = Modules::open(root.path(), "6.12.2", "").unwrap();
        assert!(modules.load_for_boot().is_empty());
        modules.load_for_filesystem("ext4").unwrap();
    }

    #[test]
    fn a_damaged_list_is_an_error_with_its_line() {
        let root = tree("6", "kernel 6\nmodul x\n");
        let error = Modules::open(root.path(), "6", "").unwrap_err().to_string();
        assert!(
            error.ends_with(
                "modules.layers: line 2 of the module list cannot be understood: \"modul x\""
            ),
            "{error}"
        );
    }

    #[test]
    fn dependencies_come_first_and_a_circle_ends() {
        let root = tree(
            "6",
            "kernel 6\nmodule a a.ko b\nmodule b b.ko a ~c\nmodule c c.ko\nboot a\nboot z\n",
        );
        let mut modules = Modules::open(root.path(), "6", "").unwrap();
        let errors: Vec<_> = modules.load_for_boot().iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 2, "{errors:?}");
        // b's file is looked for before a's; that c is not there either does no harm.
        assert!(errors[0].contains("/lib/modules/6/b.ko: No such file"), "{errors:?}");
        assert_eq!(errors[1], "the module z is not in this initrd");
        assert_eq!(modules.tried().collect::<Vec<_>>(), ["a", "b", "c", "z"]);
    }

    #[test]
    fn a_watchdog_s_driver_is_loaded_only_where_one_is_asked_for() {
        let root = tree("6", "kernel 6\nmodule dog d.ko\nwatchdog pci:v8086* dog\n");
        let mut modules = Modules::open(root.path(), "6", "").unwrap();
        assert!(modules.load_for_device("pci:v8086d25ab").is_empty());
        modules.look_for_watchdogs();
        assert_eq!(modules.load_for_device("pci:v8086d25ab").len(), 1, "d.ko is not there");
    }

    #[test]
    fn a_device_calls_for_the_modules_whose_alias_matches() {
        let text = "kernel 6\nmodule vblk v.ko\nmodule nvme n.ko\nalias virtio:d00000002v* vblk\nalias pci:*bc01sc08* nvme\n";
        let root = tree("6", text);
        let sys = tempfile::TempDir::new().unwrap();
        for (device, modalias) in [
            ("bus/virtio/devices/virtio0", "virtio:d00000002v00001AF4\n"),
            ("bus/pci/devices/0", "pci:v1bc06\n"),
        ] {
            fs::create_dir_all(sys.path().join(device)).unwrap();
            fs::write(sys.path().join(device).join("modalias"), modalias).unwrap();
        }
        fs::create_dir_all(sys.path().join("bus/cpu/devices/cpu0")).unwrap();
        let mut modules = Modules::open(root.path(), "6", "").unwrap();
        assert_eq!(modules.load_for_present_devices(sys.path()).len(), 1, "v.ko is not there");
        assert_eq!(modules.tried().collect::<Vec<_>>(), ["vblk"]);
        assert!(modules.load_for_present_devices(sys.path()).is_empty(), "not tried again");

        let mut modules = Modules::open(root.path(), "6", "modprobe.blacklist=vblk").unwrap();
        assert!(modules.load_for_present_devices(sys.path()).is_empty());
        assert_eq!(modules.tried().count(), 0);
    }
}
