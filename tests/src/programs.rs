//! The two static programs, built into a target directory of their own so that the flag reaches nothing else.

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
}

impl Programs {
    /// Builds both with cargo; what is up to date costs a second.
    pub fn build(workspace: &Workspace) -> Result<Self, ProcessError> {
        let target = workspace.target().join("static");
        let cargo = |profile: &str, package: &str, binary: &str, flags: &str| {
            let mut command = process::command("cargo");
            command
                .args(["build", "--quiet", "--target", TARGET, "--profile", profile])
                .args(["--package", package, "--bin", binary, "--target-dir"])
                .arg(&target)
                .env("RUSTFLAGS", format!("-C target-feature=+crt-static{flags}"))
                .current_dir(workspace.root());
            process::show(&mut command)?;
            Ok(target.join(TARGET).join(profile).join(binary))
        };
        Ok(Self {
            init: cargo("init", "initrd", "layers-init", SMALL)?,
            layerctl: cargo("release", "layerctl", "layerctl", "")?,
        })
    }
}
