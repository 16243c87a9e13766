//! The one place that talks to servers: GET over HTTP and HTTPS, and the same of files.

#![expect(clippy::disallowed_methods, reason = "opens local repositories' files")]

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;
use ureq::config::Config;
use ureq::http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_NONE_MATCH, IF_RANGE, LOCATION,
    RANGE,
};
use ureq::http::{Response, StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::{Connector, DefaultConnector, TcpConnector};
use ureq::{Agent, Body, Proxy, Timeout};

use super::error::RepoError;
use super::location::{Location, Url};
use super::names::Names;
use super::proxy::{AbsoluteForm, Proxies};
use crate::error::Error;

/// How long a name's resolution and a connection may take together.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a server may say nothing at all.
const SILENCE: Duration = Duration::from_secs(30);
/// How many redirections are followed.
const REDIRECTS: usize = 5;
/// The longest entity tag that is kept, in bytes.
const ETAG_MAX: usize = 256;

/// What is asked for besides the URL.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ask<'a> {
    /// The entity tag of what is there already: nothing else is wanted (If-None-Match).
    pub(crate) known: Option<&'a str>,
    /// The first byte that is wanted (Range).
    pub(crate) from: u64,
    /// The byte after the last one that is wanted, if not all are.
    pub(crate) until: Option<u64>,
    /// The entity tag of the bytes before that one (If-Range).
    pub(crate) part_of: Option<&'a str>,
}

/// What came of it.
pub(crate) enum Answer {
    /// It is what is there already.
    Unchanged,
    /// There is no such file.
    Missing,
    /// Bytes.
    Content(Content),
}

/// Bytes on their way.
pub(crate) struct Content {
    /// Which byte of the whole is the first: 0, or what was asked for.
    pub(crate) from: u64,
    /// How many there are from that one on, as far as the server says it.
    pub(crate) length: Option<u64>,
    /// The entity tag of the whole.
    pub(crate) etag: Option<String>,
    /// The bytes.
    pub(crate) reader: Box<dyn Read>,
}

/// A client with the environment's proxies and the system's certificate authorities.
pub(crate) struct Client {
    proxies: Proxies,
    /// One for each server, with the connections that it keeps.
    agents: RefCell<BTreeMap<String, Agent>>,
    roots: OnceCell<Arc<Vec<Certificate<'static>>>>,
}

impl Client {
    /// A client that has asked for nothing yet.
    pub(crate) fn new(proxies: Proxies) -> Self {
        Self { proxies, agents: RefCell::default(), roots: OnceCell::new() }
    }

    /// Asks for a file.
    pub(crate) fn get(&self, location: &Location, ask: Ask<'_>) -> Result<Answer, Error> {
        match location {
            Location::Path(path) => file(path, ask),
            Location::Url(url) => Ok(self.follow(url, ask)?),
        }
    }

    fn follow(&self, asked: &Url, ask: Ask<'_>) -> Result<Answer, RepoError> {
        let mut url = asked.clone();
        for _ in 0..=REDIRECTS {
            let response = self.send(&url, ask)?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED
            {
                return answer(&url, ask, response);
            }
            let to = text(response.headers(), &LOCATION).unwrap_or_default();
            let refused = |why| RepoError::Redirect { url: url.to_string(), to: to.clone(), why };
            let next = url.redirected(&to).map_err(|_| refused("that is no place on a server"))?;
            if url.is_secure() && !next.is_secure() {
                return Err(refused("what begins encrypted must not go on in the clear"));
            }
            url = next;
        }
        let (url, to) = (asked.to_string(), url.to_string());
        Err(RepoError::Redirect { url, to, why: "so many redirections are not followed" })
    }

    fn send(&self, url: &Url, ask: Ask<'_>) -> Result<Response<Body>, RepoError> {
        log::debug!("GET {url} from byte {}", ask.from);
        let mut request = self.kept_agent(url)?.get(url.to_string());
        if let Some(etag) = ask.known {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if ask.from > 0 || ask.until.is_some() {
            let last = ask.until.map(|until| until.saturating_sub(1).to_string());
            let range = format!("bytes={}-{}", ask.from, last.unwrap_or_default());
            request = request.header(RANGE, range);
            // A weak tag does not stand for bytes (RFC 9110, 13.1.5).
            if let Some(etag) = ask.part_of.filter(|etag| !etag.starts_with("W/")) {
                request = request.header(IF_RANGE, etag);
            }
        }
        request.call().map_err(|error| failure(&url.to_string(), error))
    }

    /// The agent of a server: parts of one file come over one connection.
    fn kept_agent(&self, url: &Url) -> Result<Agent, RepoError> {
        let mut agents = self.agents.borrow_mut();
        if let Some(agent) = agents.get(&url.origin()) {
            return Ok(agent.clone());
        }
        let agent = self.agent(url)?;
        agents.insert(url.origin(), agent.clone());
        Ok(agent)
    }

    fn agent(&self, url: &Url) -> Result<Agent, RepoError> {
        let mut config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("layerctl/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE));
        if url.is_secure() {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
            config = config.tls_config(tls.root_certs(RootCerts::Specific(self.roots()?)).build());
        }
        let usual =
            |config| Agent::with_parts(config, DefaultConnector::default(), Names::default());
        let Some(proxy) = self.proxies.of(url) else { return Ok(usual(config.build())) };
        let wrong = || RepoError::Proxy(proxy.to_owned());
        let tunnel = Proxy::new(proxy).map_err(|_| wrong())?;
        if url.is_secure() {
            return Ok(usual(config.proxy(Some(tunnel)).build()));
        }
        if tunnel.uri().scheme_str() != Some("http") {
            return Err(wrong());
        }
        let resolver = Names::of_proxy(direct(&tunnel)?);
        let connector = ().chain(TcpConnector::default()).chain(AbsoluteForm);
        Ok(Agent::with_parts(config.build(), connector, resolver))
    }

    /// The system's certificate authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`; read once.
    fn roots(&self) -> Result<Arc<Vec<Certificate<'static>>>, RepoError> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots.clone());
        }
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            let why = if why.is_empty() { "none was found".to_owned() } else { why.join(", ") };
            return Err(RepoError::NoRoots(why));
        }
        let roots: Vec<_> =
            found.certs.iter().map(|found| Certificate::from_der(found).to_owned()).collect();
        Ok(self.roots.get_or_init(|| Arc::new(roots)).clone())
    }
}

/// The proxy's own address as a URL.
fn direct(proxy: &Proxy) -> Result<Uri, RepoError> {
    let text = format!("http://{}:{}", proxy.host(), proxy.port());
    text.parse().map_err(|_| RepoError::Proxy(text))
}

fn answer(url: &Url, ask: Ask<'_>, response: Response<Body>) -> Result<Answer, RepoError> {
    let url = url.to_string();
    let headers = response.headers();
    let etag = text(headers, &ETAG).filter(|etag| etag.len() <= ETAG_MAX);
    let length = text(headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let from = match response.status() {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if starts_at(headers, ask.from) => ask.from,
        StatusCode::NOT_MODIFIED => return Ok(Answer::Unchanged),
        StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Missing),
        status => return Err(RepoError::Status { url, status: status.as_u16() }),
    };
    let reader = Box::new(response.into_body().into_reader());
    Ok(Answer::Content(Content { from, length, etag, reader }))
}

/// Whether the part that comes begins where it was asked for: `bytes 100-199/200`.
fn starts_at(headers: &HeaderMap, from: u64) -> bool {
    let range = text(headers, &CONTENT_RANGE).unwrap_or_default();
    let first = range.strip_prefix("bytes ").and_then(|range| range.split('-').next());
    first.and_then(|first| first.parse().ok()) == Some(from)
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn failure(url: &str, error: ureq::Error) -> RepoError {
    let url = url.to_owned();
    let unreachable =
        |why: String, passing| RepoError::Unreachable { url: url.clone(), why, passing };
    match error {
        ureq::Error::Rustls(error) => RepoError::Untrusted { url, why: error.to_string() },
        // What rustls finds wrong in a handshake comes out of the connection's own calls.
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            RepoError::Untrusted { url, why: error.to_string() }
        }
        ureq::Error::Io(error) => unreachable(error.to_string(), true),
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            unreachable(format!("no connection within {} seconds", CONNECT.as_secs()), true)
        }
        ureq::Error::Timeout(_) => unreachable(silent(), true),
        ureq::Error::ConnectionFailed => unreachable("no connection".to_owned(), true),
        ureq::Error::HostNotFound => unreachable("no such host is known".to_owned(), false),
        other => unreachable(other.to_string(), false),
    }
}

fn silent() -> String {
    format!("it said nothing for {} seconds", SILENCE.as_secs())
}

/// What a failed read of [`Content`] says, for people.
pub(super) fn reading(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    match inner {
        Some(ureq::Error::Timeout(_)) => silent(),
        Some(ureq::Error::Io(error)) => error.to_string(),
        _ => error.to_string(),
    }
}

/// The same of a file here.
fn file(path: &Path, ask: Ask<'_>) -> Result<Answer, Error> {
    let failed = |error| Error::io("open", path, error);
    // A pipe would be waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut file: File = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Answer::Missing),
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(failed(io::Error::other("it is no file")));
    }
    let (seconds, nanoseconds) = (found.mtime(), found.mtime_nsec());
    let etag = format!("\"{:x}-{seconds:x}.{nanoseconds:x}-{:x}\"", found.len(), found.ino());
    if ask.known == Some(&etag) {
        return Ok(Answer::Unchanged);
    }
    let same = ask.part_of.is_none_or(|part_of| part_of == etag);
    let from = if same && ask.from <= found.len() { ask.from } else { 0 };
    file.seek(SeekFrom::Start(from)).map_err(failed)?;
    let length = ask.until.unwrap_or(u64::MAX).min(found.len()).saturating_sub(from);
    let reader = Box::new(file.take(length));
    Ok(Answer::Content(Content { from, length: Some(length), etag: Some(etag), reader }))
}
