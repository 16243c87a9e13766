//! What is done to a system call.

use super::call::Call;
use std::fmt;

/// What is done to one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not made, and gives EIO.
    Io,
    /// It is not made, and gives ENOSPC.
    NoSpace,
    /// The process is killed in its place.
    Kill,
}

/// All of them.
pub(super) const FAULTS: [Fault; 3] = [Fault::Io, Fault::NoSpace, Fault::Kill];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
            Self::Kill => "SIGKILL",
        })
    }
}

/// Whose system calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    /// layerctl's own.
    Layerctl,
    /// Those of a program that it starts.
    Program(&'static str),
}

/// One fault in one run of a verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    /// Whose call.
    pub(super) victim: Victim,
    /// Which call.
    pub(super) call: Call,
    /// What is done to it.
    pub(super) fault: Fault,
}

impl Case {
    /// Every fault of these calls.
    pub(super) fn all(victim: Victim, calls: &[Call]) -> Vec<Self> {
        let faults = |call: &Call| {
            let call = call.clone();
            FAULTS
                .into_iter()
                .filter(move |fault| call.fails || *fault == Fault::Kill)
                .map(move |fault| (call.clone(), fault))
                .collect::<Vec<_>>()
        };
        let cases = calls.iter().flat_map(faults);
        cases.map(|(call, fault)| Self { victim, call, fault }).collect()
    }

    /// strace's options that do it.
    pub(super) fn options(&self) -> [String; 4] {
        let name = &self.call.name;
        let what = match self.fault {
            Fault::Io => "error=EIO",
            Fault::NoSpace => "error=ENOSPC",
            Fault::Kill => "signal=KILL",
        };
        let when = format!("inject={name}:{what}:when={}", self.call.number);
        ["-e".to_owned(), format!("trace={name}"), "-e".to_owned(), when]
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Victim::Program(program) = self.victim {
            write!(f, "{program}: ")?;
        }
        write!(f, "{} at {} {}", self.fault, self.call.name, self.call.number)
    }
}
