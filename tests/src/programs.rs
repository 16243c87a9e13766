//! The static programs, built into a target directory of their own so that the flag reaches nothing else.

use crate::process::{self, ProcessError};
use crate::workspace::Workspace;
use std::path::PathBuf;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// It hashes a hundred bytes, so the small form of SHA-256 will do. Instructions that stand in several places become a
/// function of their own: 34 KB less.
const SMALL: &str =
    " --cfg sha2_backend_soft=\"compact\" -C llvm-args=-enable-machine-outliner=always";

/// The static programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// PID 1 of the initramfs.
    pub init: PathBuf,
    /// The command.
    pub layerctl: PathBuf,
    /// What puts covers to the test in a guest: `layers/examples/covered.rs`.
    pub covered: PathBuf,
}

impl Programs {
    /// Builds them with cargo; what is up to date costs a second.
    pub fn build(workspace: &Workspace) -> Result<Self, ProcessError> {
        Ok(Self {
            init: cargo(workspace, "init", "initrd", ["--bin", "layers-init"], SMALL)?,
            layerctl: cargo(workspace, "release", "layerctl", ["--bin", "layerctl"], "")?,
            covered: cargo(workspace, "release", "layers", ["--example", "covered"], "")?,
        })
    }
}

/// What mounts images in one way and no other, for a measurement in a guest: `layers/examples/mounts.rs`.
pub fn mounts(workspace: &Workspace) -> Result<PathBuf, ProcessError> {
    cargo(workspace, "release", "layers", ["--example", "mounts"], "")
}

/// Has cargo build one static program.
fn cargo(
    workspace: &Workspace,
    profile: &str,
    package: &str,
    [kind, name]: [&str; 2],
    flags: &str,
) -> Result<PathBuf, ProcessError> {
    let target = workspace.target().join("static");
    let mut command = process::command("cargo");
    command
        .args(["build", "--quiet", "--target", TARGET, "--profile", profile])
        .args(["--package", package, kind, name, "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", format!("-C target-feature=+crt-static{flags}"))
        .current_dir(workspace.root());
    process::show(&mut command)?;
    let directory = if kind == "--example" { "examples" } else { "" };
    Ok(target.join(TARGET).join(profile).join(directory).join(name))
}
