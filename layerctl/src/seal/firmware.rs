//! What the firmware's variables say of how this system was started.
//!
//! Source: UEFI specification 2.10, 3.3 "Globally Defined Variables"; systemd-stub(7), "EFI Variables"; shim's MokVars.txt;
//! efivarfs: Linux, Documentation/filesystems/efivarfs.rst.

#![expect(clippy::disallowed_methods, reason = "reads the firmware's variables")]

use std::fs;
use std::path::Path;

/// The firmware's own state: 1 where it checks signatures.
const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// 1 while there is no platform key, and anybody may enrol one.
const SETUP_MODE: &str = "SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Shim's copy of its own state for the running system: 1 where it checks nothing.
const MOK_SB_STATE: &str = "MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23";

/// The name and version of the systemd-stub that started the kernel.
const STUB_INFO: &str = "StubInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Attribute of a variable that outlives a restart. Whoever is root can make such ones; those that the firmware forgets can
/// be made only before the kernel runs (UEFI specification 2.10, 8.2, `SetVariable`).
const NON_VOLATILE: u8 = 1;

/// What is known of the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// Something other than UEFI started this system.
    Other,
    /// UEFI did, but its variables cannot be read.
    Unreadable,
    /// UEFI did.
    Uefi(Start),
}

/// How UEFI firmware started this system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// Whether it checks signatures.
    pub(crate) secure_boot: bool,
    /// Whether anybody may enrol keys.
    pub(crate) setup_mode: bool,
    /// Whether shim, which it started, checks nothing.
    pub(crate) shim_is_lax: bool,
    /// Whether systemd-stub started the kernel.
    pub(crate) unified: bool,
}

impl Firmware {
    /// Reads the variables of the running system below `efivars`, the mount point of efivarfs.
    pub(crate) fn read(efivars: &Path) -> Self {
        if efivars.parent().is_none_or(|efi| !efi.is_dir()) {
            return Self::Other;
        }
        let readable = fs::read_dir(efivars).is_ok_and(|mut entries| entries.next().is_some());
        if !readable {
            return Self::Unreadable;
        }
        let is_set = |name: &str| variable(efivars, name).is_some_and(|(_, value)| value == [1]);
        let unified = variable(efivars, STUB_INFO);
        Self::Uefi(Start {
            secure_boot: is_set(SECURE_BOOT),
            setup_mode: is_set(SETUP_MODE),
            shim_is_lax: is_set(MOK_SB_STATE),
            unified: unified.is_some_and(|(attributes, _)| attributes & NON_VOLATILE == 0),
        })
    }
}

/// The first byte of a variable's attributes, and its value.
fn variable(efivars: &Path, name: &str) -> Option<(u8, Vec<u8>)> {
    let bytes = fs::read(efivars.join(name)).ok()?;
    let (attributes, value) = bytes.split_at_checked(4)?;
    Some((*attributes.first()?, value.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_efivarfs_shows_them() {
        let sys = tempfile::tempdir().unwrap();
        let efivars = sys.path().join("efi/efivars");
        let write = |name: &str, attributes: u8, value: &[u8]| {
            let bytes = [&[attributes, 0, 0, 0], value].concat();
            fs::write(efivars.join(name), bytes).unwrap();
        };
        assert_eq!(Firmware::read(&efivars), Firmware::Other);
        fs::create_dir_all(&efivars).unwrap();
        assert_eq!(Firmware::read(&efivars), Firmware::Unreadable, "efivarfs is not mounted");
        write("Lang-8be4df61-93ca-11d2-aa0d-00e098032b8c", 7, b"eng");
        let off =
            Start { secure_boot: false, setup_mode: false, shim_is_lax: false, unified: false };
        assert_eq!(Firmware::read(&efivars), Firmware::Uefi(off));
        write(SECURE_BOOT, 6, &[1]);
        write(SETUP_MODE, 6, &[0]);
        write(STUB_INFO, 6, b"s\0t\0");
        let sealed = Start { secure_boot: true, unified: true, ..off };
        assert_eq!(Firmware::read(&efivars), Firmware::Uefi(sealed));
        write(MOK_SB_STATE, 6, &[1]);
        let lax = Start { shim_is_lax: true, ..sealed };
        assert_eq!(Firmware::read(&efivars), Firmware::Uefi(lax));
        // Somebody who was root has written it in an earlier boot.
        write(STUB_INFO, 7, b"s\0t\0");
        assert_eq!(Firmware::read(&efivars), Firmware::Uefi(Start { unified: false, ..lax }));
        write(SECURE_BOOT, 6, &[]);
        fs::write(efivars.join(SETUP_MODE), [6]).unwrap();
        assert_eq!(
            Firmware::read(&efivars),
            Firmware::Uefi(Start { shim_is_lax: true, ..off }),
            "what cannot be understood counts for nothing"
        );
    }
}
