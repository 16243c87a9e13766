//! What the kernel command line chooses: sets, layers, generations.

use crate::state::{BOOT, State, report, says};
use layers::report::BootReport;
use std::path::{Path, PathBuf};
use tests::failure::Failure;
use tests::vm::Filesystem;

/// Generation 6 has htop in the set `default`, jq in `json` and tree in `files`.
fn prepare(name: &str) -> Result<(State, PathBuf), Failure> {
    let state = State::new(name)?;
    state.install(&["htop"])?;
    for (set, package) in [("json", "jq"), ("files", "tree")] {
        let image = state.artefacts().layer(package)?.display().to_string();
        state.layerctl(&["set", "create", set])?;
        state.layerctl(&["install", &image, "--set", set])?;
    }
    let disk = state.disk(Filesystem::Ext4)?;
    Ok((state, disk))
}

/// Boots, after `says` was on the console; returns the programs of layers that are there, and the report.
fn boot(
    state: &State,
    disk: &Path,
    append: &str,
    console: &[&str],
) -> Result<(String, BootReport), Failure> {
    let mut guest = state.boot(disk, append)?;
    says(&mut guest, console)?;
    let mut shell = guest.bare_shell(BOOT)?;
    let programs = shell.check("cd /usr/bin; ls -1 htop jq tree 2>/dev/null || true")?;
    Ok((programs.replace('\n', " "), report(&mut shell)?))
}

#[test]
fn sets_and_single_layers_are_chosen_on_the_command_line() -> Result<(), Failure> {
    let (state, disk) = prepare("selection")?;
    // Nobody made a trigger layer for the union of two sets.
    let nearest: &[&str] = &["no trigger layer was made for these layers; taking that of jq"];
    for (append, programs, problems) in [
        ("", "htop", &[][..]),
        ("layers.set=json,files", "jq tree", nearest),
        ("layers.set=none", "", &[]),
        ("layers.add=tree layers.skip=htop", "tree", &[]),
    ] {
        let (found, report) = boot(&state, &disk, append, problems)?;
        assert_eq!(found, programs, "{append}");
        assert_eq!(report.problems, problems, "{append}");
    }
    Ok(())
}

#[test]
fn unknown_names_are_told_and_the_rest_is_honoured() -> Result<(), Failure> {
    let (state, disk) = prepare("selection-unknown")?;
    let expected = [
        "layers.set: generation 6 has no set ghost, only default, files, json",
        "layers.add: generation 6 has no layer phantom",
        "layers.skip: generation 6 has no layer spectre",
    ];
    let append = "layers.set=json,ghost layers.add=phantom layers.skip=spectre";
    let (found, report) = boot(&state, &disk, append, &expected)?;
    assert_eq!(found, "jq");
    assert_eq!(report.problems, expected);
    Ok(())
}

#[test]
fn the_plan_is_printed_and_carried_out() -> Result<(), Failure> {
    let (state, disk) = prepare("selection-plan")?;
    // As `layerctl plan` prints it, without a boot.
    let printed = state.layerctl(&["plan", "--cmdline", "layers.set=json"])?;
    assert!(printed.contains("mount overlay"), "{printed}");
    let mut guest = state.boot(&disk, "layers.plan layers.set=json")?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert!(report(&mut shell)?.layers.iter().map(ToString::to_string).eq(["jq"]));
    let said = guest.said();
    let operations: Vec<_> =
        said.lines().filter_map(|line| line.split_once("layers-init: plan: ")).collect();
    assert!(operations.len() >= 8, "base, layer, root, three uppers and overlays: {operations:?}");
    for (_, operation) in operations {
        assert!(printed.contains(operation.trim_end()), "{operation:?} is not in {printed}");
    }
    Ok(())
}

#[test]
fn a_generation_is_chosen_by_number_or_as_the_one_before() -> Result<(), Failure> {
    let (state, disk) = prepare("selection-generation")?;
    for (append, generation, programs) in [
        ("layers.generation=2", "2", "htop"),
        ("layers.generation=previous layers.set=json", "5", "jq"),
        ("layers.generation=1", "1", ""),
    ] {
        let (found, report) = boot(&state, &disk, append, &[])?;
        assert_eq!(
            (report.generation.to_string().as_str(), found.as_str()),
            (generation, programs)
        );
        assert_eq!(report.problems, [""; 0], "{append}");
    }
    let missing = "layers.generation: there is no generation 99";
    let (_, report) = boot(&state, &disk, "layers.generation=99", &[missing])?;
    assert_eq!(report.generation.to_string(), "6");
    assert_eq!(report.problems, [missing]);
    Ok(())
}
