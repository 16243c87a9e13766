//! What the process finds around it: environment variables, the clock, its own user. Read once, here.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment and the clock"
)]

use std::os::unix::fs::MetadataExt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::repo::proxy::Proxies;

/// The surroundings of one run.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// Whether colours are allowed (`NO_COLOR`, <https://no-color.org>).
    pub(crate) colour: bool,
    /// Seconds since 1970 that stand for the time of a build (`SOURCE_DATE_EPOCH`, reproducible-builds.org).
    pub(crate) epoch: Option<u64>,
    /// Now, or the epoch if there is one: RFC 3339, UTC, to the second.
    pub(crate) time: String,
    /// Now, by the clock, in seconds since 1970: what expires does so whatever a build calls its time.
    pub(crate) now: u64,
    /// Whether the process has user number 0.
    pub(crate) root: bool,
    /// Proxies to reach servers by.
    pub(crate) proxies: Proxies,
}

impl Environment {
    /// Reads it all.
    pub(crate) fn read() -> Self {
        let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
        Self {
            colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            epoch,
            time: rfc3339(epoch),
            now: u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default(),
            // A process's directory in /proc belongs to its user.
            root: std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0),
            proxies: Proxies::read(|name| std::env::var(name).ok()),
        }
    }
}

fn rfc3339(epoch: Option<u64>) -> String {
    let now = epoch
        .and_then(|seconds| i64::try_from(seconds).ok())
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or_else(OffsetDateTime::now_utc);
    let whole = now.replace_nanosecond(0).unwrap_or(now);
    // A year after 9999 has no RFC 3339 form; the record then says nothing.
    whole.format(&Rfc3339).unwrap_or_default()
}
