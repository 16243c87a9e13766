//! A trusted key: what it may sign, and until when.

use std::fmt;
use std::str::FromStr;

use crate::manifest::Kind;
use crate::signature::PublicKey;

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A base.
    Base,
    /// A layer.
    Layer,
    /// What layerctl makes over a base and layers: what triggers write, and the index of all.
    Trigger,
    /// That an older version is taken all the same.
    Downgrade,
    /// A repository's index.
    Index,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Base, Self::Layer, Self::Trigger, Self::Downgrade, Self::Index];

    /// Its word in a trust file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Layer => "layer",
            Self::Trigger => "trigger",
            Self::Downgrade => "downgrade",
            Self::Index => "index",
        }
    }

    /// The purpose of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

impl From<Kind> for Purpose {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Base => Self::Base,
            Kind::Layer => Self::Layer,
            Kind::Trigger | Kind::Index => Self::Trigger,
        }
    }
}

/// A day in a trust file: `2027-06-30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    year: u32,
    month: u32,
    day: u32,
}

impl Day {
    /// The first second after it, since 1970 in UTC.
    fn end(self) -> u64 {
        // Days since 0000-03-01, in years that begin in March, so that a leap day is a year's last.
        let year = u64::from(self.year) - u64::from(self.month <= 2);
        let month = u64::from((self.month + 9) % 12);
        let days = year * 365 + year / 4 - year / 100
            + year / 400
            + (month * 153 + 2) / 5
            + u64::from(self.day);
        (days - 719_468) * 86_400
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(|part| part.parse().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        let there =
            (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        (there && parts.next().is_none()).then_some(Self { year, month, day })
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// A key and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub public: PublicKey,
    /// What it may sign; anything where none is named.
    pub kinds: Vec<Purpose>,
    /// Names that it may sign, `*` for any part; all where none is given.
    pub names: Vec<String>,
    /// The last day on which it counts, UTC; every day where none is given.
    pub until: Option<Day>,
}

impl Key {
    /// Whether it may sign what has that purpose and name.
    pub fn may_sign(&self, purpose: Purpose, name: &str) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&purpose))
            && (self.names.is_empty() || self.names.iter().any(|glob| matches(glob, name)))
    }

    /// Whether its last day is over; `now` in seconds since 1970, UTC.
    pub fn is_expired(&self, now: u64) -> bool {
        self.until.is_some_and(|day| now >= day.end())
    }
}

/// Whether a name is the one that `glob` means, in which `*` stands for any text.
fn matches(glob: &str, name: &str) -> bool {
    match glob.split_once('*') {
        None => glob == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|left| {
            let mut ends = left.char_indices().map(|(at, _)| at).chain([left.len()]);
            ends.any(|at| left.get(at..).is_some_and(|left| matches(rest, left)))
        }),
    }
}

impl FromStr for Key {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let public = words.next().unwrap_or_default();
        let public = public.parse().map_err(|error| format!("{error}"))?;
        let mut key = Self { public, kinds: Vec::new(), names: Vec::new(), until: None };
        for word in words {
            let unknown = || format!("{word:?} is no limit of a key");
            let (limit, values) = word.split_once('=').ok_or_else(unknown)?;
            let values = values.split(',').filter(|value| !value.is_empty());
            match limit {
                "kinds" => {
                    let kinds: Option<Vec<_>> = values.map(Purpose::named).collect();
                    key.kinds = kinds.filter(|kinds| !kinds.is_empty()).ok_or_else(unknown)?;
                }
                "names" => {
                    key.names = values.map(str::to_owned).collect();
                    // An empty list would be no limit.
                    if key.names.is_empty() {
                        return Err(unknown());
                    }
                }
                "until" => {
                    let day = word.get(6..).and_then(Day::parse);
                    key.until = Some(day.ok_or_else(unknown)?);
                }
                _ => return Err(unknown()),
            }
        }
        Ok(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.public)?;
        if !self.kinds.is_empty() {
            let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
            write!(f, " kinds={}", kinds.join(","))?;
        }
        if !self.names.is_empty() {
            write!(f, " names={}", self.names.join(","))?;
        }
        self.until.iter().try_for_each(|day| write!(f, " until={day}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_when_the_next_begins() {
        // As `date -u -d "… + 1 day" +%s` has it.
        for (day, end) in [
            ("1970-01-01", 86_400),
            ("2000-02-29", 951_868_800),
            ("2026-11-22", 1_795_392_000),
            ("2027-12-31", 1_830_297_600),
            ("2100-02-28", 4_107_542_400),
        ] {
            assert_eq!(Day::parse(day).unwrap().end(), end, "{day}");
            assert_eq!(Day::parse(day).unwrap().to_string(), day);
        }
        for none in ["", "2027", "2027-13-01", "2027-01-32", "1969-01-01", "2027-1-1-1", "x-y-z"] {
            assert_eq!(Day::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (glob, name, is) in [
            ("debian", "debian", true),
            ("debian", "debian2", false),
            ("acme-*", "acme-", true),
            ("acme-*", "acme-web", true),
            ("acme-*", "xacme-web", false),
            ("*-debug", "web-debug", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("*", "anything", true),
        ] {
            assert_eq!(matches(glob, name), is, "{glob} {name}");
        }
    }
}
