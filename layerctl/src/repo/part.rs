//! The part of a file that is here: it grows from its beginning, is hashed while it grows, and outlives a run.

#![expect(clippy::disallowed_methods, reason = "writes what is downloaded")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use layers::id::Digest;
use layers::plan::change::Refusal;
use layers::store::{publish, stage};
use sha2::{Digest as _, Sha256};

use super::client;
use super::download::Wanted;
use super::error::RepoError;
use crate::error::Error;

/// Bytes that are read, hashed and written at a time.
const CHUNK: usize = 1 << 18;

/// The part of a file that is here.
pub(super) struct Part<'a> {
    path: &'a Path,
    file: File,
    hasher: Sha256,
    /// Bytes written and hashed.
    have: u64,
    /// The entity tag of the file that they are of.
    etag: Option<String>,
    /// Whether some of them are an earlier run's, or another image's.
    doubtful: bool,
}

impl<'a> Part<'a> {
    /// Opens what is at `path`, or makes it, and hashes it.
    pub(super) fn open(path: &'a Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let opened = options.read(true).append(true).create(true).mode(0o600).open(path);
        let mut file = opened.map_err(|error| Error::io("create", path, error))?;
        let mut hasher = Sha256::new();
        let have = io::copy(&mut file, &mut HashWriter(&mut hasher))
            .map_err(|error| Error::io("read", path, error))?;
        let etag = fs::read_to_string(etag_path(path)).ok().filter(|_| have > 0);
        Ok(Self { path, file, hasher, have, etag, doubtful: have > 0 })
    }

    /// Begins anew.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(|error| Error::io("empty", self.path, error))?;
        (self.hasher, self.have) = (Sha256::new(), 0);
        (self.etag, self.doubtful) = (None, false);
        Ok(())
    }

    /// SHA-256 of what is here.
    pub(super) fn digest(&self) -> Digest {
        Digest::new(self.hasher.clone().finalize().into())
    }

    /// Has it on disk, whole.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| Error::io("flush", self.path, error))?;
        let _ = publish::remove_any(&etag_path(self.path));
        Ok(())
    }

    /// Whether some of it is an earlier run's, or another image's.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Bytes that are here.
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// The entity tag of the file that they are of.
    pub(super) fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Remembers that not all of it is the server's word.
    pub(super) fn is_put_together(&mut self) {
        self.doubtful = true;
    }

    /// Remembers which file the bytes are of, for a run after this one too.
    pub(super) fn belongs_to(&mut self, etag: Option<&str>) -> Result<(), Error> {
        if self.etag.as_deref() != etag {
            let path = etag_path(self.path);
            self.etag = etag.map(str::to_owned);
            let kept = match etag {
                Some(etag) => fs::write(&path, etag),
                None => publish::remove_any(&path),
            };
            kept.map_err(|error| Error::io("write", &path, error))?;
        }
        Ok(())
    }

    /// Takes bytes until there are `limit`; gives the reason where they end before.
    pub(super) fn take(
        &mut self,
        mut reader: Box<dyn Read>,
        limit: u64,
        wanted: &Wanted<'_>,
        bar: &ProgressBar,
    ) -> Result<Option<String>, Error> {
        self.check_room(limit)?;
        if let Some(why) = self.take_until(&mut reader, limit, bar)? {
            return Ok(Some(client::reading(&why)));
        }
        // All is here; how the connection ends does not matter, but nothing may follow.
        match reader.read(&mut [0]) {
            Ok(1..) => Err(RepoError::TooLong { url: wanted.from.to_string(), limit }.into()),
            _ => Ok(None),
        }
    }

    /// Takes bytes until there are `end` and leaves those that follow; gives the reason where there are no more before.
    pub(super) fn take_until(
        &mut self,
        reader: &mut dyn Read,
        end: u64,
        bar: &ProgressBar,
    ) -> Result<Option<io::Error>, Error> {
        let mut buffer = vec![0; CHUNK];
        while self.have < end {
            let room = usize::try_from(end - self.have).unwrap_or(CHUNK).min(CHUNK);
            let length = match reader.read(buffer.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return Ok(Some(io::Error::other("the connection was closed"))),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Some(error)),
            };
            let chunk = buffer.get(..length).unwrap_or_default();
            self.file.write_all(chunk).map_err(|error| Error::io("write", self.path, error))?;
            self.hasher.update(chunk);
            self.have += length as u64;
            bar.set_position(self.have);
        }
        Ok(None)
    }

    /// Refuses a download that cannot fit, before its first byte.
    pub(super) fn check_room(&self, limit: u64) -> Result<(), Error> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let free = stage::free(directory)
            .map_err(|error| Error::io("ask for free space in", directory, error))?;
        let needed = limit.saturating_sub(self.have);
        if needed <= free {
            return Ok(());
        }
        let place = directory.display();
        let what = format!("{place} has {free} bytes free, the download needs {needed}");
        Err(Refusal::new(what, "free space: layerctl cleanup").into())
    }
}

/// Where the entity tag of a part lies.
pub(super) fn etag_path(part: &Path) -> PathBuf {
    part.with_extension("etag")
}

/// Hashes what is written to it.
struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
