//! The table of tools.

use super::Family;

/// How to see that a tool is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A program of the tool's name on the search path, /usr/sbin included.
    Program,
    /// This file exists.
    File(&'static str),
    /// The firmware of UEFI machines is in a place where one of the distributions puts it.
    Firmware,
    /// The C compiler finds `libc.a`, which static linking needs.
    StaticLibc,
}

/// Something that has to be installed, and the packages that bring it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The program's name, or the name to show for what is no program.
    pub name: &'static str,
    /// How to see that it is there.
    pub presence: Presence,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
}

impl Tool {
    /// The package that brings the tool; on an unknown distribution Debian's name is as good as any.
    pub fn package(&self, family: Family) -> &'static str {
        match family {
            Family::Debian | Family::Other => self.debian,
            Family::Fedora => self.fedora,
            Family::Arch => self.arch,
        }
    }
}

const fn program(
    name: &'static str,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
) -> Tool {
    Tool { name, presence: Presence::Program, debian, fedora, arch }
}

/// Where every distribution's package puts the keys that sign Debian's archive.
const ARCHIVE_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Every tool that building and testing need beside Rust itself.
pub const TOOLS: &[Tool] = &[
    program("qemu-system-x86_64", "qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86"),
    program("qemu-storage-daemon", "qemu-system-common", "qemu-img", "qemu-img"),
    program("mksquashfs", "squashfs-tools", "squashfs-tools", "squashfs-tools"),
    program("unsquashfs", "squashfs-tools", "squashfs-tools", "squashfs-tools"),
    program("mkfs.erofs", "erofs-utils", "erofs-utils", "erofs-utils"),
    program("mmdebstrap", "mmdebstrap", "mmdebstrap", "mmdebstrap"),
    program("apt-get", "apt", "apt", "apt"),
    program("dpkg-deb", "dpkg", "dpkg", "dpkg"),
    program("mkfs.ext4", "e2fsprogs", "e2fsprogs", "e2fsprogs"),
    program("mkfs.btrfs", "btrfs-progs", "btrfs-progs", "btrfs-progs"),
    program("mkfs.xfs", "xfsprogs", "xfsprogs", "xfsprogs"),
    program("e2fsck", "e2fsprogs", "e2fsprogs", "e2fsprogs"),
    program("btrfs", "btrfs-progs", "btrfs-progs", "btrfs-progs"),
    program("xfs_repair", "xfsprogs", "xfsprogs", "xfsprogs"),
    program("losetup", "mount", "util-linux", "util-linux"),
    program("setpriv", "util-linux", "util-linux", "util-linux"),
    program("mkfs.vfat", "dosfstools", "dosfstools", "dosfstools"),
    program("mcopy", "mtools", "mtools", "mtools"),
    program("sgdisk", "gdisk", "gdisk", "gptfdisk"),
    program("fdisk", "fdisk", "util-linux", "util-linux"),
    program("sfdisk", "fdisk", "util-linux", "util-linux"),
    program("xz", "xz-utils", "xz", "xz"),
    program("zstd", "zstd", "zstd", "zstd"),
    program("cpio", "cpio", "cpio", "cpio"),
    program("depmod", "kmod", "kmod", "kmod"),
    program("nginx", "nginx-light", "nginx", "nginx"),
    program("openssl", "openssl", "openssl", "openssl"),
    program("strace", "strace", "strace", "strace"),
    program("valgrind", "valgrind", "valgrind", "valgrind"),
    program("rpmbuild", "rpm", "rpm-build", "rpm-tools"),
    program("createrepo_c", "createrepo-c", "createrepo_c", "createrepo_c"),
    program("systemd-repart", "systemd", "systemd-udev", "systemd"),
    program("veritysetup", "cryptsetup-bin", "veritysetup", "cryptsetup"),
    program("fsverity", "fsverity", "fsverity-utils", "fsverity-utils"),
    program("minisign", "minisign", "minisign", "minisign"),
    program("busybox", "busybox-static", "busybox", "busybox"),
    program("objcopy", "binutils", "binutils", "binutils"),
    program("sbsign", "sbsigntool", "sbsigntools", "sbsigntools"),
    program("cert-to-efi-sig-list", "efitools", "efitools", "efitools"),
    Tool {
        name: "systemd-stub",
        presence: Presence::File("/usr/lib/systemd/boot/efi/linuxx64.efi.stub"),
        debian: "systemd-boot-efi",
        fedora: "systemd-boot-unsigned",
        arch: "systemd",
    },
    Tool {
        name: "OVMF",
        presence: Presence::Firmware,
        debian: "ovmf",
        fedora: "edk2-ovmf",
        arch: "edk2-ovmf",
    },
    Tool {
        name: "debian-archive-keyring",
        presence: Presence::File(ARCHIVE_KEYS),
        debian: "debian-archive-keyring",
        fedora: "debian-keyring",
        arch: "debian-archive-keyring",
    },
    Tool {
        name: "libc.a",
        presence: Presence::StaticLibc,
        debian: "libc6-dev",
        fedora: "glibc-static",
        arch: "glibc",
    },
];
