//! A time in an index: RFC 3339, UTC, to the second.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time from 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Moment(u64);

impl Moment {
    /// So many seconds after 1970.
    pub(crate) fn new(seconds: u64) -> Self {
        // 9999-12-31, the last that has a text.
        Self(seconds.min(253_402_300_799))
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
        let seconds = parsed.and_then(|time| u64::try_from(time.unix_timestamp()).ok());
        seconds.map(Self::new).ok_or_else(|| format!("{text:?} is no time: 2027-01-31T00:00:00Z"))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = i64::try_from(self.0).ok();
        let time = time.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        let text = time.and_then(|time| time.format(&Rfc3339).ok());
        f.write_str(&text.ok_or(fmt::Error)?)
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

impl TryFrom<String> for Moment {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_goes_out_and_comes_in_again() {
        for seconds in [0, 1_767_225_600, 253_402_300_799, u64::MAX] {
            let moment = Moment::new(seconds);
            assert_eq!(moment.to_string().parse(), Ok(moment));
        }
        for bad in ["", "2027-01-31", "1969-12-31T23:59:59Z", "tomorrow"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
