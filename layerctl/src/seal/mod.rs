//! Whether this boot is sealed: whether every byte that ran, from the firmware's first to the last layer's, was signed by
//! somebody that the machine's owner trusts. A pure function of what firmware and init have said.
//!
//! It is what the running system says of itself, for its owner to see what is missing; it is no proof to another machine.

use layers::policy::Mode;
use layers::report::BootReport;
use layers::trust::Verify;
use serde::Serialize;

mod firmware;

pub(crate) use firmware::Firmware;

/// How far signatures reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// From the firmware to the last layer, and nothing else would have booted.
    Sealed,
    /// Over every image that is mounted, but not over what mounted them.
    Signed,
    /// Not even that.
    Unsigned,
}

impl Level {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Signed => "signed",
            Self::Unsigned => "unsigned",
        }
    }
}

/// How this machine is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Seal {
    /// How far signatures reach.
    pub(crate) level: Level,
    /// What keeps it from being sealed, one line each.
    pub(crate) missing: Vec<String>,
    /// What no signature covers all the same, one line each.
    pub(crate) uncovered: Vec<String>,
}

impl Seal {
    /// Judges a boot by its report and by what the firmware says.
    pub(crate) fn of(report: &BootReport, firmware: &Firmware) -> Self {
        let path = path(firmware);
        let images = images(report);
        let required = required(report);
        let level = match (path.is_empty(), images.is_empty(), required.is_empty()) {
            (true, true, true) => Level::Sealed,
            (_, true, _) => Level::Signed,
            (_, false, _) => Level::Unsigned,
        };
        let missing = [path, images, required].concat();
        let uncovered = if level == Level::Unsigned { Vec::new() } else { uncovered(report) };
        Self { level, missing, uncovered }
    }
}

/// What is missing between the firmware and the initrd.
fn path(firmware: &Firmware) -> Vec<String> {
    let line = |text: &str| vec![text.to_owned()];
    let Firmware::Uefi(found) = firmware else {
        return line(match firmware {
            Firmware::Other => {
                "the machine did not start through UEFI firmware: nothing checks what it starts"
            }
            _ => {
                "the firmware's variables cannot be read: nobody can tell whether Secure Boot is on"
            }
        });
    };
    let mut missing = Vec::new();
    if found.setup_mode {
        missing.extend(line("Secure Boot has no keys yet: the firmware starts any program"));
    } else if !found.secure_boot {
        missing.extend(line("Secure Boot is off: the firmware starts any program"));
    } else if found.shim_is_lax {
        missing.extend(line(
            "shim was told to check no signatures (MokSBState): it starts any program",
        ));
    }
    if !found.unified {
        missing.extend(line(
            "the kernel was not started from a unified kernel image: nobody signed the initrd and the command line",
        ));
    }
    missing
}

/// What is missing over the images that are mounted.
fn images(report: &BootReport) -> Vec<String> {
    if report.verify == Verify::Off {
        return vec![
            "init was not told to check signatures (verify off): any image is mounted".to_owned(),
        ];
    }
    let names: Vec<String> = report.unsigned.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![format!("mounted without a signature: {}", names.join(", "))]
}

/// What would have booted as well.
fn required(report: &BootReport) -> Vec<String> {
    match report.verify {
        Verify::IfSigned => {
            vec!["an image without a signature would be mounted too (verify if-signed)".to_owned()]
        }
        Verify::Off | Verify::Require => Vec::new(),
    }
}

/// Directories in which this boot shows what earlier ones have written, which nobody signed.
fn uncovered(report: &BootReport) -> Vec<String> {
    let kept = report.writable.iter().filter(|mount| mount.mode != Mode::Ephemeral);
    let dirs: Vec<String> = kept.map(|mount| format!("/{}", mount.dir)).collect();
    if dirs.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "what was written to {} in earlier boots is not covered; to boot without it: layers.ephemeral",
        dirs.join(", ")
    )]
}

#[cfg(test)]
mod tests;
