//! The initramfs of the peers, each made by its own program in a copy of the tree that has its packages.
//!
//! ```text
//! base.tar ─→ tree ─┬→ mkinitramfs                        (the tree's own: pmem alone, see machines.rs for the other)
//!                   ├→ + overlayroot, busybox ─→ mkinitramfs
//!                   ├→ + live-boot ─→ mkinitramfs
//!                   └→ + dracut-core, dracut-live ─→ dracut
//! Debian's packages ─→ mkosi's own definition of an initrd
//! ```

use super::super::BenchError;
use crate::base::Tree;
use crate::cache::{self, Key};
use crate::files;
use crate::packages;
use crate::process;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

/// For initramfs-tools: what a root on persistent memory needs; it has the drivers of other disks without being told.
const PMEM: &str = "nfit\nnd_btt\nnd_pmem\n";

/// Where a copy of the tree has the packages to be installed.
const PACKAGES: &str = "bench-packages";

/// Installs packages that lie in a directory of the tree; nothing is made of the kernel meanwhile.
const INSTALL: &str = "cd /bench-packages && DEBIAN_FRONTEND=noninteractive INITRD=No \
    dpkg --force-unsafe-io --install *.deb && rm -r /bench-packages";

/// A peer's initramfs, and its own for persistent memory.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Initrd {
    /// With the drivers that it has by default.
    pub(in crate::bench) usual: PathBuf,
    /// With those of persistent memory.
    pub(in crate::bench) pmem: PathBuf,
}

/// The initramfs of all peers.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Initrds {
    /// initramfs-tools alone; its usual one is made with the tree.
    pub(in crate::bench) debian: Initrd,
    /// initramfs-tools with overlayroot, of cloud-initramfs-tools.
    pub(in crate::bench) overlayroot: Initrd,
    /// initramfs-tools with live-boot.
    pub(in crate::bench) live: Initrd,
    /// dracut with dmsquash-live and, as everywhere where systemd is installed, systemd.
    pub(in crate::bench) dracut: Initrd,
    /// mkosi's initrd: Debian's packages of systemd, udev and what a disk may need.
    pub(in crate::bench) mkosi: Initrd,
}

impl Initrds {
    /// Makes them, or takes them from the cache. Needs root.
    pub(in crate::bench) fn build(
        workspace: &Workspace,
        tree: &Tree,
        debian: PathBuf,
    ) -> Result<Self, BenchError> {
        let key =
            Key::new(include_str!("initrds.rs")).with(tree.tar.as_os_str().as_encoded_bytes());
        let kept = |name: &str, make: &dyn Fn(&Path) -> Result<(), BenchError>| {
            let dir = cache::directory(workspace, &format!("bench/initrd-{name}"), &key, make)?;
            Ok::<_, BenchError>(Initrd { usual: dir.join("usual"), pmem: dir.join("pmem") })
        };
        let of_packages = |dir: &Path, packages: &[&str], command: &dyn Fn(&str) -> String| {
            let root = dir.join("tree");
            unpack(workspace, tree, packages, &root)?;
            run(&root, &command("/usual"))?;
            let modules = root.join("etc/initramfs-tools/modules");
            files::write(&modules, PMEM)?;
            run(&root, &command("/pmem"))?;
            for name in ["usual", "pmem"] {
                files::rename(&root.join(name), &dir.join(name))?;
            }
            Ok::<_, BenchError>(files::remove_tree(&root)?)
        };
        let version = &tree.kernel_version;
        let mkinitramfs = |to: &str| format!("mkinitramfs -o {to} {version}");
        let dracut = |to: &str| {
            format!("dracut --quiet --no-hostonly --add dmsquash-live --kver {version} {to}")
        };
        let plain = kept("initramfs-tools", &|dir| of_packages(dir, &[], &mkinitramfs))?;
        Ok(Self {
            debian: Initrd { usual: debian, pmem: plain.pmem },
            overlayroot: kept("overlayroot", &|dir| {
                of_packages(dir, &["overlayroot", "busybox"], &mkinitramfs)
            })?,
            live: kept("live-boot", &|dir| {
                of_packages(dir, &["live-boot", "live-boot-initramfs-tools"], &mkinitramfs)
            })?,
            dracut: kept("dracut", &|dir| {
                of_packages(dir, &["dracut-core", "dracut-live", "zstd"], &dracut)
            })?,
            mkosi: kept("mkosi", &|dir| {
                tree.mkosi_initrd(workspace, &["/nd_pmem.ko", "/nd_btt.ko", "/nfit.ko"], dir)?;
                files::rename(&dir.join("initrd.cpio.zst"), &dir.join("usual"))?;
                Ok(process::run(
                    process::command("ln").arg(dir.join("usual")).arg(dir.join("pmem")),
                )?)
            })?,
        })
    }
}

/// Unpacks the tree and installs packages in it.
fn unpack(
    workspace: &Workspace,
    tree: &Tree,
    packages: &[&str],
    root: &Path,
) -> Result<(), BenchError> {
    files::make_dir(root)?;
    process::run(process::command("tar").arg("-xpf").arg(&tree.tar).arg("-C").arg(root))?;
    if packages.is_empty() {
        return Ok(());
    }
    let archives = root.join(PACKAGES);
    packages::download(workspace, tree, packages, &archives)?;
    run(root, INSTALL)
}

/// Runs a shell command in the tree, with the devices and mounts that it has in a running system, and none left behind.
fn run(root: &Path, script: &str) -> Result<(), BenchError> {
    let mounts = "mount --bind /dev \"$0/dev\" && mount -t proc proc \"$0/proc\" && \
        mount -t sysfs sysfs \"$0/sys\" && exec chroot \"$0\" sh -c \"$1\"";
    let mut command = process::command("unshare");
    command.args(["--mount", "--pid", "--fork", "sh", "-c", mounts]).arg(root).arg(script);
    Ok(process::run(&mut command)?)
}
