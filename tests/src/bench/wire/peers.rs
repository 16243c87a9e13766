//! What else brings a machine from one version of an image to the next, from Debian's packages.
//!
//! desync, which is casync with other defaults, is not in Debian. RAUC's adaptive updates look for blocks of 4 KiB at multiples of
//! 4 KiB; see `layerctl/src/repo/blocks.rs` for what that gives.

use super::server::Server;
use crate::bench::BenchError;
use crate::files;
use crate::process;
use std::path::Path;
use std::process::Command;

/// The packages that bring the peers.
pub(super) const PACKAGES: [&str; 4] = ["casync", "zsync", "zstd", "xdelta3"];

/// A program that makes an update of two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Chunks that content defines, compressed, each a file; the older image is the seed.
    Casync,
    /// Sums of blocks, parts by Range.
    Zsync,
    /// A file of differences from one version to one other. Level 12 takes 20 times as long and saves a fortieth.
    Zstd,
    /// The same, by another program.
    Xdelta,
}

impl Peer {
    /// All of them, in the order of the report.
    pub(super) const ALL: [Self; 4] = [Self::Casync, Self::Zsync, Self::Zstd, Self::Xdelta];

    /// For the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Casync => "casync, default chunks",
            Self::Zsync => "zsync",
            Self::Zstd => "zstd --patch-from, level 3: a file for each pair of versions",
            Self::Xdelta => "xdelta3, level 3: a file for each pair of versions",
        }
    }

    /// Bytes that it fetches for `served/new.img` where `old.img` is there. `dir` has both and is the directory `/w/case` of the tree
    /// that the programs are in.
    pub(super) fn fetch(self, tree: &Path, server: &Server, dir: &Path) -> Result<u64, BenchError> {
        let shell = |script: &str| {
            let mut command: Command = process::command("chroot");
            command.arg(tree).args(["sh", "-euc", &format!("cd /w/case; {script}")]);
            command
        };
        let url = server.url();
        let (make, get) = self.scripts(&url);
        process::run(&mut shell(&make))?;
        let nginx = server.serve(&dir.join("served"))?;
        let got = process::run(&mut shell(&get));
        let traffic = nginx.finish()?;
        got?;
        process::run(
            process::command("cmp").arg(dir.join("out.img")).arg(dir.join("served/new.img")),
        )?;
        files::remove_file(&dir.join("out.img"))?;
        match self {
            Self::Casync | Self::Zsync => Ok(traffic.bytes),
            // Nothing is asked for: the file is what would be.
            Self::Zstd | Self::Xdelta => Ok(files::size(&dir.join("served/patch"))?),
        }
    }

    /// What the server does once, and what the machine does.
    fn scripts(self, url: &str) -> (String, String) {
        match self {
            // Its check of shared extents fails an assertion on some file systems.
            Self::Casync => (
                "casync make --store=served/new.castr served/new.caibx served/new.img".to_owned(),
                format!("casync extract --reflink=no --store={url}/new.castr --seed=old.img {url}/new.caibx out.img"),
            ),
            Self::Zsync => (
                "cd served; zsyncmake -u new.img -o new.zsync new.img".to_owned(),
                format!("zsync -q -i old.img -o out.img {url}/new.zsync"),
            ),
            Self::Zstd => (
                "zstd -q -f -3 --long=31 --patch-from=old.img served/new.img -o served/patch".to_owned(),
                "zstd -q -d -f --long=31 --memory=2048MB --patch-from=old.img served/patch -o out.img".to_owned(),
            ),
            Self::Xdelta => (
                "xdelta3 -e -f -3 -B 1073741824 -s old.img served/new.img served/patch".to_owned(),
                "xdelta3 -d -f -B 1073741824 -s old.img served/patch out.img".to_owned(),
            ),
        }
    }
}
