//! What came out: for each file system and verb, the states that were tried and those that broke a rule.

use super::recording::Flavour;
use crate::vm::Filesystem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What became of the states of one verb.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) prefixes: usize,
    pub(super) subsets: usize,
    /// How many of them were checked by fsck too.
    pub(super) fscks: usize,
    /// Names of states, and what is wrong with them.
    pub(super) violations: Vec<(String, String)>,
}

impl Tally {
    fn states(&self) -> usize {
        self.prefixes + self.subsets
    }

    fn add(&mut self, other: &Self) {
        self.prefixes += other.prefixes;
        self.subsets += other.subsets;
        self.fscks += other.fscks;
        self.violations.extend(other.violations.iter().cloned());
    }
}

/// What became of one recording.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) filesystem: Filesystem,
    pub(super) flavour: Flavour,
    pub(super) verbs: Vec<(String, Tally)>,
    pub(super) time: Duration,
}

impl Outcome {
    pub(super) fn new(filesystem: Filesystem, flavour: Flavour) -> Self {
        Self { filesystem, flavour, verbs: Vec::new(), time: Duration::ZERO }
    }

    /// Takes in what became of a part of the states; all parts name the verbs in one order.
    pub(super) fn add(&mut self, part: Vec<(String, Tally)>) {
        if self.verbs.is_empty() {
            self.verbs = part;
            return;
        }
        for ((_, sum), (_, tally)) in self.verbs.iter_mut().zip(part) {
            sum.add(&tally);
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum =
            |part: fn(&Tally) -> usize| -> usize { self.verbs.iter().map(|(_, t)| part(t)).sum() };
        let (states, violations) = (sum(Tally::states), sum(|t| t.violations.len()));
        let (filesystem, flavour) = (self.filesystem.name(), self.flavour.name());
        let seconds = self.time.as_secs();
        write!(f, "{filesystem}/{flavour}: {states} states, {violations} violations, {seconds} s")
    }
}

/// What became of all of them.
#[derive(Debug, Default)]
pub struct Report {
    outcomes: Vec<Outcome>,
    pub(super) time: Duration,
}

/// So many violations of a verb are shown in full.
const SHOWN: usize = 2;

impl Report {
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    fn tallies(&self, control: bool) -> impl Iterator<Item = (&Outcome, &str, &Tally)> {
        let wanted = self.outcomes.iter().filter(move |o| o.flavour.is_control() == control);
        wanted.flat_map(|o| o.verbs.iter().map(move |(verb, tally)| (o, verb.as_str(), tally)))
    }

    /// States and violations of the product.
    fn totals(&self) -> (usize, usize) {
        self.tallies(false).fold((0, 0), |(states, violations), (.., tally)| {
            (states + tally.states(), violations + tally.violations.len())
        })
    }

    /// For each control on each file system, its careless verbs' states and how many were caught.
    fn controls(&self) -> BTreeMap<(&'static str, &'static str), (usize, usize)> {
        let mut controls = BTreeMap::new();
        for (outcome, _, tally) in self.tallies(true) {
            let key = (outcome.flavour.name(), outcome.filesystem.name());
            let (states, caught) = controls.entry(key).or_insert((0, 0));
            *states += tally.states();
            *caught += tally.violations.len();
        }
        controls
    }

    /// Whether the product broke no rule, and every control did.
    pub fn is_good(&self) -> bool {
        let (states, violations) = self.totals();
        states > 0 && violations == 0 && self.controls().values().all(|(_, caught)| *caught > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: BTreeMap<(&str, usize), (&str, Tally)> = BTreeMap::new();
        for outcome in self.outcomes.iter().filter(|outcome| !outcome.flavour.is_control()) {
            for (place, (verb, tally)) in outcome.verbs.iter().enumerate() {
                let row = rows.entry((outcome.filesystem.name(), place));
                row.or_insert_with(|| (verb, Tally::default())).1.add(tally);
            }
        }
        let line = |f: &mut fmt::Formatter<'_>, filesystem: &str, verb: &str, tally: &Tally| {
            let Tally { prefixes, subsets, fscks, violations } = tally;
            let broken = violations.len();
            writeln!(
                f,
                "{filesystem:<6} {verb:<18} {prefixes:>9} {subsets:>8} {fscks:>6} {broken:>11}"
            )
        };
        writeln!(
            f,
            "{:<6} {:<18} {:>9} {:>8} {:>6} {:>11}",
            "", "verb", "prefixes", "subsets", "fsck", "violations"
        )?;
        for ((filesystem, _), (verb, tally)) in &rows {
            line(f, filesystem, verb, tally)?;
        }
        for filesystem in Filesystem::ALL {
            let mut sum = Tally::default();
            let of_this = rows.iter().filter(|((name, _), _)| *name == filesystem.name());
            of_this.for_each(|(_, (_, tally))| sum.add(tally));
            if sum.states() > 0 {
                line(f, filesystem.name(), "all", &sum)?;
            }
        }
        let ((states, violations), seconds) = (self.totals(), self.time.as_secs());
        writeln!(f, "{states} states tried, {violations} violations, {seconds} s")?;
        for ((control, filesystem), (states, caught)) in self.controls() {
            writeln!(f, "{control} on {filesystem}: caught in {caught} of {states} states")?;
        }
        for (_, _, tally) in self.tallies(false) {
            for (name, why) in tally.violations.iter().take(SHOWN) {
                writeln!(f, "{name}: {why}\n  again: cargo xtask crash --replay {name}")?;
            }
        }
        Ok(())
    }
}
