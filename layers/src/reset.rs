//! What `layerctl reset` asks of the next boot: the file `boot/reset`.
//!
//! ```toml
//! dirs = ["etc", "var"]
//! keep = ["/etc/NetworkManager/system-connections"]
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::Dir;

/// Uppers to empty, once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The directories.
    pub dirs: Vec<Dir>,
    /// Absolute paths that survive, besides those of the policy; the last component may end in `*`.
    #[serde(default)]
    pub keep: Vec<String>,
}

impl Reset {
    /// Reads a request. A path to keep that cannot be understood is refused with all the rest: what it names would go.
    pub fn parse(text: &str) -> Result<Self, String> {
        let reset: Self = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        match reset.keep.iter().find(|path| !crate::policy::is_plain(path)) {
            Some(path) => Err(format!("{path:?} is no absolute path of names")),
            None => Ok(reset),
        }
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_as_it_was_written() {
        let reset = Reset { dirs: vec![Dir::Etc, Dir::Home], keep: vec!["/etc/a*".to_owned()] };
        assert_eq!(Reset::parse(&reset.to_string()), Ok(reset));
    }

    #[test]
    fn a_request_that_is_not_understood_whole_is_none() {
        for text in ["dirs = [\"usr\"]", "dirs = []\nall = true", "dirs = []\nkeep = [\"a\"]", "x"]
        {
            assert!(Reset::parse(text).is_err(), "{text}");
        }
    }
}
