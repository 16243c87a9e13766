//! What came of the kills.

use super::Options;
use std::fmt;

/// Where a machine was when it was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before init said anything.
    Kernel,
    /// Before there was a shell.
    Init,
    /// While changes were made.
    Changes,
}

impl Moment {
    /// By what the machine said last.
    pub(super) fn of(said: &str) -> Self {
        if said.contains("@begin-1-") || said.contains("job control turned off") {
            Self::Changes
        } else if said.contains("layers-init: ") {
            Self::Init
        } else {
            Self::Kernel
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "in the kernel's start",
            Self::Init => "in init",
            Self::Changes => "in changes",
        })
    }
}

/// One machine's life.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) number: u32,
    pub(super) moment: Moment,
    /// How many changes it had made.
    pub(super) changes: usize,
    /// What was wrong then or afterwards.
    pub(super) wrong: Option<String>,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill {}: {}, {} changes", self.number, self.moment, self.changes)?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "\nviolation: {wrong}"))
    }
}

/// What came of all of them.
#[derive(Debug)]
pub struct Report {
    options: Options,
    pub(super) rounds: Vec<Round>,
    /// What was wrong with the whole boot at the end.
    pub(super) last: Option<String>,
}

impl Report {
    pub(super) fn new(options: Options) -> Self {
        Self { options, rounds: Vec::new(), last: None }
    }

    /// What was wrong, in the order in which it came.
    pub fn violations(&self) -> Vec<&str> {
        let rounds = self.rounds.iter().filter_map(|round| round.wrong.as_deref());
        rounds.chain(self.last.as_deref()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |moment| self.rounds.iter().filter(|round| round.moment == moment).count();
        let changes: usize = self.rounds.iter().map(|round| round.changes).sum();
        writeln!(
            f,
            "{} kills: {} in the kernel's start, {} in init, {} in changes, of which {changes} were made; {} violations",
            self.rounds.len(),
            at(Moment::Kernel),
            at(Moment::Init),
            at(Moment::Changes),
            self.violations().len()
        )?;
        self.violations().iter().try_for_each(|violation| writeln!(f, "{violation}"))?;
        writeln!(
            f,
            "again: cargo xtask kills --count {} --seed {}",
            self.options.count, self.options.seed
        )
    }
}
