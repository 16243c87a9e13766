//! Which modules an initramfs gets and what calls for each: a pure function of the roles and the kernel's index.

use std::{collections::BTreeSet, fmt};

use super::{
    index::{Found, Index},
    role::{BASE, Modules, Occasion, Role},
};

/// A module in the initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selected {
    /// The name.
    pub(super) name: String,
    /// The file in the tree, perhaps compressed.
    pub(super) source: String,
    /// Modules that must be loaded before.
    pub(super) needs: Vec<String>,
    /// Modules that should be loaded before.
    pub(super) wants: Vec<String>,
}

impl Selected {
    /// The file in the initramfs: not compressed.
    pub(super) fn file(&self) -> &str {
        self.source.split_once(".ko.").map_or(&self.source, |(stem, _)| {
            self.source.get(..stem.len() + ".ko".len()).unwrap_or(&self.source)
        })
    }
}

/// The choice. Its `Display` is the file `modules.layers`, whose format init's module list describes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Selection {
    /// The kernel version.
    pub(super) kernel: String,
    /// The modules, each after those that it needs or wants.
    pub(super) modules: Vec<Selected>,
    boot: Vec<String>,
    filesystems: Vec<(String, Vec<String>)>,
    aliases: Vec<(String, String)>,
    /// The modules whose aliases count only where a watchdog is asked for.
    watchdogs: Vec<String>,
}

/// The kernel lacks what a role needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kernel {kernel} has no {module}, neither as a module nor built in; {purpose} needs it")]
pub(crate) struct Lacking {
    /// The kernel version.
    pub(crate) kernel: String,
    /// The module's name.
    pub(crate) module: String,
    /// The role, or what every boot does.
    pub(crate) purpose: String,
}

/// Chooses the modules for `roles` and for the stack of images.
pub(super) fn select(kernel: &str, index: &Index, roles: &[Role]) -> Result<Selection, Lacking> {
    let mut selection = Selection { kernel: kernel.to_owned(), ..Selection::default() };
    for modules in BASE {
        selection.take(index, modules, "the stack of images")?;
    }
    for role in roles.iter().copied().collect::<BTreeSet<_>>() {
        selection.take(index, role.modules(), &format!("role {role}"))?;
    }
    for module in &selection.modules {
        let aliases = index.device_aliases(&module.name);
        selection.aliases.extend(aliases.map(|alias| (alias.to_owned(), module.name.clone())));
    }
    selection.aliases.sort();
    Ok(selection)
}

/// Whether the kernel has what a role needs.
pub(super) fn has(index: &Index, role: Role) -> bool {
    role.modules().needed.iter().all(|name| index.find(name) != Found::Nothing)
}

impl Selection {
    fn take(&mut self, index: &Index, modules: Modules, purpose: &str) -> Result<(), Lacking> {
        let before = self.modules.len();
        for needed in modules.needed {
            if self.add(index, needed) == Found::Nothing {
                return Err(Lacking {
                    kernel: self.kernel.clone(),
                    module: (*needed).to_owned(),
                    purpose: purpose.to_owned(),
                });
            }
        }
        for wanted in modules.wanted {
            self.add(index, wanted);
        }
        let names = modules.needed.iter().chain(modules.wanted).copied();
        let loaded: Vec<_> = names.filter(|name| self.contains(name)).map(str::to_owned).collect();
        match modules.occasion {
            Occasion::Boot => self.boot.extend(loaded),
            Occasion::Mount(_) if loaded.is_empty() => {}
            Occasion::Mount(filesystem) => self.filesystems.push((filesystem.to_owned(), loaded)),
            Occasion::Device => {}
            Occasion::Watchdog => {
                let added = self.modules.iter().skip(before);
                self.watchdogs.extend(added.map(|module| module.name.clone()));
            }
        }
        Ok(())
    }

    /// Adds a module after what it needs and wants; one that is there already, or built in, is left alone.
    fn add<'a>(&mut self, index: &'a Index, name: &str) -> Found<'a> {
        self.add_below(index, name, &mut Vec::new())
    }

    /// `above` are the modules that this one is added for: soft dependencies may go round in a circle, which ends there.
    fn add_below<'a>(
        &mut self,
        index: &'a Index,
        name: &str,
        above: &mut Vec<String>,
    ) -> Found<'a> {
        let found = index.find(name);
        let Found::Module(module) = &found else { return found };
        if self.contains(name) || above.iter().any(|other| other == name) {
            return found;
        }
        above.push(name.to_owned());
        let wants: Vec<String> =
            module.wants.iter().flat_map(|wanted| index.providers(wanted)).collect();
        for before in wants.iter().chain(&module.needs) {
            self.add_below(index, before, above);
        }
        above.pop();
        let (source, needs) = (module.file.clone(), module.needs.clone());
        self.modules.push(Selected { name: name.to_owned(), source, needs, wants });
        found
    }

    fn contains(&self, name: &str) -> bool {
        self.modules.iter().any(|module| module.name == name)
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel {}", self.kernel)?;
        for module in &self.modules {
            write!(f, "module {} {}", module.name, module.file())?;
            module.needs.iter().try_for_each(|name| write!(f, " {name}"))?;
            module.wants.iter().try_for_each(|name| write!(f, " ~{name}"))?;
            writeln!(f)?;
        }
        for name in &self.boot {
            writeln!(f, "boot {name}")?;
        }
        for (filesystem, modules) in &self.filesystems {
            writeln!(f, "filesystem {filesystem} {}", modules.join(" "))?;
        }
        for (pattern, module) in &self.aliases {
            let statement = if self.watchdogs.contains(module) { "watchdog" } else { "alias" };
            writeln!(f, "{statement} {pattern} {module}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::index::Texts, *};

    const DEP: &str = "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n\
        kernel/fs/jbd2/jbd2.ko.xz:\nkernel/lib/crc16.ko.xz:\n\
        kernel/arch/x86/crypto/crc32c-intel.ko.xz:\nkernel/fs/overlayfs/overlay.ko.zst:\n\
        kernel/drivers/block/virtio_blk.ko:\nkernel/drivers/net/virtio_net.ko:\n\
        kernel/drivers/watchdog/i6300esb.ko.xz: kernel/drivers/watchdog/watchdog.ko.xz\n\
        kernel/drivers/watchdog/watchdog.ko.xz:\n";
    const BUILTIN: &str = "loop.ko\nsquashfs.ko\nerofs.ko\n";
    const ALIAS: &str = "alias crypto-crc32c crc32c_intel\nalias virtio:d00000002v* virtio_blk\n\
        alias virtio:d00000001v* virtio_net\nalias fs-ext4 ext4\n\
        alias pci:v00008086d000025ABsv* i6300esb\n";
    const SOFTDEP: &str = "softdep ext4 pre: crypto-crc32c\n";

    fn index() -> Index {
        Index::parse(Texts { dep: DEP, builtin: BUILTIN, alias: ALIAS, softdep: SOFTDEP })
    }

    /// What init's tests read: the two sides of the format agree.
    const EXAMPLE: &str = include_str!("../../../initrd/src/modules/example.table");

    #[test]
    fn the_list_is_the_one_that_init_reads() {
        let selection =
            select("6.12.0-test", &index(), &[Role::Watchdog, Role::Ext4, Role::Virtio]);
        assert_eq!(selection.unwrap().to_string(), EXAMPLE);
    }

    #[test]
    fn the_modules_of_an_image_wait_for_one() {
        let dep = "overlay.ko:\nloop.ko:\nsquashfs.ko:\nerofs.ko: libcrc32c.ko\nlibcrc32c.ko:\n";
        let index = Index::parse(Texts { dep, ..Texts::default() });
        let list = select("6.12", &index, &[]).unwrap().to_string();
        let occasions: Vec<_> = list.lines().filter(|line| !line.starts_with("module ")).collect();
        assert_eq!(
            occasions,
            [
                "kernel 6.12",
                "boot overlay",
                "filesystem squashfs loop squashfs",
                "filesystem erofs loop erofs",
            ]
        );
    }

    #[test]
    fn the_order_and_the_number_of_roles_do_not_matter() {
        let once = select("6", &index(), &[Role::Virtio, Role::Ext4]).unwrap();
        let twice = select("6", &index(), &[Role::Ext4, Role::Virtio, Role::Ext4]).unwrap();
        assert_eq!(once, twice);
    }

    #[test]
    fn a_role_that_the_kernel_cannot_fill_is_refused() {
        assert!(has(&index(), Role::Ext4) && !has(&index(), Role::Xfs));
        assert_eq!(
            select("6.1", &index(), &[Role::Xfs]).unwrap_err().to_string(),
            "kernel 6.1 has no xfs, neither as a module nor built in; role xfs needs it"
        );
        let error = select("6.1", &Index::default(), &[]).unwrap_err();
        assert_eq!(
            (error.module.as_str(), error.purpose.as_str()),
            ("overlay", "the stack of images")
        );
    }

    #[test]
    fn soft_dependencies_that_go_round_in_a_circle_end() {
        let softdep = "softdep ext4 pre: jbd2\nsoftdep jbd2 pre: ext4\n";
        let index = Index::parse(Texts { dep: DEP, builtin: BUILTIN, alias: "", softdep });
        let selection = select("6", &index, &[Role::Ext4]).unwrap();
        let names: Vec<_> = selection.modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names.iter().filter(|&&name| name == "ext4").count(), 1, "{names:?}");
        assert!(names.contains(&"jbd2"), "{names:?}");
    }
}
