//! The last index that each repository gave, with its entity tag: a poll of an unchanged one brings nothing again.

use layers::id::Name;
use layers::layout::Layout;
use layers::store::publish;
use serde::{Deserialize, Serialize};

use super::definition::{Repository, make_directory};
use super::error::RepoError;
use super::index::{self, Index, IndexError};
use super::sums;
use crate::error::Error;
use crate::trust::Guard;
use crate::trust::index::Signed;

/// The form of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    /// `layers.toml`
    #[serde(rename = "layers.toml")]
    Layers,
    /// `SHA256SUMS`
    #[serde(rename = "SHA256SUMS")]
    Sums,
}

impl Form {
    /// Both, the better first.
    pub(crate) const ALL: [Self; 2] = [Self::Layers, Self::Sums];

    /// The file of that form.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Layers => index::FILE,
            Self::Sums => sums::FILE,
        }
    }

    /// Reads a text of that form.
    pub(crate) fn parse(self, text: &str) -> Result<Index, IndexError> {
        match self {
            Self::Layers => Index::parse(text),
            Self::Sums => Ok(sums::parse(text)),
        }
    }
}

/// An index as it was got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cached {
    /// The repository that it is of; a definition may have changed since.
    pub(crate) url: String,
    /// Its form.
    pub(crate) form: Form,
    /// Its entity tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) etag: Option<String>,
    /// The text itself.
    pub(crate) text: String,
    /// The signatures over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signatures: Option<String>,
}

impl Cached {
    /// Itself, to be checked; `index` is what it says.
    pub(crate) fn signed<'a>(&'a self, index: &'a Index) -> Signed<'a> {
        Signed { text: &self.text, index, signatures: self.signatures.as_deref() }
    }

    /// What it says, if that may be relied on still.
    pub(crate) fn trusted(&self, guard: &Guard, name: &Name) -> Result<Index, Error> {
        let index = self
            .form
            .parse(&self.text)
            .map_err(|source| RepoError::Index { url: self.url.clone(), source })?;
        guard.check_index(name.as_str(), self.signed(&index), None)?;
        Ok(index)
    }
}

/// What is kept of a repository; nothing where it is of another URL, or cannot be read.
pub(crate) fn read(layout: &Layout, repository: &Repository) -> Option<Cached> {
    let path = layout.repository_index(&repository.name);
    let text = super::refresh::read_text(&path).ok()?;
    let cached: Cached = toml::from_str(&text).ok()?;
    (cached.url == repository.location.to_string()).then_some(cached)
}

/// Keeps an index.
pub(crate) fn write(layout: &Layout, name: &Name, cached: &Cached) -> Result<(), Error> {
    make_directory(&layout.repository_indexes())?;
    let path = layout.repository_index(name);
    let text =
        toml::to_string(cached).map_err(|error| Error::Output(std::io::Error::other(error)))?;
    publish::file(&path, &text).map_err(|error| Error::io("write", &path, error))
}
