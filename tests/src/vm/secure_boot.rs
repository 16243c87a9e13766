//! Keys of a machine's owner for UEFI Secure Boot, and programs signed with them.
//!
//! Source: UEFI specification 2.10, 32.3 "Firmware/OS Key Exchange"; loader.conf(5), `secure-boot-enroll`.

use super::disk::DiskError;
use crate::files;
use crate::process;
use std::path::{Path, PathBuf};

/// Whose variables efitools says the keys are; any GUID will do.
const OWNER: &str = "0b9b4c4e-3f2f-4a7e-9d52-6c3a1f0f7f11";

/// The three keys and who signs each: the platform key itself, the exchange key and, through it, the one of programs.
const CHAIN: [(&str, &str); 3] = [("PK", "PK"), ("KEK", "PK"), ("db", "KEK")];

/// A directory with NAME.key and NAME.crt for each key of a machine, all PEM.
#[derive(Debug, Clone)]
pub struct Keys {
    dir: PathBuf,
}

impl Keys {
    /// Makes new keys in a directory, which is made.
    pub fn make(dir: &Path) -> Result<Self, DiskError> {
        files::make_dir(dir)?;
        let keys = Self { dir: dir.to_owned() };
        for (name, _) in CHAIN {
            let mut openssl = process::command("openssl");
            openssl.args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-sha256", "-noenc"]);
            openssl.args(["-days", "3650", "-subj", &format!("/CN=test {name}")]);
            openssl.arg("-keyout").arg(keys.path(name, "key"));
            process::run(openssl.arg("-out").arg(keys.path(name, "crt")))?;
        }
        Ok(keys)
    }

    /// The private key that programs are signed with.
    pub fn key(&self) -> PathBuf {
        self.path("db", "key")
    }

    /// The certificate of that key.
    pub fn certificate(&self) -> PathBuf {
        self.path("db", "crt")
    }

    /// Writes `PK.auth`, `KEK.auth` and `db.auth` into a directory, which is made: the variables as a firmware takes them.
    pub fn write_variables(&self, into: &Path) -> Result<(), DiskError> {
        files::make_dir(into)?;
        for (name, signer) in CHAIN {
            let list = self.path(name, "esl");
            let mut make = process::command("cert-to-efi-sig-list");
            make.args(["-g", OWNER]).arg(self.path(name, "crt"));
            process::run(make.arg(&list))?;
            let mut sign = process::command("sign-efi-sig-list");
            sign.args(["-g", OWNER, "-k"]).arg(self.path(signer, "key"));
            sign.arg("-c").arg(self.path(signer, "crt")).arg(name).arg(&list);
            process::run(sign.arg(into.join(format!("{name}.auth"))))?;
        }
        Ok(())
    }

    /// Copies a program for UEFI firmware, signed.
    pub fn sign(&self, program: &Path, signed: &Path) -> Result<(), DiskError> {
        let mut sbsign = process::command("sbsign");
        sbsign.arg("--key").arg(self.key()).arg("--cert").arg(self.certificate());
        Ok(process::run(sbsign.arg("--output").arg(signed).arg(program))?)
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{name}.{kind}"))
    }
}
