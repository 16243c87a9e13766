//! Names that the command line takes: of a state, and of what one process does.

use super::recording::Flavour;
use crate::vm::Filesystem;
use std::fmt;
use std::str::FromStr;

/// The name of one state: `ext4/plain/install/17`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateName {
    /// The file system.
    pub filesystem: Filesystem,
    /// What the verb met.
    pub flavour: Flavour,
    /// The verb.
    pub verb: String,
    /// Its place among the verb's states: prefixes first, then subsets.
    pub number: usize,
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { filesystem, flavour, verb, number } = self;
        write!(f, "{}/{}/{verb}/{number}", filesystem.name(), flavour.name())
    }
}

impl FromStr for StateName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.rsplitn(3, '/');
        let (Some(number), Some(verb), Some(job)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err("a state's name has four parts: ext4/plain/install/17".to_owned());
        };
        let (filesystem, flavour) = job_named(job)?;
        let number = number.parse().map_err(|_| "its last part is no number")?;
        Ok(Self { filesystem, flavour, verb: verb.to_owned(), number })
    }
}

/// What one process does for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make the recording.
    Record,
    /// Try this part of the states.
    Part(usize),
}

/// The name of a step: `ext4/plain/record`, `ext4/plain/0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartName {
    /// The file system.
    pub filesystem: Filesystem,
    /// What the verbs meet.
    pub flavour: Flavour,
    /// What is to be done.
    pub step: Step,
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.filesystem.name(), self.flavour.name())?;
        match self.step {
            Step::Record => f.write_str("record"),
            Step::Part(part) => write!(f, "{part}"),
        }
    }
}

impl FromStr for PartName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (job, step) = text.rsplit_once('/').ok_or("a part's name has three parts")?;
        let (filesystem, flavour) = job_named(job)?;
        let step = match step {
            "record" => Step::Record,
            part => Step::Part(part.parse().map_err(|_| "its last part is no number")?),
        };
        Ok(Self { filesystem, flavour, step })
    }
}

/// Reads `ext4/plain`.
fn job_named(text: &str) -> Result<(Filesystem, Flavour), String> {
    let (filesystem, flavour) =
        text.split_once('/').ok_or("it names no file system and flavour")?;
    let filesystem = Filesystem::ALL.into_iter().find(|known| known.name() == filesystem);
    let flavour = Flavour::ALL.into_iter().find(|known| known.name() == flavour);
    Ok((
        filesystem.ok_or("it names no file system")?,
        flavour.ok_or("its second part is neither plain nor synced nor a control")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_they_are_shown() {
        for text in ["ext4/plain/install/17", "btrfs/control-in-place/careless-pin/0"] {
            assert_eq!(text.parse::<StateName>().unwrap().to_string(), text);
        }
        for text in ["xfs/synced/record", "xfs/synced/5"] {
            assert_eq!(text.parse::<PartName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn others_are_refused() {
        for text in
            ["", "ext4", "ext4/plain/17", "fat/plain/pin/1", "ext4/x/pin/1", "ext4/plain/pin/x"]
        {
            assert!(text.parse::<StateName>().is_err(), "{text}");
        }
        assert!("ext4/plain/x".parse::<PartName>().is_err());
    }
}
