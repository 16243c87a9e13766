//! Proxies from the environment: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in lower or upper case.
//!
//! What is asked for by `https` goes through a tunnel (CONNECT, RFC 9110, 9.3.6). What is asked for by `http` is asked of the proxy itself, with
//! the whole URL in the request's first line (absolute form, RFC 9112, 3.2.2): many proxies let nothing but port 443
//! through a tunnel.

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::location::Url;

/// The environment's words about proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    http: Option<String>,
    https: Option<String>,
    /// Hosts that are asked directly, parted by commas.
    none: Option<String>,
}

impl Proxies {
    /// Takes them from variables; `get` gives one's value.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let set = |name: &str| get(name).filter(|value| !value.is_empty());
            set(name).or_else(|| set(&name.to_ascii_uppercase()))
        };
        let all = either("all_proxy");
        Self {
            http: either("http_proxy").or_else(|| all.clone()),
            https: either("https_proxy").or(all),
            none: either("no_proxy"),
        }
    }

    /// The proxy to ask for a URL, as it was written; none where the server is asked directly.
    pub(crate) fn of(&self, url: &Url) -> Option<&str> {
        if self.none.as_deref().is_some_and(|none| is_exempt(none, url.host())) {
            return None;
        }
        if url.is_secure() { self.https.as_deref() } else { self.http.as_deref() }
    }
}

/// Whether a host is one of `no_proxy`: `*`, the host itself, or a domain that it is in, with or without a dot in front.
fn is_exempt(none: &str, host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    none.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
        let inside = |host: &str| host.strip_suffix(&entry).is_some_and(|rest| rest.ends_with('.'));
        entry == "*" || host == entry || inside(&host)
    })
}

/// Puts requests over a connection to a proxy into absolute form.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AbsoluteForm;

impl<In: Transport> Connector<In> for AbsoluteForm {
    type Out = Absolute<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let authority = details.uri.authority().map(ToString::to_string).unwrap_or_default();
        let origin = format!("http://{authority}").into_bytes();
        Ok(chained.map(|inner| Absolute { inner, origin, begun: false }))
    }
}

/// A connection to a proxy that carries one request.
#[derive(Debug)]
pub(super) struct Absolute<In> {
    inner: In,
    /// Scheme and host of what is asked for.
    origin: Vec<u8>,
    /// Whether the request's first line is sent.
    begun: bool,
}

impl<In: Transport> Transport for Absolute<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let mut amount = amount;
        if !self.begun {
            let output = self.inner.buffers().output();
            let at = output.iter().position(|&byte| byte == b' ').map_or(0, |space| space + 1);
            let longer = amount + self.origin.len();
            if longer > output.len() || at >= amount {
                return Err(ureq::Error::LargeResponseHeader(longer, output.len()));
            }
            output.copy_within(at..amount, at + self.origin.len());
            if let Some(place) = output.get_mut(at..at + self.origin.len()) {
                place.copy_from_slice(&self.origin);
            }
            (amount, self.begun) = (longer, true);
        }
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        // One request a connection: the next one begins with a first line again.
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::location::Location;

    fn url(text: &str) -> Url {
        let Location::Url(url) = text.parse().unwrap() else { panic!("{text}") };
        url
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let set = |name: &str| match name {
            "http_proxy" => Some("http://plain:3128".to_owned()),
            "HTTPS_PROXY" => Some("http://secure:3128".to_owned()),
            "no_proxy" => Some("localhost, .example.org,10.0.0.1".to_owned()),
            _ => None,
        };
        let proxies = Proxies::read(set);
        assert_eq!(proxies.of(&url("http://h/")), Some("http://plain:3128"));
        assert_eq!(proxies.of(&url("https://h/")), Some("http://secure:3128"));
        for direct in [
            "http://localhost:80/",
            "http://a.example.org/",
            "https://example.org/",
            "http://10.0.0.1/",
        ] {
            assert_eq!(proxies.of(&url(direct)), None, "{direct}");
        }
        assert!(proxies.of(&url("http://anexample.org/")).is_some());
        let all = Proxies::read(|name| (name == "ALL_PROXY").then(|| "p:1".to_owned()));
        assert_eq!(all.of(&url("https://h/")), Some("p:1"));
        assert_eq!(Proxies::read(|_| Some(String::new())), Proxies::default());
        assert!(is_exempt("*", "h"));
    }
}
