//! Tar archives, unpacked by the system's tar: plain, gzip, xz or zstd, as it tells them apart itself.

#![expect(clippy::disallowed_methods, reason = "unpacks archives into directories")]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::bufread::MultiGzDecoder;
use layers::plan::change::Refusal;
use liblzma::bufread::XzDecoder;

use crate::error::Error;
use crate::program;

mod package;
mod scan;

pub(crate) use package::declared;
use scan::ScanError;

/// Reads all headers and refuses what would land outside of the tree, or take more than `limit` bytes when unpacked.
pub(crate) fn check(archive: &Path, limit: Option<u64>) -> Result<(), Error> {
    let file = File::open(archive).map_err(|error| Error::io("open", archive, error))?;
    let file = BufReader::with_capacity(64 << 10, Box::new(file) as Box<dyn Read>);
    let scanned = decompressed(file)
        .map_err(ScanError::from)
        .and_then(|mut reader| scan::scan(reader.as_mut(), limit.unwrap_or(u64::MAX)));
    scanned.map(drop).map_err(|error| refused(archive, &error))
}

fn refused(archive: &Path, error: &ScanError) -> Error {
    let hint = match error {
        ScanError::TooLarge(_) => "look at what it is; free space, or allow more: --max-size",
        ScanError::Outside(_) | ScanError::BehindLink(_) => {
            "make the archive with relative paths: tar -C DIR -cf FILE ."
        }
        _ => "give a directory, or a whole tar archive: plain, gzip, xz or zstd",
    };
    Refusal::new(format!("{} {error}", archive.display()), hint).into()
}

/// What is in a file, by its first bytes: gzip (RFC 1952), xz, zstd (RFC 8878), or as it is.
fn decompressed<'a>(mut file: BufReader<Box<dyn Read + 'a>>) -> io::Result<Box<dyn Read + 'a>> {
    // A short file is none of them, and is told to be short later on.
    let magic: Vec<u8> = file.fill_buf()?.iter().take(6).copied().collect();
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(XzDecoder::new_multi_decoder(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}

/// Unpacks into the new directory `to`. With `owners` everything keeps owner, mode and extended attributes.
///
/// Nothing is unpacked that leads out of it, or where the members declare more than `limit` bytes.
pub(crate) fn unpack(archive: &Path, to: &Path, owners: bool, limit: u64) -> Result<(), Error> {
    check(archive, Some(limit))?;
    fs::create_dir(to).map_err(|error| Error::io("create", to, error))?;
    set_mode(to)?;
    let before = file_time(to)?;
    let mut tar = program::command("tar");
    tar.command.args(["--extract", "--numeric-owner", "--preserve-permissions"]);
    tar.command.arg(if owners { "--same-owner" } else { "--no-same-owner" });
    if owners {
        tar.command.args(["--xattrs", "--xattrs-include=*", "--acls"]);
    }
    tar.command.arg("--directory").arg(to).arg("--file").arg(archive);
    tar.run()?;
    settle_times(to, before)
}

/// A tree without a member for its root gets the mode that a root needs, whatever the umask is.
fn set_mode(directory: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
        .map_err(|error| Error::io("set the mode of", directory, error))
}

/// Now, as files in a directory get it: the kernel's clock for files goes in steps of some milliseconds and is behind.
pub(crate) fn file_time(directory: &Path) -> Result<SystemTime, Error> {
    tempfile::tempfile_in(directory)
        .and_then(|file| file.metadata()?.modified())
        .map_err(|error| Error::io("create a file in", directory, error))
}

/// Directories that the archive does not name got the time of unpacking; they get the newest time of the others, so
/// that one archive makes one image.
fn settle_times(root: &Path, before: SystemTime) -> Result<(), Error> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut made: Vec<PathBuf> = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let failed = |error| Error::io("read", &path, error);
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        let time = metadata.modified().map_err(failed)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(failed)? {
                todo.push(entry.map_err(failed)?.path());
            }
        }
        if time < before {
            newest = newest.max(time);
        } else if metadata.is_dir() {
            made.push(path);
        }
    }
    made.iter().try_for_each(|path| {
        File::open(path)
            .and_then(|directory| directory.set_modified(newest))
            .map_err(|error| Error::io("set the time of", path, error))
    })
}
