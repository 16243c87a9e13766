//! Downloads that take from an older image what it has of a new one, and fetch the rest in parts.
//!
//! ```text
//! FILE.blocks, older image → search → pieces → copied, or asked for by Range → the part of the file that is here
//! ```
//!
//! The file grows from its beginning, whoever the bytes are from. So wherever this ends, the plain download goes on from there, a
//! later run as well; and SHA-256 is over all of it.

#![expect(clippy::disallowed_methods, reason = "reads the older image")]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use indicatif::ProgressBar;

use super::blocks::{self, Blocks};
use super::client::{self, Answer, Ask, Client};
use super::download::Wanted;
use super::location::Location;
use super::part::Part;
use super::search::{self, Piece};
use crate::error::Error;
use crate::ui::Ui;

/// How often a connection may end early in a row without having brought anything.
const TRIES: u32 = 3;

/// An image that the store has and that may have much of the one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Older {
    /// Its file.
    pub(crate) path: PathBuf,
    /// Its name and version, for people.
    pub(crate) title: String,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Saved {
    /// Bytes of the index and of parts.
    pub(super) fetched: u64,
    /// Bytes of the older image.
    pub(super) copied: u64,
}

/// Why it was given up.
enum End {
    /// The plain way is open.
    Plain(String),
    /// No way is: the disk.
    Failed(Error),
}

/// Puts together what it can of the file that is wanted. Whatever is wrong with index, server or older image is no error: the
/// rest is got in the plain way.
pub(super) fn fill(
    client: &Client,
    ui: &Ui,
    wanted: &Wanted<'_>,
    older: &Older,
    part: &mut Part<'_>,
    bar: &ProgressBar,
) -> Result<Option<Saved>, Error> {
    match put_together(client, ui, wanted, older, part, bar) {
        Ok(saved) => Ok(Some(saved)),
        Err(End::Failed(error)) => Err(error),
        Err(End::Plain(why)) => {
            log::debug!("{} is not put together of {}: {why}", wanted.from, older.title);
            Ok(None)
        }
    }
}

fn put_together(
    client: &Client,
    ui: &Ui,
    wanted: &Wanted<'_>,
    older: &Older,
    part: &mut Part<'_>,
    bar: &ProgressBar,
) -> Result<Saved, End> {
    let plain = |why: &str| End::Plain(why.to_owned());
    let (Some(size), Some(digest)) = (wanted.size, wanted.digest) else {
        return Err(plain("nobody says how long it is, or what its SHA-256 is"));
    };
    // In a file system nothing is saved.
    let (Location::Url(_), true) = (wanted.from, blocks::is_indexed(size)) else {
        return Err(plain("there is no use in it"));
    };
    if part.have() >= size {
        return Err(plain("it is here"));
    }
    part.check_room(size).map_err(End::Failed)?;
    let index = index(client, &wanted.from.beside(blocks::ENDING), blocks::length(size))?;
    let parsed =
        Blocks::parse(&index, size, &digest).map_err(|error| End::Plain(error.to_string()))?;
    let failed = |error: io::Error| End::Plain(format!("{}: {error}", older.path.display()));
    let mut old = File::open(&older.path).map_err(failed)?;
    let looking = ui.bar("comparing", old.metadata().map_err(failed)?.len());
    let found = search::search(&parsed, &old, &mut |bytes| looking.inc(bytes)).map_err(failed)?;
    looking.finish_and_clear();
    let pieces = search::pieces(&parsed, &found, part.have());
    let (all, missing) = (size - part.have(), search::fetched(&pieces));
    if missing > all - all / 4 {
        return Err(End::Plain(format!("{missing} of {all} bytes are new")));
    }
    part.is_put_together();
    for piece in &pieces {
        match piece.old {
            Some(place) => copy(&mut old, place, piece, part, bar).map_err(|end| match end {
                Ok(error) => failed(error),
                Err(error) => End::Failed(error),
            })?,
            None => fetch(client, wanted, piece, part, bar)?,
        }
    }
    Ok(Saved { fetched: index.len() as u64 + missing, copied: all - missing })
}

/// Gets the block index, which has `length` bytes.
fn index(client: &Client, from: &Location, length: usize) -> Result<Vec<u8>, End> {
    let mut tries = TRIES;
    loop {
        let why = match client.get(from, Ask::default()) {
            Ok(Answer::Content(content)) => {
                let mut bytes = Vec::new();
                // One byte more tells a file that is longer.
                let limit = length as u64 + 1;
                match content.reader.take(limit).read_to_end(&mut bytes) {
                    Ok(_) => return Ok(bytes),
                    Err(error) => client::reading(&error),
                }
            }
            Ok(Answer::Missing | Answer::Unchanged) => {
                return Err(End::Plain(format!("there is no {from}")));
            }
            Err(Error::Repository(error)) if error.is_passing() => error.to_string(),
            Err(error) => return Err(End::Plain(error.to_string())),
        };
        tries -= 1;
        if tries == 0 {
            return Err(End::Plain(why));
        }
    }
}

/// Takes a piece from the older image; the inner error is the older image's.
fn copy(
    old: &mut File,
    place: u64,
    piece: &Piece,
    part: &mut Part<'_>,
    bar: &ProgressBar,
) -> Result<(), Result<io::Error, Error>> {
    old.seek(SeekFrom::Start(place)).map_err(Ok)?;
    let end = piece.at + piece.length;
    match part.take_until(&mut old.take(piece.length), end, bar).map_err(Err)? {
        None => Ok(()),
        Some(error) => Err(Ok(error)),
    }
}

/// Asks the server for a piece until it is whole, or until nothing more comes.
fn fetch(
    client: &Client,
    wanted: &Wanted<'_>,
    piece: &Piece,
    part: &mut Part<'_>,
    bar: &ProgressBar,
) -> Result<(), End> {
    let end = piece.at + piece.length;
    let mut tries = TRIES;
    while part.have() < end {
        let before = part.have();
        let ask = Ask { from: before, until: Some(end), part_of: part.etag(), known: None };
        let why = match client.get(wanted.from, ask) {
            Ok(Answer::Content(content)) => {
                if content.from != before || content.length != Some(end - before) {
                    return Err(End::Plain("the server does not give parts of it".to_owned()));
                }
                part.belongs_to(content.etag.as_deref()).map_err(End::Failed)?;
                let mut reader = content.reader;
                let taken = part.take_until(&mut reader, end, bar).map_err(End::Failed)?;
                match taken {
                    None => {
                        // A connection that is read to its end serves the next request too.
                        let _ = reader.read(&mut [0]);
                        continue;
                    }
                    Some(error) => client::reading(&error),
                }
            }
            Ok(Answer::Missing | Answer::Unchanged) => {
                return Err(End::Plain("the server does not have it any more".to_owned()));
            }
            Err(Error::Repository(error)) if error.is_passing() => error.to_string(),
            Err(error) => return Err(End::Plain(error.to_string())),
        };
        tries = if part.have() > before { TRIES } else { tries - 1 };
        if tries == 0 {
            return Err(End::Plain(why));
        }
    }
    Ok(())
}
