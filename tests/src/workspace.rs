//! Where things are in the checkout.

use std::path::{Path, PathBuf};

/// The checkout that this program was built from.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout that holds this crate.
    pub fn here() -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: tests.parent().unwrap_or(tests).to_owned() }
    }

    /// The top of the checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The mkosi definitions.
    pub fn definitions(&self) -> PathBuf {
        self.root.join("mkosi")
    }

    /// What goes into a base's usr/lib/systemd/system with the programs.
    pub fn units(&self) -> PathBuf {
        self.root.join("units")
    }

    /// Everything built or downloaded.
    pub fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// What is kept between runs, each thing under a key of its inputs.
    pub fn cache(&self) -> PathBuf {
        self.target().join("cache")
    }

    /// The files of one test's machine.
    pub fn machine(&self, name: &str) -> PathBuf {
        self.target().join("vm").join(name)
    }
}
