//! Without --root: the store that this machine booted from, with what the initrd reported.

use insta::assert_snapshot;
use layers::policy::{Dir, Mode};
use layers::report::{BootReport, FailedCandidate, Skipped, WritableMount};

use crate::world::World;

/// Runs commands in a mount namespace that looks like a machine which booted from `state` with the report boot.json.
pub(crate) fn booted(world: &World, lines: &[&str]) -> String {
    let mut script = "exec 2>&1; here=$PWD; mount -t tmpfs none /run
        mkdir -p /run/initramfs/layers/state /run/layers
        if [ -d /sys/firmware ]; then mount -t tmpfs none /sys/firmware; fi
        mount --bind state /run/initramfs/layers/state
        echo 'quiet layers.skip=tree' >cmdline; mount --bind cmdline /proc/cmdline
        if [ -e boot.json ]; then cp boot.json /run/layers; fi
        if [ -e prepare ]; then . ./prepare; fi\n"
        .to_owned();
    for line in lines {
        script += &format!("echo '$ layerctl {line}'; layerctl {line} || echo \"--- exit $?\"\n");
    }
    world.write("script", script);
    world.shell("unshare -m --propagation private sh -eu script")
}

/// Writes what the initrd reports when generation 3 did not boot and 2 came without its layer.
fn report(world: &World) {
    let skipped = Skipped {
        name: "htop".parse().unwrap(),
        why: "its image is missing from the store".to_owned(),
    };
    let failed = FailedCandidate {
        id: "3".parse().unwrap(),
        why: "base image 0123456789ab is missing from the store".to_owned(),
    };
    let report = BootReport {
        schema: layers::report::SCHEMA,
        cmdline: "quiet layers.add=jq".to_owned(),
        generation: "2".parse().unwrap(),
        layers: Vec::new(),
        skipped: vec![skipped],
        problems: vec!["layers.add: generation 2 has no layer jq".to_owned()],
        writable: vec![WritableMount { dir: Dir::Etc, mode: Mode::Ephemeral, wiped: false }],
        verify: layers::trust::Verify::Off,
        unsigned: Vec::new(),
        index: None,
        failed: vec![failed],
        steps: Vec::new(),
    };
    world.write("boot.json", serde_json::to_string(&report).unwrap());
}

#[test]
fn status_tells_what_runs_and_what_went_wrong() {
    let world = World::with_layers();
    report(&world);
    assert_snapshot!(booted(&world, &["status", "status --json"]));
}

/// Writes what init reports of a boot in which everything had to be signed, and the variables of a firmware that started a
/// signed image; `verify` and `secure_boot` as those have them.
fn sealed(world: &World, verify: &str, unsigned: &str, secure_boot: u8, mode: &str) {
    world.write(
        "boot.json",
        format!(
            r#"{{"schema": 1, "cmdline": "", "generation": 2, "layers": [], "skipped": [], "problems": [],
                "writable": [{{"dir": "etc", "mode": "{mode}", "wiped": false}}],
                "verify": "{verify}", "unsigned": [{unsigned}], "failed": [], "steps": []}}"#
        ),
    );
    let global = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let stub = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    world.write(
        "prepare",
        format!(
            "efivars=/sys/firmware/efi/efivars; mkdir -p $efivars
             printf '\\006\\000\\000\\000\\00{secure_boot}' >$efivars/SecureBoot-{global}
             printf '\\006\\000\\000\\000s\\000' >$efivars/StubInfo-{stub}\n"
        ),
    );
}

#[test]
fn status_says_how_far_signatures_reach() {
    let world = World::with_layers();
    let mut text = String::new();
    for (verify, unsigned, secure_boot, mode) in [
        ("require", "", 1, "ephemeral"),
        ("require", "", 1, "persistent"),
        ("require", "", 0, "ephemeral"),
        ("if-signed", r#""debian", "htop""#, 1, "persistent"),
    ] {
        sealed(&world, verify, unsigned, secure_boot, mode);
        let said = booted(&world, &["status", "status --json"]);
        // Above the generations, and in JSON what is said of the seal.
        text += said.split("\n\n").next().unwrap_or_default();
        let json = said.split("$ layerctl status --json").nth(1).unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        text += &format!("\n{}\n\n", json["seal"]);
    }
    assert_snapshot!(text);
}

#[test]
fn cleanup_keeps_the_generation_that_runs() {
    let world = World::with_layers();
    report(&world);
    assert_snapshot!(booted(&world, &["cleanup --keep 0", "cleanup --keep 0 -q", "status"]));
}

#[test]
fn the_plan_takes_the_running_system_s_command_line() {
    let world = World::with_layers();
    assert_snapshot!(booted(&world, &["plan"]));
}

#[test]
fn a_report_that_cannot_be_read_stops_changes_but_not_status() {
    let world = World::with_layers();
    world.write("boot.json", "{");
    assert_snapshot!(booted(&world, &["cleanup --keep 0", "set list"]));
}

#[test]
fn a_base_for_another_machine_is_refused() {
    let world = World::with_base();
    world.done(
        "build base --kind base --name debian --version 14 --architecture riscv64 -o other.img",
    );
    assert_snapshot!(booted(&world, &["base import other.img"]));
    world.done("base import other.img");
}
