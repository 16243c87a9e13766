//! What can go wrong with a repository, in the words that people see.

use layers::id::Digest;
use thiserror::Error;

use super::index::IndexError;
use super::location::LocationError;

/// Why a repository or a file on a server is of no use now.
#[derive(Debug, Error)]
pub(crate) enum RepoError {
    /// A text is no URL.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// No connection, no name, no answer.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why, as the network said it.
        why: String,
        /// Whether another try may help.
        passing: bool,
    },
    /// The server's certificate or its TLS.
    #[error("{url} is not trusted: {why}")]
    Untrusted {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server has no such file.
    #[error("{0} is not there")]
    Missing(String),
    /// The server answered with something else.
    #[error("{url} cannot be had: the server answers {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
    },
    /// A redirection that is not followed.
    #[error("{url} leads to {to}, and {why}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Where it leads.
        to: String,
        /// Why that is not followed.
        why: &'static str,
    },
    /// A connection ended early, again and again.
    #[error("the download of {url} was cut off after {have} of {size} bytes: {why}")]
    Cut {
        /// What was asked for.
        url: String,
        /// Bytes that are there.
        have: u64,
        /// Bytes of the whole.
        size: String,
        /// Why, as the network said it.
        why: String,
    },
    /// More bytes than were declared.
    #[error("{url} goes on after the {limit} bytes that it may have")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// A server that does not say how long a file is, of which nobody else says it.
    #[error("the server does not say how long {0} is, and no index says it")]
    NoLength(String),
    /// Other bytes than were declared.
    #[error("{url} is not what the index tells: its SHA-256 is {is}, not {want}")]
    Digest {
        /// What was asked for.
        url: String,
        /// What was got.
        is: Digest,
        /// What it should be.
        want: Digest,
    },
    /// The index is not understood.
    #[error("{url} {source}")]
    Index {
        /// The index.
        url: String,
        /// Why.
        source: IndexError,
    },
    /// Neither index is there.
    #[error("{0} is no repository: it has neither layers.toml nor SHA256SUMS")]
    NoIndex(String),
    /// The system has no certificates to trust.
    #[error("no certificate authority is known to this system: {0}")]
    NoRoots(String),
    /// The proxy of the environment.
    #[error("{0:?} is no proxy that layerctl can use")]
    Proxy(String),
}

impl RepoError {
    /// Whether another try may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { passing, .. } => *passing,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }

    /// Whether what was downloaded so far is kept.
    pub(crate) fn keeps_part(&self) -> bool {
        matches!(self, Self::Cut { .. })
    }

    /// What to do or type.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Location(_) => "give it as https://HOST/PATH, or as a path",
            Self::Unreachable { .. } => {
                "look at the network and, where there is one, at http_proxy and https_proxy; then type the command again"
            }
            Self::Untrusted { .. } | Self::NoRoots(_) => {
                "add the authority's certificate to the system's (update-ca-certificates), or name its file: SSL_CERT_FILE=FILE"
            }
            Self::Missing(_) => {
                "look at the URL; where an index names the file, whoever runs the repository can mend it: layerctl repo index DIR"
            }
            Self::NoIndex(_) => {
                "look at the URL; to make an index of the directory that is served: layerctl repo index DIR"
            }
            Self::Status { .. } | Self::NoLength(_) => "ask whoever runs the server",
            Self::Redirect { .. } => "give the URL that it leads to, if you trust it",
            Self::Cut { .. } => "type the command again: it goes on where it stopped",
            Self::TooLong { .. } | Self::Digest { .. } => {
                "the file and the index do not belong together: type the command again later; whoever runs the repository can mend it: layerctl repo index DIR"
            }
            Self::Index { source: IndexError::Schema(_), .. } => "use a newer layerctl",
            Self::Index { .. } => "whoever runs the repository can mend it: layerctl repo index DIR",
            Self::Proxy(_) => "set it as http_proxy=http://HOST:PORT",
        }
        .to_owned()
    }
}
