//! What an initramfs can be built for: each role is a small list of kernel modules.

use std::{fmt, str::FromStr};

/// A kind of disk, file system or device that the initramfs can deal with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Disks of virtual machines: virtio-blk and virtio-scsi.
    Virtio,
    /// NVMe disks.
    Nvme,
    /// SATA and IDE disks.
    Ahci,
    /// SCSI and SAS adapters, of hypervisors too.
    Scsi,
    /// Disks on USB.
    UsbStorage,
    /// SD cards and eMMC.
    Mmc,
    /// Persistent memory.
    Pmem,
    /// State on ext2, ext3 or ext4.
    Ext4,
    /// State on btrfs.
    Btrfs,
    /// State on XFS.
    Xfs,
    /// State on FAT.
    Vfat,
    /// Images that dm-verity checks.
    Verity,
    /// Hardware watchdogs.
    Watchdog,
}

/// What makes init load modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Every boot.
    Boot,
    /// The mount of a file system of this type.
    Mount(&'static str),
    /// A device that the driver says it is for.
    Device,
    /// As [`Self::Device`], in boots that ask for a watchdog: distributions don't load these drivers unasked either.
    Watchdog,
}

/// Modules that go together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modules {
    /// Without these (as modules or built in) the kernel cannot do it.
    pub(super) needed: &'static [&'static str],
    /// Taken where the kernel has them as modules.
    pub(super) wanted: &'static [&'static str],
    /// When they are loaded.
    pub(super) occasion: Occasion,
}

/// What every initramfs holds: the stack of images. Each module costs a boot some 30 ms on an emulated machine, most of
/// it to check its signature, so an image's own are loaded only where there is one. EROFS takes loop devices where the
/// kernel makes its file-backed mounts dear.
pub(super) const BASE: [Modules; 3] = [
    Modules { needed: &["overlay"], wanted: &[], occasion: Occasion::Boot },
    filesystem("squashfs", &["loop", "squashfs"], &[]),
    filesystem("erofs", &["loop", "erofs"], &[]),
];

const fn drivers(needed: &'static [&'static str], wanted: &'static [&'static str]) -> Modules {
    Modules { needed, wanted, occasion: Occasion::Device }
}

const fn filesystem(
    name: &'static str,
    needed: &'static [&'static str],
    wanted: &'static [&'static str],
) -> Modules {
    Modules { needed, wanted, occasion: Occasion::Mount(name) }
}

impl Role {
    /// All roles, in the order in which they are listed to people.
    pub(crate) const ALL: [Self; 13] = [
        Self::Virtio,
        Self::Nvme,
        Self::Ahci,
        Self::Scsi,
        Self::UsbStorage,
        Self::Mmc,
        Self::Pmem,
        Self::Ext4,
        Self::Btrfs,
        Self::Xfs,
        Self::Vfat,
        Self::Verity,
        Self::Watchdog,
    ];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::Nvme => "nvme",
            Self::Ahci => "ahci",
            Self::Scsi => "scsi",
            Self::UsbStorage => "usb-storage",
            Self::Mmc => "mmc",
            Self::Pmem => "pmem",
            Self::Ext4 => "ext4",
            Self::Btrfs => "btrfs",
            Self::Xfs => "xfs",
            Self::Vfat => "vfat",
            Self::Verity => "verity",
            Self::Watchdog => "watchdog",
        }
    }

    pub(super) fn modules(self) -> Modules {
        match self {
            Self::Virtio => drivers(&["virtio_blk"], &["virtio_pci", "virtio_scsi", "sd_mod"]),
            Self::Nvme => drivers(&["nvme"], &[]),
            Self::Ahci => drivers(&["ahci", "sd_mod"], &["ata_piix"]),
            Self::Scsi => drivers(
                &["sd_mod"],
                &[
                    "aacraid",
                    "hpsa",
                    "hv_storvsc",
                    "megaraid_sas",
                    "mpt3sas",
                    "mptsas",
                    "mptspi",
                    "smartpqi",
                    "vmw_pvscsi",
                ],
            ),
            Self::UsbStorage => drivers(
                &["usb_storage", "sd_mod"],
                &["uas", "xhci_pci", "ehci_pci", "ohci_pci", "uhci_hcd"],
            ),
            Self::Mmc => drivers(&["mmc_block"], &["sdhci_pci", "sdhci_acpi"]),
            Self::Pmem => drivers(&["nd_pmem"], &["nfit", "nd_e820"]),
            Self::Ext4 => filesystem("ext4", &["ext4"], &[]),
            Self::Btrfs => filesystem("btrfs", &["btrfs"], &[]),
            Self::Xfs => filesystem("xfs", &["xfs"], &[]),
            // The kernel's configuration says which character set a mount without options takes.
            Self::Vfat => filesystem(
                "vfat",
                &["vfat"],
                &["nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8"],
            ),
            // The fast forms of SHA-256 are never loaded by a device; whichever fits the processor is taken.
            Self::Verity => filesystem(
                "verity",
                &["dm_verity"],
                &["sha256_generic", "sha256_ssse3", "sha256_arm64", "sha2_ce"],
            ),
            // lpc_ich and i2c_i801 make the device that iTCO_wdt is for.
            Self::Watchdog => Modules {
                needed: &[],
                wanted: &[
                    "i6300esb",
                    "iTCO_wdt",
                    "lpc_ich",
                    "i2c_i801",
                    "sp5100_tco",
                    "wdat_wdt",
                    "hpwdt",
                ],
                occasion: Occasion::Watchdog,
            },
        }
    }
}

/// A name that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no role of an initrd; there are {}", Role::ALL.map(Role::name).join(", "))]
pub(crate) struct UnknownRole {
    /// What was asked for.
    pub(crate) name: String,
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        let known = Self::ALL.into_iter().find(|role| role.name() == name);
        known.ok_or_else(|| UnknownRole { name: name.to_owned() })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_written_and_others_are_refused_with_the_list() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!(
            "floppy".parse::<Role>().unwrap_err().to_string(),
            "\"floppy\" is no role of an initrd; there are virtio, nvme, ahci, scsi, usb-storage, mmc, pmem, ext4, btrfs, \
             xfs, vfat, verity, watchdog"
        );
    }
}
