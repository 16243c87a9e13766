//! Where everything lies in the state file system: every path of the project, in one place.
//!
//! ```text
//! layerctl/                         0700 root
//!   schema                          the layout's number; a newer one is refused
//!   lock                            held (flock) by the one layerctl that changes something
//!   store/<sha256>.img              image bytes; written once, never changed
//!   store/<sha256>.toml             its manifest
//!   generations/<id>/generation.toml
//!   generations/serial              the highest number ever given to a generation
//!   boot/default                    the generation to boot
//!   boot/next                       a generation to try once, if any
//!   boot/good                       the last generation marked good
//!   boot/ran                        the generation that ran last: whose /etc a new one starts from
//!   boot/pinned/<id>                generations that cleanup keeps
//!   upper/etc/<id>/{upper,work}     one /etc upper for each generation
//!   upper/var/{upper,work}          shared by all generations, as is home
//!   upper/home/{upper,work}
//!   log                             one line for each change
//! ```

use std::path::{Path, PathBuf};

use crate::id::{Digest, GenerationId, Name};
use crate::policy::Dir;

/// The layout's number that this code reads and writes.
pub const SCHEMA: u32 = 1;

/// Prefix of every name that is not published yet, or no longer: no reader looks at it, `cleanup` removes it.
pub const UNPUBLISHED: &str = ".tmp-";

/// The paths of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    top: PathBuf,
}

impl Layout {
    /// The layout of the store in the state file system that is mounted at `state`.
    pub fn new(state: &Path) -> Self {
        Self { top: state.join("layerctl") }
    }

    /// The directory that holds everything.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The file with the layout's number.
    pub fn schema(&self) -> PathBuf {
        self.top.join("schema")
    }

    /// The file whose lock a change holds.
    pub fn lock(&self) -> PathBuf {
        self.top.join("lock")
    }

    /// The directory of images and manifests.
    pub fn store(&self) -> PathBuf {
        self.top.join("store")
    }

    /// An image's file.
    pub fn image(&self, digest: &Digest) -> PathBuf {
        self.store().join(format!("{digest}.img"))
    }

    /// A manifest's file.
    pub fn manifest(&self, digest: &Digest) -> PathBuf {
        self.store().join(format!("{digest}.toml"))
    }

    /// The directory of generations.
    pub fn generations(&self) -> PathBuf {
        self.top.join("generations")
    }

    /// A generation's directory.
    pub fn generation(&self, id: GenerationId) -> PathBuf {
        self.generations().join(id.to_string())
    }

    /// A generation's record.
    pub fn generation_file(&self, id: GenerationId) -> PathBuf {
        self.generation(id).join("generation.toml")
    }

    /// The highest number ever given to a generation.
    pub fn serial(&self) -> PathBuf {
        self.generations().join("serial")
    }

    /// The directory of pointers.
    pub fn boot(&self) -> PathBuf {
        self.top.join("boot")
    }

    /// The pointer to the generation that boots.
    pub fn default(&self) -> PathBuf {
        self.boot().join("default")
    }

    /// The pointer to the generation to try once.
    pub fn next(&self) -> PathBuf {
        self.boot().join("next")
    }

    /// The pointer to the last generation marked good.
    pub fn good(&self) -> PathBuf {
        self.boot().join("good")
    }

    /// The pointer to the generation that ran last.
    pub fn ran(&self) -> PathBuf {
        self.boot().join("ran")
    }

    /// The directory of pins.
    pub fn pins(&self) -> PathBuf {
        self.boot().join("pinned")
    }

    /// A generation's pin.
    pub fn pin(&self, id: GenerationId) -> PathBuf {
        self.pins().join(id.to_string())
    }

    /// The log of changes.
    pub fn log(&self) -> PathBuf {
        self.top.join("log")
    }

    /// The directory of uppers.
    pub fn uppers(&self) -> PathBuf {
        self.top.join("upper")
    }

    /// The directory with one /etc upper for each generation.
    pub fn etc_uppers(&self) -> PathBuf {
        self.uppers().join("etc")
    }

    /// The directory that holds `upper` and `work` for a writable directory of a generation.
    pub fn upper(&self, dir: Dir, id: GenerationId) -> PathBuf {
        match dir {
            Dir::Etc => self.etc_uppers().join(id.to_string()),
            Dir::Var | Dir::Home => self.uppers().join(dir.name()),
        }
    }

    /// Every directory of an empty store, parents first.
    pub fn directories(&self) -> Vec<PathBuf> {
        vec![
            self.top.clone(),
            self.store(),
            self.generations(),
            self.boot(),
            self.pins(),
            self.uppers(),
            self.etc_uppers(),
        ]
    }
}

/// Where a boot mounts things; the defaults are those of the running system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPaths {
    /// Everything that stays mounted below the new root: `/run/initramfs/layers`, which systemd leaves alone.
    pub run: PathBuf,
    /// The new root, before root is switched.
    pub sysroot: PathBuf,
}

impl Default for BootPaths {
    fn default() -> Self {
        Self { run: "/run/initramfs/layers".into(), sysroot: "/sysroot".into() }
    }
}

impl BootPaths {
    /// The boot report, in the running system.
    pub const REPORT: &str = "/run/layers/boot.json";

    /// Where the state file system is mounted.
    pub fn state(&self) -> PathBuf {
        self.run.join("state")
    }

    /// Where the base image is mounted.
    pub fn base(&self) -> PathBuf {
        self.run.join("base")
    }

    /// Where a layer's image is mounted.
    pub fn layer(&self, name: &Name) -> PathBuf {
        self.run.join("layer").join(name.as_str())
    }

    /// The tmpfs of uppers that are gone at power-off.
    pub fn ephemeral(&self) -> PathBuf {
        self.run.join("ephemeral")
    }

    /// A writable directory in the new root.
    pub fn writable(&self, dir: Dir) -> PathBuf {
        self.sysroot.join(dir.name())
    }
}
