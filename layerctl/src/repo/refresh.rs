//! Asks repositories for their indexes: all that is offered, and what could not be asked.

#![expect(clippy::disallowed_methods, reason = "reads the cache's files")]

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use layers::id::Name;
use layers::layout::Layout;
use layers::store::lock::Lock;
use layers::trust::Verify;

use super::cache::{self, Cached, Form};
use super::client::{self, Answer, Ask, Client, Content};
use super::definition::{self, Repository};
use super::error::RepoError;
use super::index::{Entry, Index};
use super::location::Location;
use crate::context::Context;
use crate::error::Error;
use crate::trust::Guard;

/// The longest index that is read, in bytes.
const INDEX_MAX: u64 = 64 << 20;
/// The longest file of signatures, in bytes.
const SIGNATURES_MAX: u64 = 64 << 10;
/// How often a connection may end early.
const TRIES: u32 = 3;

/// An image that a repository has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The repository's name.
    pub(crate) repository: String,
    /// Where its file is.
    pub(crate) location: Location,
    /// What the index says of it.
    pub(crate) entry: Entry,
}

/// What came of asking one repository.
pub(crate) struct Polled {
    /// What it has.
    pub(crate) index: Index,
    /// Whether it has had the same before.
    pub(crate) unchanged: bool,
    /// What there is to keep.
    pub(crate) cached: Cached,
}

/// What all configured repositories have.
#[derive(Default)]
pub(crate) struct Offers {
    /// Every image of every repository that could be asked, or was once.
    pub(crate) offers: Vec<Offer>,
    /// Repositories that could not be asked now, and why.
    pub(crate) failed: Vec<Failed>,
    /// How many repositories there are.
    pub(crate) repositories: usize,
}

/// A repository that could not be asked now.
pub(crate) struct Failed {
    /// Its name.
    pub(crate) name: Name,
    /// Why.
    pub(crate) error: Error,
    /// Whether it stands with what it had when it was last asked.
    pub(crate) known: bool,
}

impl Failed {
    /// A warning's text.
    pub(crate) fn warning(&self) -> String {
        let then = if self.known {
            "what it had when it was last asked is taken"
        } else {
            "it is left out"
        };
        format!("repository {}: {}; {then}", self.name, self.error)
    }
}

/// Asks all configured repositories. What they answer is kept; where the caller has not `locked` the store, only if nobody
/// else changes it at that moment.
pub(crate) fn offers(
    context: &Context,
    layout: &Layout,
    client: &Client,
    locked: bool,
) -> Result<Offers, Error> {
    let guard = Guard::of(context, layout)?;
    let mut all = Offers::default();
    for repository in definition::all(context, layout)? {
        all.repositories += 1;
        let known = cache::read(layout, &repository);
        let (name, location) = (&repository.name, &repository.location);
        let index = match poll(client, &guard, name, location, known.as_ref()) {
            Ok(polled) => {
                if !polled.unchanged
                    && let Err(error) = keep(layout, &repository.name, &polled.cached, locked)
                {
                    // It is asked for once more the next time, which costs nothing but bytes.
                    let name = &repository.name;
                    context.ui.warn(&format!("the index of {name} is not kept: {error}"));
                }
                Some(polled.index)
            }
            Err(error) => {
                let last = known.and_then(|known| known.trusted(&guard, name).ok());
                let (name, known) = (repository.name.clone(), last.is_some());
                all.failed.push(Failed { name, error, known });
                last
            }
        };
        all.offers.extend(index.into_iter().flat_map(|index| offered(&repository, index)));
    }
    Ok(all)
}

fn keep(layout: &Layout, name: &Name, cached: &Cached, locked: bool) -> Result<(), Error> {
    // Not held while servers are waited for: a change is not to fail because somebody looks for news.
    let lock = if locked { None } else { Lock::acquire(layout).ok() };
    if locked || lock.is_some() { cache::write(layout, name, cached) } else { Ok(()) }
}

fn offered(repository: &Repository, index: Index) -> impl Iterator<Item = Offer> {
    index.entries.into_iter().map(|entry| Offer {
        repository: repository.name.to_string(),
        location: repository.location.join(&entry.file),
        entry,
    })
}

/// Asks one repository for its index, unless it is what is known.
pub(crate) fn poll(
    client: &Client,
    guard: &Guard,
    name: &Name,
    location: &Location,
    known: Option<&Cached>,
) -> Result<Polled, Error> {
    let mut polled = ask(client, location, known)?;
    let cached = &mut polled.cached;
    if guard.verify() == Verify::Off && polled.index.serial.is_none() {
        cached.signatures = None;
        return Ok(polled);
    }
    // Also those over the same text: more keys may have signed it since.
    let from = location.join(&format!("{}.minisig", cached.form.file()));
    cached.signatures = match text(client, &from, None, SIGNATURES_MAX)? {
        Text::New { text, .. } => Some(text),
        Text::Missing | Text::Unchanged => None,
    };
    polled.unchanged = known == Some(cached);
    let before = known.and_then(|known| Some((known, known.form.parse(&known.text).ok()?)));
    let before = before.as_ref().map(|(known, index)| known.signed(index));
    guard.check_index(name.as_str(), cached.signed(&polled.index), before)?;
    Ok(polled)
}

fn ask(client: &Client, location: &Location, known: Option<&Cached>) -> Result<Polled, Error> {
    if let Some(known) = known {
        match text(client, &location.join(known.form.file()), known.etag.as_deref(), INDEX_MAX)? {
            Text::Unchanged => return understood(location, known.clone(), true),
            Text::New { text, etag } => {
                let unchanged = known.text == text && known.etag == etag;
                let cached = Cached { etag, text, ..known.clone() };
                return understood(location, cached, unchanged);
            }
            Text::Missing => {}
        }
    }
    for form in Form::ALL {
        if let Text::New { text, etag } =
            text(client, &location.join(form.file()), None, INDEX_MAX)?
        {
            let cached = Cached { url: location.to_string(), form, etag, text, signatures: None };
            return understood(location, cached, false);
        }
    }
    Err(RepoError::NoIndex(location.to_string()).into())
}

fn understood(location: &Location, cached: Cached, unchanged: bool) -> Result<Polled, Error> {
    let index = cached.form.parse(&cached.text).map_err(|source| {
        let url = location.join(cached.form.file()).to_string();
        RepoError::Index { url, source }
    })?;
    Ok(Polled { index, unchanged, cached })
}

/// A small file of a server.
pub(crate) enum Text {
    /// It is what is known.
    Unchanged,
    /// It is not there.
    Missing,
    /// Its text and its entity tag.
    New {
        /// All of it.
        text: String,
        /// Its tag.
        etag: Option<String>,
    },
}

/// Gets a small file of at most `limit` bytes, unless it is the one of the entity tag `known`.
pub(crate) fn text(
    client: &Client,
    from: &Location,
    known: Option<&str>,
    limit: u64,
) -> Result<Text, Error> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let failure = match client.get(from, Ask { known, ..Ask::default() }) {
            Ok(Answer::Unchanged) => return Ok(Text::Unchanged),
            Ok(Answer::Missing) => return Ok(Text::Missing),
            Ok(Answer::Content(content)) => match whole(from, content, limit) {
                Ok(text) => return Ok(text),
                Err(failure) => failure,
            },
            Err(Error::Repository(failure)) => failure,
            Err(other) => return Err(other),
        };
        if tries == 0 || !failure.is_passing() {
            return Err(failure.into());
        }
        log::debug!("{failure}");
    }
}

fn whole(from: &Location, content: Content, limit: u64) -> Result<Text, RepoError> {
    let url = from.to_string();
    let mut bytes = Vec::new();
    let read = content.reader.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| {
        let (url, why) = (url.clone(), client::reading(&error));
        RepoError::Unreachable { url, why, passing: true }
    })?;
    if bytes.len() as u64 > limit {
        return Err(RepoError::TooLong { url, limit });
    }
    let source = super::index::IndexError::Syntax("it is not UTF-8".to_owned());
    let text = String::from_utf8(bytes).map_err(|_| RepoError::Index { url, source })?;
    Ok(Text::New { text, etag: content.etag })
}

/// A kept index's text.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}
