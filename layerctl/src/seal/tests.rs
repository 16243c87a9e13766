use super::*;
use crate::seal::firmware::Start;
use layers::policy::Dir;
use layers::report::{SCHEMA, WritableMount};

const SEALED: Start =
    Start { secure_boot: true, setup_mode: false, shim_is_lax: false, unified: true };

fn report(verify: Verify, unsigned: &[&str], mode: Mode) -> BootReport {
    let writable = [Dir::Etc, Dir::Var].map(|dir| WritableMount { dir, mode, wiped: false });
    BootReport {
        schema: SCHEMA,
        cmdline: String::new(),
        generation: "1".parse().unwrap(),
        layers: Vec::new(),
        skipped: Vec::new(),
        problems: Vec::new(),
        writable: writable.to_vec(),
        verify,
        unsigned: unsigned.iter().map(|name| name.parse().unwrap()).collect(),
        index: None,
        failed: Vec::new(),
        steps: Vec::new(),
    }
}

/// The level, and how many lines say what is missing and what is not covered.
fn judged(report: &BootReport, firmware: Firmware) -> (Level, usize, usize) {
    let seal = Seal::of(report, &firmware);
    (seal.level, seal.missing.len(), seal.uncovered.len())
}

#[test]
fn only_a_boot_that_lacks_nothing_is_sealed() {
    let require = report(Verify::Require, &[], Mode::Ephemeral);
    assert_eq!(judged(&require, Firmware::Uefi(SEALED)), (Level::Sealed, 0, 0));
    let start = |change: fn(&mut Start)| {
        let mut start = SEALED;
        change(&mut start);
        Firmware::Uefi(start)
    };
    for (firmware, missing) in [
        (Firmware::Other, 1),
        (Firmware::Unreadable, 1),
        (start(|start| start.secure_boot = false), 1),
        (start(|start| start.setup_mode = true), 1),
        (start(|start| start.shim_is_lax = true), 1),
        (start(|start| start.unified = false), 1),
        (start(|start| (start.secure_boot, start.unified) = (false, false)), 2),
    ] {
        assert_eq!(judged(&require, firmware), (Level::Signed, missing, 0), "{firmware:?}");
    }
}

#[test]
fn a_sealed_path_to_images_that_nobody_signed_is_no_seal() {
    let firmware = Firmware::Uefi(SEALED);
    for (verify, unsigned, level, missing) in [
        (Verify::Require, &[][..], Level::Sealed, 0),
        (Verify::IfSigned, &[], Level::Signed, 1),
        (Verify::IfSigned, &["htop"], Level::Unsigned, 2),
        (Verify::Require, &["htop"], Level::Unsigned, 1),
        (Verify::Off, &["debian", "htop"], Level::Unsigned, 1),
        (Verify::Off, &[], Level::Unsigned, 1),
    ] {
        let report = report(verify, unsigned, Mode::Ephemeral);
        assert_eq!(judged(&report, firmware), (level, missing, 0), "{verify:?} {unsigned:?}");
    }
}

#[test]
fn what_earlier_boots_wrote_is_not_covered_and_named() {
    let firmware = Firmware::Uefi(SEALED);
    for (mode, uncovered) in [(Mode::Persistent, 1), (Mode::Frozen, 1), (Mode::Ephemeral, 0)] {
        let report = report(Verify::Require, &[], mode);
        assert_eq!(judged(&report, firmware), (Level::Sealed, 0, uncovered), "{mode}");
    }
    let seal = Seal::of(&report(Verify::Require, &[], Mode::Frozen), &firmware);
    assert_eq!(
        seal.uncovered,
        [
            "what was written to /etc, /var in earlier boots is not covered; to boot without it: layers.ephemeral"
        ]
    );
    let unsigned = Seal::of(&report(Verify::Off, &[], Mode::Persistent), &firmware);
    assert_eq!(unsigned.uncovered, Vec::<String>::new(), "there is nothing that it is no part of");
}
