//! What came of the faults, as a table.

use super::Options;
use super::fault::Case;
use super::trial::Verdict;
use std::fmt;

/// What came of one verb's faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    verb: &'static str,
    /// All faults that there are.
    faults: usize,
    /// Those that were tried and met their call.
    tried: usize,
    /// Those that were tried and met no call.
    missed: usize,
    violations: Vec<String>,
}

impl Row {
    /// The row of a verb that has so many faults.
    pub(super) fn new(verb: &'static str, faults: usize, verdicts: &[(Case, Verdict)]) -> Self {
        let tried = verdicts.iter().filter(|(_, verdict)| verdict.reached).count();
        let wrong = |(case, verdict): &(Case, Verdict)| {
            Some(format!("{verb}, {case}: {}", verdict.wrong.as_ref()?))
        };
        let mut violations: Vec<_> = verdicts.iter().filter_map(wrong).collect();
        violations.sort_unstable();
        Self { verb, faults, tried, missed: verdicts.len() - tried, violations }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, faults, tried, missed, violations } = self;
        let violations = violations.len();
        write!(f, "{verb:<24} {faults:>7} {tried:>7} {missed:>7} {violations:>10}")
    }
}

/// What came of the faults of all verbs.
#[derive(Debug)]
pub struct Report {
    seed: Option<u64>,
    pub(super) rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self { seed: (!options.all).then_some(options.seed), rows: Vec::new() }
    }

    /// How many runs broke a rule.
    pub fn violations(&self) -> usize {
        self.rows.iter().map(|row| row.violations.len()).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:>7} {:>7} {:>7} {:>10}",
            "verb", "faults", "tried", "missed", "violations"
        )?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        let sum = |count: fn(&Row) -> usize| self.rows.iter().map(count).sum();
        let total = Row {
            verb: "all",
            faults: sum(|row| row.faults),
            tried: sum(|row| row.tried),
            missed: sum(|row| row.missed),
            violations: self.rows.iter().flat_map(|row| row.violations.clone()).collect(),
        };
        writeln!(f, "{total}")?;
        total.violations.iter().try_for_each(|violation| writeln!(f, "{violation}"))?;
        match self.seed {
            Some(seed) => writeln!(f, "a sample, from --seed {seed}"),
            None => writeln!(f, "every fault of every call"),
        }
    }
}
