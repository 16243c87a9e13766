//! Downloads: hashed while they arrive, resumed where they were cut off, and never longer than declared.

use std::path::Path;

use indicatif::ProgressBar;
use layers::id::Digest;
use layers::store::publish;

use super::client::{Answer, Ask, Client, Content};
use super::delta::{self, Older, Saved};
use super::error::RepoError;
use super::location::Location;
use super::part::{self, Part};
use crate::error::Error;
use crate::ui::Ui;

/// How often a connection may end early in a row without having brought [`PROGRESS`].
const TRIES: u32 = 5;
/// Bytes that make a try one that got on.
const PROGRESS: u64 = 1 << 20;

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
        let _ = publish::remove_any(&part::etag_path(to));
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
        let is = part.digest();
        match wanted.digest {
            Some(want) if is != want => {
                let url = wanted.from.to_string();
                if !part.is_doubtful() {
                    return Err(RepoError::Digest { url, is, want }.into());
                }
                log::debug!("{url}: what was here already, or is of another image, is of no use");
                saved = None;
                part.restart()?;
            }
            _ => {
                part.finish()?;
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
        if size.is_some_and(|size| part.have() > size) {
            part.restart()?;
        }
        if size == Some(part.have()) {
            return Ok(());
        }
        let before = part.have();
        let why = match ask(client, wanted, part) {
            Ok(content) => {
                if content.from != part.have() {
                    part.restart()?;
                }
                let limit = limit(wanted, &content)?;
                size = Some(limit);
                bar.set_length(limit);
                bar.set_position(part.have());
                part.belongs_to(content.etag.as_deref())?;
                match part.take(content.reader, limit, wanted, bar)? {
                    None => return Ok(()),
                    Some(why) => why,
                }
            }
            Err(Error::Repository(RepoError::Unreachable { why, passing: true, .. })) => why,
            Err(Error::Repository(error)) if error.is_passing() => error.to_string(),
            // The part that is here goes beyond what the server has.
            Err(Error::Repository(RepoError::Status { status: 416, .. })) if part.have() > 0 => {
                part.restart()?;
                continue;
            }
            Err(other) => return Err(other),
        };
        log::debug!("{}: {why} after {} bytes", wanted.from, part.have());
        tries = if part.have().saturating_sub(before) >= PROGRESS { TRIES } else { tries - 1 };
        if tries == 0 {
            let url = wanted.from.to_string();
            // Nothing came at all, and nothing is there to go on from.
            if part.have() == 0 {
                return Err(RepoError::Unreachable { url, why, passing: true }.into());
            }
            let size = size.map_or_else(|| "unknown".to_owned(), |size| size.to_string());
            return Err(RepoError::Cut { url, have: part.have(), size, why }.into());
        }
    }
}

fn ask(client: &Client, wanted: &Wanted<'_>, part: &Part<'_>) -> Result<Content, Error> {
    let ask = Ask { from: part.have(), part_of: part.etag(), ..Ask::default() };
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
