//! The command line of unified kernel images.

use std::path::{Path, PathBuf};

use clap::Args;

/// What makes a unified kernel image of an initrd.
#[derive(Debug, Args)]
pub(crate) struct Uki {
    /// Make a unified kernel image: kernel, initrd and a fixed command line in one file that UEFI firmware starts
    #[arg(long)]
    pub(crate) uki: bool,
    /// The kernel [default: usr/lib/modules/VERSION/vmlinuz or boot/vmlinuz-VERSION of the tree]
    #[arg(long, value_name = "FILE", requires = "uki")]
    pub(crate) linux: Option<PathBuf>,
    /// The kernel's command line, which nobody can change without the key
    /// [default: layers.state=LABEL=layers panic=10, and layers.watchdog=120 where the tree marks its boots good]
    #[arg(long, value_name = "TEXT", requires = "uki")]
    pub(crate) cmdline: Option<String>,
    /// systemd-stub [default: usr/lib/systemd/boot/efi/linuxx64.efi.stub of the tree, else of this machine]
    #[arg(long, value_name = "FILE", requires = "uki")]
    pub(crate) stub: Option<PathBuf>,
    /// os-release(5), for a boot loader's menu [default: usr/lib/os-release of the tree]
    #[arg(long, value_name = "FILE", requires = "uki")]
    pub(crate) os_release: Option<PathBuf>,
    /// Sign the image with this key, in PEM; sbsign asks for its password
    #[arg(long, value_name = "KEY", requires = "uki", requires = "secure_boot_certificate")]
    pub(crate) secure_boot_key: Option<PathBuf>,
    /// The key's certificate, in PEM
    #[arg(long, value_name = "CERT", requires = "uki", requires = "secure_boot_key")]
    pub(crate) secure_boot_certificate: Option<PathBuf>,
}

impl Uki {
    /// The key and its certificate.
    pub(crate) fn signer(&self) -> Option<(&Path, &Path)> {
        self.secure_boot_key.as_deref().zip(self.secure_boot_certificate.as_deref())
    }
}
