//! What is installed: files of random bytes, in the format of each peer.

use super::ground::Ground;
use crate::bench::BenchError;
use crate::files;
use crate::process;
use std::fmt;

/// A number of files that are so large together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payload {
    /// The size of all files in MiB; random bytes, which no format makes smaller.
    pub(super) mebibytes: u64,
    /// How many files.
    pub(super) files: u64,
}

const fn payload(mebibytes: u64, files: u64) -> Payload {
    Payload { mebibytes, files }
}

/// All that are measured.
pub(super) const PAYLOADS: [Payload; 6] = [
    payload(1, 1),
    payload(50, 1),
    payload(1, 20_000),
    payload(50, 20_000),
    payload(500, 1),
    payload(500, 20_000),
];

/// Makes the payload in the present directory of FILES files of SIZE bytes each.
///
/// The peers' packages are as quick to install as their formats allow: the .deb is not compressed, nothing is signed.
const MAKE: &str = "
files=tree/usr/share/payload
mkdir -p $files
if [ $FILES = 1 ]; then
    head -c $SIZE /dev/urandom >$files/data
else
    head -c $((SIZE * FILES)) /dev/urandom | split -b $SIZE -a 5 -d - $files/data
    cd $files
    for hundred in $(seq -f %03g 0 $((FILES / 100 - 1))); do
        mkdir $hundred
        mv data$hundred?? $hundred
    done
    cd - >/dev/null
fi
chmod -R u=rwX,go=rX tree
$LAYERCTL build tree --name payload --version 1 -o layer.img

mkdir -p sysext/usr/lib/extension-release.d
echo ID=_any >sysext/usr/lib/extension-release.d/extension-release.payload
cp -al tree/usr/share sysext/usr/
mksquashfs sysext sysext.raw -comp zstd -Xcompression-level 3 -noappend -quiet -no-progress
rm -r sysext

mkdir -p deb/DEBIAN
cp -al tree/usr deb/
printf '%s\\n' 'Package: payload' 'Version: 1' 'Architecture: all' 'Maintainer: nobody <nobody@localhost>' \
    'Description: random bytes' >deb/DEBIAN/control
dpkg-deb --root-owner-group -Znone -b deb payload.deb
rm -r deb

printf '%s\\n' 'pkgname = payload' 'pkgver = 1-1' 'pkgdesc = random bytes' 'builddate = 1700000000' \
    'packager = nobody' \"size = $((SIZE * FILES))\" 'arch = any' >tree/.PKGINFO
tar -C tree --zstd --owner=0 --group=0 -cf payload.pkg.tar.zst .PKGINFO usr
rm tree/.PKGINFO
";

impl Payload {
    /// Its name as a directory.
    pub(super) fn directory(self) -> String {
        format!("{}-{}", self.mebibytes, self.files)
    }

    /// The bytes of one file.
    fn size(self) -> u64 {
        (self.mebibytes << 20) / self.files
    }

    /// Makes it in every format.
    pub(super) fn make(self, ground: &Ground) -> Result<(), BenchError> {
        eprintln!("xtask: making {self}");
        let dir = ground.payload(self);
        files::make_empty_dir(&dir)?;
        let mut sh = process::command("sh");
        sh.args(["-euc", MAKE]).current_dir(&dir).env("LAYERCTL", ground.layerctl());
        sh.env("FILES", self.files.to_string()).env("SIZE", self.size().to_string());
        Ok(process::run(&mut sh)?)
    }

    /// Reads all of it, so that it is in memory.
    pub(super) fn read(self, ground: &Ground) -> Result<(), BenchError> {
        let mut sh = process::command("sh");
        sh.args(["-euc", "find . -type f -exec cat {} + >/dev/null"]);
        Ok(process::run(sh.current_dir(ground.payload(self)))?)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.files {
            1 => write!(f, "{} MiB in 1 file", self.mebibytes),
            more => write!(f, "{} MiB in {more} files", self.mebibytes),
        }
    }
}
