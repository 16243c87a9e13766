//! A generation has a few starts; when they are used up and nobody marked it good, the good one boots.

use crate::state::{BOOT, State, report, says};
use tests::failure::Failure;
use tests::files;
use tests::vm::{Drive, Filesystem, Guest, Shell};

/// The store of a running machine.
const STORE: &str = "/run/initramfs/layers/state/layerctl";

/// A store whose generation 1 is good, and whose default, 2, has three attempts.
fn counted(name: &str) -> Result<State, Failure> {
    let state = State::new(name)?;
    state.layerctl(&["mark-good", "1"])?;
    let config = state.beside("layerctl.toml");
    files::write(&config, "[boot]\nattempts = 3\n")?;
    let htop = state.artefacts().layer("htop")?.display().to_string();
    state.layerctl(&["--config", &config.display().to_string(), "install", &htop])?;
    Ok(state)
}

/// The generation that runs, and the attempts that generation 2 has left.
fn runs(shell: &mut Shell<'_>) -> Result<(String, String), Failure> {
    let left = shell.check(&format!("cat {STORE}/boot/tries/2 2>/dev/null || echo none"))?;
    Ok((report(shell)?.generation.to_string(), left))
}

/// Boots the next time, without a clean end of the time before.
fn crash(mut shell: Shell<'_>) -> Result<(), Failure> {
    Ok(shell.reboot_kernel()?)
}

fn start(state: &State, append: &str) -> Result<Guest, Failure> {
    let disk = state.disk(Filesystem::Ext4)?;
    state.boot_with(Drive::writable(&disk), append)
}

#[test]
fn a_generation_that_is_never_marked_good_gives_way_to_the_good_one() -> Result<(), Failure> {
    let state = counted("attempts")?;
    let mut guest = start(&state, "")?;
    for left in ["002", "001", "000"] {
        let mut shell = guest.bare_shell(BOOT)?;
        assert_eq!(runs(&mut shell)?, ("2".to_owned(), left.to_owned()));
        crash(shell)?;
    }
    says(
        &mut guest,
        &[
            "generation 2 is passed over: its attempts are used up, and it was never marked good; trying generation 1",
        ],
    )?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(runs(&mut shell)?, ("1".to_owned(), "000".to_owned()));
    let status = shell.check("layerctl status")?;
    assert!(status.contains("generation 2 did not boot: its attempts are used up"), "{status}");
    assert!(status.contains("generation 2  (default, attempts used up)"), "{status}");

    // Somebody wants it all the same, and it works now.
    shell.check("layerctl rollback 2")?;
    crash(shell)?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(runs(&mut shell)?, ("2".to_owned(), "002".to_owned()));
    shell.check("layerctl mark-good")?;
    assert_eq!(runs(&mut shell)?, ("2".to_owned(), "none".to_owned()));
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}

#[test]
fn a_known_good_boot_writes_no_record() -> Result<(), Failure> {
    let state = State::new("known-good")?;
    state.layerctl(&["mark-good", "1"])?;
    let mut guest = start(&state, "")?;
    // Times and inodes of all that is in boot/ and the log; the first boot writes down what ran.
    let records =
        format!("find {STORE}/boot {STORE}/log {STORE}/generations -printf '%P %i %C@\\n'");
    let mut shell = guest.bare_shell(BOOT)?;
    let before = shell.check(&records)?;
    shell.check("layerctl mark-good")?;
    crash(shell)?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(shell.check(&records)?, before);
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}

#[test]
fn a_generation_to_try_once_boots_once() -> Result<(), Failure> {
    let state = State::new("try-once")?;
    let htop = state.artefacts().layer("htop")?.display().to_string();
    state.layerctl(&["install", &htop, "--try-once"])?;
    let mut guest = start(&state, "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.generation.to_string(), "2");
    assert_eq!(shell.check(&format!("ls {STORE}/boot/next 2>/dev/null || echo none"))?, "none");
    crash(shell)?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.generation.to_string(), "1");
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}

#[test]
fn a_start_that_dies_right_after_the_root_is_entered_costs_an_attempt() -> Result<(), Failure> {
    let state = counted("dying")?;
    // PID 1 that ends is a panic; `panic=-1` restarts the machine at once, as the entries' panic= does after a while.
    let dies = "init=/bin/false";
    let mut guest = start(&state, dies)?;
    for _ in 0..3 {
        says(&mut guest, &["generation 2 with 1 layers", "Kernel panic"])?;
    }
    says(&mut guest, &["generation 2 is passed over", "generation 1 with 0 layers"])?;
    Ok(())
}

#[test]
fn attempts_are_not_counted_where_nothing_is_written() -> Result<(), Failure> {
    let state = counted("uncounted")?;
    let mut guest = start(&state, "layers.ephemeral")?;
    for _ in 0..2 {
        let mut shell = guest.bare_shell(BOOT)?;
        assert_eq!(runs(&mut shell)?, ("2".to_owned(), "003".to_owned()));
        crash(shell)?;
    }
    Ok(())
}
