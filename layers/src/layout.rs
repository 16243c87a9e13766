//! Where everything lies in the state file system: every path of the project, in one place.
//!
//! ```text
//! layerctl/                         0700 root
//!   schema                          the layout's number; a newer one is refused
//!   lock                            held (flock) by the one layerctl that changes something
//!   store/<sha256>.img              image bytes; written once, never changed
//!   store/<sha256>.toml             its manifest
//!   store/<sha256>.toml.minisig     the signatures over that manifest
//!   store/<sha256>.verity           dm-verity's hash tree of the image, as veritysetup(8) writes it
//!   store/<sha256>.kernel, .initrd  a base's kernel, and the initrd that was built for it
//!   store/<sha256>.deb              a package's file that takes the place of a package of the base
//!   generations/<id>/generation.toml
//!   generations/<id>/etc.json       how its /etc came about
//!   generations/serial              the highest number ever given to a generation
//!   boot/default                    the generation to boot
//!   boot/next                       a generation to try once, if any
//!   boot/good                       the last generation marked good
//!   boot/ran                        the generation that ran last: whose /etc a new one starts from
//!   boot/tries/<id>                 starts left, while it was not marked good
//!   boot/pinned/<id>                generations that cleanup keeps
//!   boot/reset                      what `layerctl reset` asks of the next boot
//!   boot/versions                   the highest version of each image that was marked good
//!   boot/downgrade, .minisig        older versions that an administrator has signed off
//!   trust                           what is asked of signatures, beside what the initrd asks
//!   upper/etc/<id>/{upper,work}     one /etc upper for each generation
//!   upper/etc/<id>/lowers           the images that it lay over last; var and home have one too
//!   upper/etc/<id>/presets          the images whose units were preset
//!   upper/etc/shared/…              the one for all, where the policy says so
//!   upper/var/{upper,work}          shared by all generations, as is home
//!   upper/var/bound/…               what is bound over paths of /var: containers' storage
//!   upper/home/{upper,work}
//!   repos/NAME.toml                 a configured repository of layers
//!   cache/repos/NAME.toml           the index that it gave last
//!   log                             one line for each change
//!   reserve                         room for a change on a full disk: given up by what frees space or moves a pointer
//! ```
//!
//! What the boot loader needs lies on the boot partition too, as a copy that can be made again:
//!
//! ```text
//! $BOOT/layerctl/<sha256>-linux, -initrd   shared by all generations that use them
//! $BOOT/loader/entries/layerctl-….conf     see `entry`; others in this directory are none of ours
//! ```

use std::path::{Path, PathBuf};

use crate::entry::EntryName;
use crate::id::{Digest, GenerationId, Name};
use crate::kernel::{KernelFile, Part};
use crate::policy::{Dir, Scope};

/// The layout's number that this code reads and writes.
pub const SCHEMA: u32 = 1;

/// Prefix of every name that is not published yet, or no longer: no reader looks at it, `cleanup` removes it.
pub const UNPUBLISHED: &str = ".tmp-";

/// Where the firmware's variables are.
pub const EFIVARS: &str = "/sys/firmware/efi/efivars";

/// The variable that tells a boot loader which entry to start a single time (systemd's Boot Loader Interface).
pub const ONE_SHOT: &str = "LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The variable in which a boot loader tells what it can do.
pub const LOADER_FEATURES: &str = "LoaderFeatures-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

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

    /// The signatures over an image's manifest.
    pub fn signatures(&self, digest: &Digest) -> PathBuf {
        self.store().join(format!("{digest}.toml.minisig"))
    }

    /// The file with the hash tree of an image.
    pub fn tree(&self, digest: &Digest) -> PathBuf {
        self.store().join(format!("{digest}.verity"))
    }

    /// What is asked of signatures, beside what the initrd asks.
    pub fn trust(&self) -> PathBuf {
        self.top.join("trust")
    }

    /// The highest version of each image that was marked good.
    pub fn versions(&self) -> PathBuf {
        self.boot().join("versions")
    }

    /// Older versions that are taken all the same.
    pub fn downgrade(&self) -> PathBuf {
        self.boot().join("downgrade")
    }

    /// The signatures over [`Self::downgrade`].
    pub fn downgrade_signatures(&self) -> PathBuf {
        self.boot().join("downgrade.minisig")
    }

    /// The store's copy of a package's file.
    pub fn package_file(&self, digest: &Digest) -> PathBuf {
        self.store().join(format!("{digest}.deb"))
    }

    /// The store's copy of a kernel or an initrd.
    pub fn kernel_file(&self, file: &KernelFile) -> PathBuf {
        self.store().join(format!("{}.{}", file.digest, file.part.name()))
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

    /// The report of how a generation's /etc came about.
    pub fn etc_report(&self, id: GenerationId) -> PathBuf {
        self.generation(id).join("etc.json")
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

    /// What the next boot is asked to empty.
    pub fn reset(&self) -> PathBuf {
        self.boot().join("reset")
    }

    /// The directory of attempts.
    pub fn tries(&self) -> PathBuf {
        self.boot().join("tries")
    }

    /// How often a generation may still be started before it is marked good.
    pub fn tries_of(&self, id: GenerationId) -> PathBuf {
        self.tries().join(id.to_string())
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

    /// The directory of configured repositories; made with the first one.
    pub fn repositories(&self) -> PathBuf {
        self.top.join("repos")
    }

    /// A configured repository's file.
    pub fn repository(&self, name: &Name) -> PathBuf {
        self.repositories().join(format!("{name}.toml"))
    }

    /// The directory of the indexes that repositories gave last; made with the first one.
    pub fn repository_indexes(&self) -> PathBuf {
        self.top.join("cache/repos")
    }

    /// The index that a repository gave last.
    pub fn repository_index(&self, name: &Name) -> PathBuf {
        self.repository_indexes().join(format!("{name}.toml"))
    }

    /// Where the file of that digest is put together that is downloaded; it holds nothing that is published.
    pub fn download(&self, digest: &Digest) -> PathBuf {
        self.store().join(format!("{UNPUBLISHED}get-{digest}"))
    }

    /// The file whose blocks and inode are there for a change on a full disk.
    pub fn reserve(&self) -> PathBuf {
        self.top.join("reserve")
    }

    /// The directory of uppers.
    pub fn uppers(&self) -> PathBuf {
        self.top.join("upper")
    }

    /// The directory with one /etc upper for each generation.
    pub fn etc_uppers(&self) -> PathBuf {
        self.uppers().join("etc")
    }

    /// The directory that holds `upper` and `work` for /etc: a generation's own, or the one that generations share.
    pub fn etc_upper(&self, owner: Option<GenerationId>) -> PathBuf {
        let name = owner.map_or_else(|| "shared".to_owned(), |id| id.to_string());
        self.etc_uppers().join(name)
    }

    /// The directory that holds `upper` and `work` for a writable directory of a generation.
    pub fn upper(&self, dir: Dir, id: GenerationId, scope: Scope) -> PathBuf {
        match dir {
            Dir::Etc => self.etc_upper((scope == Scope::Generation).then_some(id)),
            Dir::Var | Dir::Home => self.shared_upper(dir),
        }
    }

    /// The directory that holds `upper` and `work` of a directory that all generations share.
    pub fn shared_upper(&self, dir: Dir) -> PathBuf {
        match dir {
            Dir::Etc => self.etc_upper(None),
            Dir::Var | Dir::Home => self.uppers().join(dir.name()),
        }
    }

    /// What is bound over paths of the upper in `dir`. It lies beside it: below an upper that is mounted, a container's own
    /// overlay would have its directories in two overlays at once, of which the kernel warns.
    pub fn bound(dir: &Path) -> PathBuf {
        dir.join("bound")
    }

    /// The record of the images that the upper in `dir` lay over last.
    pub fn lowers(dir: &Path) -> PathBuf {
        dir.join("lowers")
    }

    /// The record of the images whose units were preset in the /etc upper in `dir`.
    pub fn presets(dir: &Path) -> PathBuf {
        dir.join("presets")
    }

    /// Every directory of an empty store, parents first.
    pub fn directories(&self) -> Vec<PathBuf> {
        vec![
            self.top.clone(),
            self.store(),
            self.generations(),
            self.boot(),
            self.pins(),
            self.tries(),
            self.uppers(),
            self.etc_uppers(),
        ]
    }
}

/// The paths of what is ours on a boot partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootDir {
    top: PathBuf,
}

impl BootDir {
    /// The boot partition that is mounted at `top`.
    pub fn new(top: &Path) -> Self {
        Self { top: top.to_owned() }
    }

    /// Its mount point.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The directory of boot loader entries, ours and others'.
    pub fn entries(&self) -> PathBuf {
        self.top.join("loader/entries")
    }

    /// The directory of our kernels and initrds.
    pub fn files(&self) -> PathBuf {
        self.top.join("layerctl")
    }

    /// Every directory that we need, parents first.
    pub fn directories(&self) -> [PathBuf; 3] {
        [self.top.join("loader"), self.entries(), self.files()]
    }

    /// An entry's file.
    pub fn entry(&self, name: &EntryName) -> PathBuf {
        self.entries().join(name.to_string())
    }

    /// A kernel's or initrd's file.
    pub fn file(&self, file: &KernelFile) -> PathBuf {
        self.files().join(Self::file_name(file))
    }

    /// A kernel's or initrd's path as entries name it: from the partition's root on.
    pub fn inside(file: &KernelFile) -> String {
        format!("/layerctl/{}", Self::file_name(file))
    }

    /// The file that a path in an entry names, if it is one of ours; with or without the leading slash.
    pub fn named(inside: &str) -> Option<KernelFile> {
        Self::parse_file_name(inside.trim_start_matches('/').strip_prefix("layerctl/")?)
    }

    /// The kernel or initrd whose file name this is; all other names are none of ours.
    pub fn parse_file_name(name: &str) -> Option<KernelFile> {
        let (digest, part) = name.split_once('-')?;
        let part = [Part::Linux, Part::Initrd].into_iter().find(|it| boot_ending(*it) == part)?;
        Some(KernelFile { part, digest: digest.parse().ok()? })
    }

    fn file_name(file: &KernelFile) -> String {
        format!("{}-{}", file.digest, boot_ending(file.part))
    }
}

fn boot_ending(part: Part) -> &'static str {
    match part {
        Part::Linux => "linux",
        Part::Initrd => "initrd",
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

    /// How this boot's /etc came about, where that could not be kept with the generation.
    pub const ETC_REPORT: &str = "/run/layers/etc.json";

    /// The program that systemd-shutdown(8) starts last, on a tmpfs that outlives the root.
    pub const SHUTDOWN: &str = "/run/initramfs/shutdown";

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

    /// Where the trigger layer's image is mounted.
    pub fn trigger(&self) -> PathBuf {
        self.run.join("trigger")
    }

    /// Where the index's image is mounted.
    pub fn index(&self) -> PathBuf {
        self.run.join("index")
    }

    /// Where an image is mounted that is not part of this boot but that an upper lay over before.
    pub fn old(&self, digest: &Digest) -> PathBuf {
        self.run.join("old").join(digest.to_string())
    }

    /// Where the merged directory `name` of several images is looked at.
    pub fn view(&self, name: &str) -> PathBuf {
        self.run.join("view").join(name)
    }

    /// The tmpfs of uppers that are gone at power-off.
    pub fn ephemeral(&self) -> PathBuf {
        self.run.join("ephemeral")
    }

    /// The tmpfs of one directory's upper, where its size is its own.
    pub fn ephemeral_of(&self, dir: Dir) -> PathBuf {
        self.run.join(format!("ephemeral-{dir}"))
    }

    /// A writable directory in the new root.
    pub fn writable(&self, dir: Dir) -> PathBuf {
        self.sysroot.join(dir.name())
    }
}
