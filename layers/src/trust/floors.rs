//! The lowest version of each image that is taken: what is older was replaced for a reason.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::{Purpose, Trust};
use crate::id::{Name, Version};

/// A lowest version for each kind and name; as text one line each, `base debian 13.1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floors(Vec<Floor>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Floor {
    purpose: Purpose,
    name: Name,
    version: Version,
}

impl Floors {
    /// The lowest version that is taken; any where nothing is said.
    pub fn get(&self, purpose: Purpose, name: &Name) -> Option<&Version> {
        let is = |floor: &&Floor| floor.purpose == purpose && floor.name == *name;
        self.0.iter().find(is).map(|floor| &floor.version)
    }

    /// Whether `version` is older than what is taken.
    pub fn refuse(&self, purpose: Purpose, name: &Name, version: &Version) -> Option<&Version> {
        self.get(purpose, name).filter(|floor| version.compare(floor) == Ordering::Less)
    }

    /// Sets a lowest version, whatever it was before.
    pub fn set(&mut self, purpose: Purpose, name: &Name, version: &Version) {
        self.0.retain(|floor| floor.purpose != purpose || floor.name != *name);
        let floor = Floor { purpose, name: name.clone(), version: version.clone() };
        let before =
            |other: &Floor| (other.purpose, other.name.as_str()) < (purpose, name.as_str());
        let place = self.0.partition_point(before);
        self.0.insert(place, floor);
    }

    /// Takes the higher of two for each.
    pub fn raise(&mut self, other: &Self) {
        for floor in &other.0 {
            self.raise_to(floor.purpose, &floor.name, &floor.version);
        }
    }

    /// Raises one to `version`, if it is lower.
    pub fn raise_to(&mut self, purpose: Purpose, name: &Name, version: &Version) {
        let known = self.get(purpose, name);
        if known.is_none_or(|known| known.compare(version) == Ordering::Less) {
            self.set(purpose, name, version);
        }
    }

    /// Sets those that `other` names to what it says, if that is lower: what an administrator has signed off.
    pub fn lower(&mut self, other: &Self) {
        for floor in &other.0 {
            if self
                .get(floor.purpose, &floor.name)
                .is_some_and(|known| floor.version.compare(known) == Ordering::Less)
            {
                self.set(floor.purpose, &floor.name, &floor.version);
            }
        }
    }

    /// Its lines, in order.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|floor| format!("{} {} {}", floor.purpose.name(), floor.name, floor.version))
    }

    /// Adds a line; the error says what is wrong with it.
    pub(super) fn take(&mut self, line: &str) -> Result<(), String> {
        let unknown = || format!("{line:?} is no kind, name and version");
        let mut words = line.split_whitespace();
        let (Some(kind), Some(name), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(unknown());
        };
        let kind = Purpose::named(kind).ok_or_else(unknown)?;
        let name = Name::from_str(name).map_err(|_| unknown())?;
        let version = Version::from_str(version).map_err(|_| unknown())?;
        self.raise_to(kind, &name, &version);
        Ok(())
    }
}

impl Trust {
    /// Reads the older versions that somebody has signed off: whoever signed must be allowed to for each name. The error is
    /// a sentence's end; `now` is in seconds since 1970, UTC.
    pub fn signed_off(
        &self,
        text: &str,
        signatures: Option<&str>,
        now: u64,
    ) -> Result<Floors, String> {
        let failed = |distrust: super::Distrust| distrust.to_string();
        let signers = self.check(text.as_bytes(), signatures, now).map_err(failed)?;
        let floors: Floors = text.parse()?;
        for floor in &floors.0 {
            signers.allow(Purpose::Downgrade, floor.name.as_str()).map_err(failed)?;
        }
        Ok(floors)
    }
}

impl FromStr for Floors {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut floors = Self::default();
        text.lines().filter(|line| !line.is_empty()).try_for_each(|line| floors.take(line))?;
        Ok(floors)
    }
}

impl fmt::Display for Floors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}
