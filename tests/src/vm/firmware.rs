//! UEFI firmware for machines that start from their disk: OVMF, with variables of their own.

use super::value;
use crate::files::{self, FileError};
use std::io;
use std::path::{Path, PathBuf};

/// Where distributions put the code of OVMF without Secure Boot as a raw image, and the empty variables that go with it.
///
/// Debian (4 MiB, then the 2 MiB of older releases), Fedora, Arch.
pub const OVMF: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

/// The firmware of one machine. Its variables are kept in a file, as they are in a real machine's flash memory.
#[derive(Debug, Clone)]
pub struct Firmware {
    code: PathBuf,
    variables: PathBuf,
}

impl Firmware {
    /// Firmware as it comes from the factory; the file `variables` is made, or made anew.
    pub fn new(variables: &Path) -> Result<Self, FileError> {
        let found = OVMF.iter().find(|(code, _)| files::exists(Path::new(code)));
        let (code, empty) = found.ok_or_else(|| {
            let first = OVMF.first().map_or("OVMF", |(code, _)| code);
            FileError::new("find", Path::new(first), io::ErrorKind::NotFound.into())
        })?;
        files::copy(Path::new(empty), variables)?;
        Ok(Self { code: code.into(), variables: variables.to_owned() })
    }

    /// QEMU's options for the two flash memories.
    pub(super) fn options(&self) -> Vec<String> {
        let drive = |unit: u32, access: &str, path: &Path| {
            let file = value(path);
            ["-drive".to_owned(), format!("if=pflash,unit={unit},format=raw{access},file={file}")]
        };
        [drive(0, ",readonly=on", &self.code), drive(1, "", &self.variables)].concat()
    }
}
