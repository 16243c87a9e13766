//! Machines that are killed at any moment come up again. `cargo xtask kills` does it more often.

use tests::artefacts::Artefacts;
use tests::failure::Failure;
use tests::kills::{self, Options};
use tests::seed::Seed;
use tests::workspace::Workspace;

#[test]
fn ten_machines_are_killed_and_come_up_again() -> Result<(), Failure> {
    let workspace = Workspace::here();
    let artefacts = Artefacts::load(&workspace)?;
    let options = Options { count: 10, seed: Seed::of_now() };
    let report = kills::run(&workspace, &artefacts, options)?;
    assert!(report.violations().is_empty(), "{report}");
    eprint!("{report}");
    Ok(())
}
