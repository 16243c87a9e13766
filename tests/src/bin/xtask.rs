//! `cargo xtask`: builds, boots and tests the project.

use std::process::ExitCode;

fn main() -> ExitCode {
    tests::xtask::main()
}
