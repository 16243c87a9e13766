//! Host names are looked up as the system does it (nsswitch.conf(5)).
//!
//! A static program cannot do that: it would load the modules of another C library into itself, which ends in a crash
//! where the two differ. The system's own getent(1) is asked then.

use std::fmt;
use std::io;
use std::net::IpAddr;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::error::Error;
use crate::program;

/// The most addresses of a host that are tried; a resolver's answer holds no more.
const ADDRESSES_MAX: usize = 16;

/// Looks names up: those of the hosts that are asked for, or always one proxy's.
#[derive(Default)]
pub(super) struct Names {
    /// The proxy.
    pub(super) proxy: Option<Uri>,
    own: DefaultResolver,
}

impl Names {
    /// A resolver that gives a proxy's address for every host.
    pub(super) fn of_proxy(proxy: Uri) -> Self {
        Self { proxy: Some(proxy), own: DefaultResolver::default() }
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let uri = self.proxy.as_ref().unwrap_or(uri);
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        if !cfg!(target_feature = "crt-static") || host.parse::<IpAddr>().is_ok() {
            return self.own.resolve(uri, config, timeout);
        }
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let mut addresses = self.empty();
        let found = by_getent(host).map_err(ureq::Error::Io)?;
        found.into_iter().take(ADDRESSES_MAX).for_each(|ip| addresses.push((ip, port).into()));
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("proxy", &self.proxy).finish()
    }
}

/// The addresses of a host, the best first; none where it is unknown.
fn by_getent(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut getent = program::command("getent");
    getent.command.args(["ahosts", "--", host]);
    match getent.run() {
        Ok(output) => Ok(addresses(&String::from_utf8_lossy(&output.stdout))),
        // It has found nothing.
        Err(Error::Program { .. }) => Ok(Vec::new()),
        Err(other) => Err(io::Error::other(other)),
    }
}

/// Reads `getent ahosts`: address, socket type, name; each address once.
fn addresses(text: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in text.lines() {
        let address = line.split_whitespace().next().and_then(|word| word.parse().ok());
        if let Some(address) = address
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn getent_s_answer_is_read() {
        let text = "::1             STREAM localhost\n::1             DGRAM\n\
                    127.0.0.1       STREAM\nfe80::1%eth0 STREAM\n\n";
        assert_eq!(addresses(text), ["::1", "127.0.0.1"].map(|it| it.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn the_system_is_asked_for_names() {
        assert!(by_getent("localhost").unwrap().iter().any(IpAddr::is_loopback));
        assert_eq!(by_getent("-h").unwrap(), Vec::<IpAddr>::new());
        assert_eq!(by_getent("no-such-host.invalid").unwrap(), Vec::<IpAddr>::new());
    }
}
