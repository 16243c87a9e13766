//! What is damaged does not boot, is told in one line, and gives way to the next candidate in the same boot.

use crate::state::{BOOT, State, overwrite, report, says};
use tests::failure::Failure;
use tests::files;
use tests::vm::{Drive, Filesystem, Machine};

/// Files of the smallest tree that layerctl takes for a base: nobody gets as far as starting its init.
const TINY: [(&str, &str); 9] = [
    ("dev/.keep", ""),
    ("etc/.keep", ""),
    ("home/.keep", ""),
    ("proc/.keep", ""),
    ("run/.keep", ""),
    ("sys/.keep", ""),
    ("tmp/.keep", ""),
    ("var/.keep", ""),
    ("sbin/init", "#!/bin/sh\n"),
];

/// Imports a base that no other generation has.
fn import_tiny_base(state: &State, name: &str, format: &str) -> Result<(), Failure> {
    let own = [&TINY[..], &[("name", name)]].concat();
    let image = state.build(name, &own, &["--kind", "base", "--format", format])?;
    state.layerctl(&["base", "import", &image.display().to_string()]).map(drop)
}

#[test]
fn each_damaged_generation_gives_way_to_the_next_in_the_same_boot() -> Result<(), Failure> {
    let state = State::new("faults")?;
    let bases = [
        ("missing", "squashfs"),
        ("truncated", "squashfs"),
        ("torn", "squashfs"),
        ("flipped", "erofs"),
        ("unparsable", "erofs"),
    ];
    for (name, format) in bases {
        import_tiny_base(&state, name, format)?;
    }
    // Generations 2 to 6, in the order above.
    let (missing, truncated) = (state.image(2, None)?, state.image(3, None)?);
    files::remove_file(&missing)?;
    // More than the superblock, less than what it speaks of: mksquashfs pads to 4 KiB.
    files::write(&truncated, &files::read(&truncated)?[..300])?;
    // Good magic numbers and sizes: only the kernel sees that the root's inode is nowhere, and that the sum is wrong.
    overwrite(&state.image(4, None)?, 32, &[0xee; 8])?;
    overwrite(&state.image(5, None)?, 1024 + 64, &[0xee; 16])?;
    files::write(&state.store("generations/6/generation.toml"), "schema = 1\nid = \n")?;
    let disk = state.disk(Filesystem::Ext4)?;

    let mut guest = state.boot(&disk, "")?;
    says(
        &mut guest,
        &[
            "generation 6 does not boot: /run/initramfs/layers/state/layerctl/generations/6/generation.toml does not parse: ",
            "; trying generation 5",
            "generation 5 does not boot: mount erofs ",
            "; trying generation 4",
            "generation 4 does not boot: mount squashfs ",
            "; trying generation 3",
            "generation 3 does not boot: base image ",
            " is truncated: its squashfs superblock says ",
            "; trying generation 2",
            "generation 2 does not boot: base image ",
            " is missing from the store; trying generation 1",
            "layers-init: generation 1 with 0 layers",
        ],
    )?;
    let mut shell = guest.bare_shell(BOOT)?;
    let report = report(&mut shell)?;
    let failed: Vec<_> = report.failed.iter().map(|failed| failed.id.to_string()).collect();
    assert_eq!(
        (report.generation.to_string().as_str(), failed.join(" ").as_str()),
        ("1", "6 5 4 3 2")
    );
    assert_eq!(shell.check("cat /etc/hostname")?, "layers", "the real base runs");
    Ok(())
}

#[test]
fn a_damaged_default_pointer_boots_the_newest_generation() -> Result<(), Failure> {
    let state = State::new("faults-default")?;
    state.install(&["htop"])?;
    files::write(&state.store("boot/default"), "garbage")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot(&disk, "")?;
    says(&mut guest, &["boot/default holds no generation number but \"garbage\""])?;
    let mut shell = guest.bare_shell(BOOT)?;
    let report = report(&mut shell)?;
    assert_eq!(report.generation.to_string(), "2");
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    Ok(())
}

#[test]
fn a_missing_layer_is_left_out_unless_it_is_required() -> Result<(), Failure> {
    let state = State::new("faults-layer")?;
    state.install(&["htop", "jq"])?;
    let must = state.build("must", &[("usr/share/must", "x")], &["--required"])?;
    state.layerctl(&["install", &must.display().to_string()])?;
    files::remove_file(&state.image(3, Some("must"))?)?;
    files::remove_file(&state.image(3, Some("htop"))?)?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot(&disk, "")?;
    let expected = [
        "generation 3 does not boot: layer must is missing from the store, and it is required; trying generation 2",
        "layer htop is left out: its image is missing from the store",
    ];
    says(&mut guest, &expected)?;
    let mut shell = guest.bare_shell(BOOT)?;
    let there =
        "jq --version >&2; ls /usr/bin/jq /usr/bin/htop /usr/share/must 2>/dev/null || true";
    let there = shell.check(there)?;
    assert!(there.starts_with("jq-") && there.ends_with("\n/usr/bin/jq"), "{there}");
    let report = report(&mut shell)?;
    assert_eq!(report.skipped.len(), 1, "{:?}", report.skipped);
    Ok(())
}

#[test]
fn without_a_candidate_the_screen_says_why_and_onfail_is_done() -> Result<(), Failure> {
    let state = State::new("faults-none")?;
    files::remove_file(&state.image(1, None)?)?;
    let disk = state.disk(Filesystem::Ext4)?;
    let screen = [
        "generation 1 does not boot: base image ",
        "; no other is left",
        "--- layers: nothing could be started ---",
        "State file system: /dev/vda: ext4, LABEL=layers",
        "generation 1:",
        "is missing from the store",
        "Unharmed: every image and every generation.",
        "layers.generation=NUMBER",
    ];
    let mut guest = state.boot(&disk, "")?;
    says(&mut guest, &screen)?;
    says(&mut guest, &["nothing is being written."])?;
    assert!(!guest.said().contains("job control"), "nobody asked for a shell");
    drop(guest);

    let mut guest = state.boot(&disk, "layers.onfail=poweroff")?;
    says(&mut guest, &screen)?;
    says(&mut guest, &["layers.onfail=poweroff: switching off now."])?;
    guest.wait_for_exit(BOOT)?;

    let mut guest = state.boot(&disk, "layers.onfail=reboot")?;
    says(&mut guest, &screen)?;
    says(&mut guest, &["layers.onfail=reboot: restarting now.", "Linux version "])
}

#[test]
fn a_shell_follows_only_where_the_initramfs_was_built_with_one() -> Result<(), Failure> {
    let state = State::new("faults-shell")?;
    files::remove_file(&state.image(1, None)?)?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot(&disk, "layers.onfail=shell")?;
    says(&mut guest, &["layers.onfail=shell: this initrd was built without a shell"])?;
    drop(guest);

    let initrd = state.initrd_with_shell()?;
    let machine = Machine::new("faults-shell", &state.artefacts().kernel, &initrd);
    let mut guest = machine.drive(Drive::scratch(&disk)).append("layers.onfail=shell").start()?;
    says(&mut guest, &["a shell follows; leave it with exit to restart."])?;
    guest.type_in("ls /run/initramfs/layers/state\n")?;
    says(&mut guest, &["layerctl"])?;
    guest.type_in("exit\n")?;
    says(&mut guest, &["Linux version "])
}
