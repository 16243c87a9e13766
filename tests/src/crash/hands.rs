//! Who carries out a plan: the product, or somebody careless, whom this suite has to catch.
#![expect(clippy::disallowed_methods, reason = "writes without care, on purpose")]

use layers::exec::{HostError, execute};
use layers::host::LinuxHost;
use layers::plan::{Op, Plan};
use layers::store::publish;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A way to carry out operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hands {
    /// The product's own.
    Careful,
    /// Every file is emptied where it is, then written, without fsync; in between, something else syncs the file system.
    InPlace,
    /// Every file is written beside and renamed, without fsync.
    Unsynced,
}

impl Hands {
    /// Carries out one operation.
    pub(super) fn carry_out(self, op: &Op) -> Result<(), HostError> {
        let careless = |path: &Path, done: io::Result<()>| {
            done.map_err(|error| HostError::io("write carelessly", path, error))
        };
        match (self, op) {
            (Self::Careful, _) => {
                let plan = Plan { ops: vec![op.clone()] };
                execute(&plan, &mut LinuxHost::new()).map_err(|failure| failure.source)
            }
            (_, Op::StageImage { from, to, .. }) => {
                careless(to, fs::read(from).and_then(|bytes| self.write(to, &bytes)))
            }
            (_, Op::WriteFile { path, text }) => careless(path, self.write(path, text.as_bytes())),
            (_, Op::PublishGeneration { dir, text }) => {
                let file = dir.join("generation.toml");
                let made = fs::create_dir(dir).and_then(|()| self.write(&file, text.as_bytes()));
                careless(dir, made)
            }
            (_, Op::AppendLine { path, line }) => {
                let log = OpenOptions::new().append(true).create(true).open(path);
                careless(path, log.and_then(|mut log| writeln!(log, "{line}")))
            }
            (_, Op::Remove { path }) => careless(path, publish::remove_any(path)),
            (_, other) => {
                let path = Path::new("/");
                careless(path, Err(io::Error::other(format!("this is no change: {other}"))))
            }
        }
    }

    fn write(self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self == Self::InPlace {
            let mut file = File::create(path)?;
            rustix::fs::syncfs(&file)?;
            return file.write_all(bytes);
        }
        let beside = publish::beside(path);
        fs::write(&beside, bytes)?;
        fs::rename(&beside, path)
    }
}
