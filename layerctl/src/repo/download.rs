//! Downloads: hashed while they arrive, resumed where they were cut off, and never longer than declared.

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

use super::client::{self, Answer, Ask, Client, Content};
use super::delta::{self, Older, Saved};
use super::error::RepoError;
use super::location::Location;
use crate::error::Error;
use crate::ui::Ui;

/// How often a connection may end early in a row without having brought [`PROGRESS`].
const TRIES: u32 = 5;
/// Bytes that make a try one that got on.
const PROGRESS: u64 = 1 << 20;
/// Bytes that are read, hashed and written at a time.
const CHUNK: usize = 1 << 18;

/// A file that is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Where it is.
    pub(crate) from: &'a Location,
    /// Its length as declared; without one it must be what the server declares.
    pub(crate) size: Option<u64>,
    /// Its SHA-256 as declared.
    pub(crate) digest: Option<Digest>,
    /// What the progress bar calls it.
    pub(crate) title: &'a str,
    /// What may have much of it.
    pub(crate) older: Option<&'a Older>,
}

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

/// Gets a file to `to`, on disk, and gives its SHA-256. What is at `to` is the beginning of it, left by a run that was
/// interrupted; its entity tag lies beside it. What a cut connection leaves stays there; all else that fails leaves
/// nothing.
pub(crate) fn download(
    client: &Client,
    ui: &Ui,
    wanted: &Wanted<'_>,
    to: &Path,
) -> Result<Digest, Error> {
    let result = whole(client, ui, wanted, to);
    let kept = matches!(&result, Err(Error::Repository(error)) if error.keeps_part());
    if result.is_err() && !kept {
        // The disk may be full: give back what was taken. What cannot be removed here, cleanup removes.
        let _ = publish::remove_any(to);
        let _ = publish::remove_any(&etag_path(to));
    }
    result
}

fn whole(client: &Client, ui: &Ui, wanted: &Wanted<'_>, to: &Path) -> Result<Digest, Error> {
    let bar = ui.bar(wanted.title, wanted.size.unwrap_or_default());
    let mut part = Part::open(to)?;
    let mut saved = match wanted.older {
        Some(older) => delta::fill(client, ui, wanted, older, &mut part, &bar)?,
        None => None,
    };
    loop {
        fill(client, wanted, &mut part, &bar)?;
        let is = Digest::new(part.hasher.clone().finalize().into());
        match wanted.digest {
            Some(want) if is != want => {
                let url = wanted.from.to_string();
                if !part.doubtful {
                    return Err(RepoError::Digest { url, is, want }.into());
                }
                log::debug!("{url}: what was here already, or is of another image, is of no use");
                saved = None;
                part.restart()?;
            }
            _ => {
                let flush = part.file.sync_all();
                flush.map_err(|error| Error::io("flush", to, error))?;
                let _ = publish::remove_any(&etag_path(to));
                bar.finish_and_clear();
                if let (Some(Saved { fetched, copied }), Some(older)) = (saved, wanted.older) {
                    let (title, older) = (wanted.title, &older.title);
                    ui.say(&format!(
                        "{title}: {fetched} bytes downloaded, {copied} bytes taken from {older}"
                    ));
                }
                return Ok(is);
            }
        }
    }
}

/// Asks for what is missing until nothing is, or until nothing more comes.
fn fill(
    client: &Client,
    wanted: &Wanted<'_>,
    part: &mut Part<'_>,
    bar: &ProgressBar,
) -> Result<(), Error> {
    let mut tries = TRIES;
    let mut size = wanted.size;
    loop {
        if size.is_some_and(|size| part.have > size) {
            part.restart()?;
        }
        if size == Some(part.have) {
            return Ok(());
        }
        let before = part.have;
        let why = match ask(client, wanted, part) {
            Ok(content) => {
                if content.from != part.have {
                    part.restart()?;
                }
                let limit = limit(wanted, &content)?;
                size = Some(limit);
                bar.set_length(limit);
                bar.set_position(part.have);
                part.belongs_to(content.etag.as_deref())?;
                match part.take(content.reader, limit, wanted, bar)? {
                    None => return Ok(()),
                    Some(why) => why,
                }
            }
            Err(Error::Repository(RepoError::Unreachable { why, passing: true, .. })) => why,
            Err(Error::Repository(error)) if error.is_passing() => error.to_string(),
            // The part that is here goes beyond what the server has.
            Err(Error::Repository(RepoError::Status { status: 416, .. })) if part.have > 0 => {
                part.restart()?;
                continue;
            }
            Err(other) => return Err(other),
        };
        log::debug!("{}: {why} after {} bytes", wanted.from, part.have);
        tries = if part.have.saturating_sub(before) >= PROGRESS { TRIES } else { tries - 1 };
        if tries == 0 {
            let url = wanted.from.to_string();
            // Nothing came at all, and nothing is there to go on from.
            if part.have == 0 {
                return Err(RepoError::Unreachable { url, why, passing: true }.into());
            }
            let size = size.map_or_else(|| "unknown".to_owned(), |size| size.to_string());
            return Err(RepoError::Cut { url, have: part.have, size, why }.into());
        }
    }
}

fn ask(client: &Client, wanted: &Wanted<'_>, part: &Part<'_>) -> Result<Content, Error> {
    let ask = Ask { from: part.have, part_of: part.etag.as_deref(), ..Ask::default() };
    match client.get(wanted.from, ask)? {
        Answer::Content(content) => Ok(content),
        Answer::Unchanged | Answer::Missing => {
            Err(RepoError::Missing(wanted.from.to_string()).into())
        }
    }
}

/// How long the file may be: as the index says, else as the server does.
fn limit(wanted: &Wanted<'_>, content: &Content) -> Result<u64, RepoError> {
    let url = || wanted.from.to_string();
    let told = content.length.map(|length| length.saturating_add(content.from));
    match (wanted.size, told) {
        (Some(declared), Some(told)) if told > declared => {
            Err(RepoError::TooLong { url: url(), limit: declared })
        }
        (Some(declared), _) => Ok(declared),
        (None, Some(told)) => Ok(told),
        (None, None) => Err(RepoError::NoLength(url())),
    }
}

impl<'a> Part<'a> {
    /// Opens what is at `path`, or makes it, and hashes it.
    fn open(path: &'a Path) -> Result<Self, Error> {
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
    fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(|error| Error::io("empty", self.path, error))?;
        (self.hasher, self.have) = (Sha256::new(), 0);
        (self.etag, self.doubtful) = (None, false);
        Ok(())
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
    fn take(
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
fn etag_path(part: &Path) -> PathBuf {
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
