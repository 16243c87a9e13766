//! One verb: its calls, what it makes of a store, and every fault in turn.

use super::InjectError;
use super::call;
use super::fault::{Case, Fault, Victim};
use super::judge::{self, End, Ran};
use super::place::{Place, Plain, Traced, unwrap};
use super::seen::Seen;
use super::verb::Verb;
use crate::files;
use layers::layout::Layout;
use layers::store::read;
use std::collections::BTreeSet;
use std::path::Path;

/// How many generations the cleanup at the end of each run keeps.
const CLEANUP: &str = "cleanup --keep 2";

/// A verb that was run once without a fault.
#[derive(Debug)]
pub(super) struct Trial {
    /// The verb.
    pub(super) verb: &'static Verb,
    /// What it finds.
    start: Place,
    old: Seen,
    new: Seen,
    /// Every fault of every call.
    pub(super) cases: Vec<Case>,
}

/// What came of one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether the call was made: how often a program makes one may differ from run to run.
    pub(super) reached: bool,
    /// What was wrong, and what the run said.
    pub(super) wrong: Option<String>,
}

/// What the standard library says when closedir(3) fails.
const CLOSED_DIRECTORY: &str = "unexpected error during closedir";

impl Trial {
    /// Prepares a verb in `dir`, which holds trees and images.
    pub(super) fn new(
        verb: &'static Verb,
        layerctl: &Path,
        dir: &Path,
    ) -> Result<Self, InjectError> {
        let start = Place::new(dir.join("start"), layerctl);
        start.prepare(verb)?;
        let old = sound(verb, Seen::look(&start.dir)?)?;
        let place = Place::new(dir.join("trial"), layerctl);
        let mut new = None;
        let mut cases = Vec::new();
        let programs = verb.programs.iter().map(|name| Victim::Program(name));
        for victim in std::iter::once(Victim::Layerctl).chain(programs) {
            place.copy(&start)?;
            let ran = place.run(verb.command, &mut Traced { victim, case: None })?;
            let log = files::read_text(&place.log())?;
            let calls = match victim {
                Victim::Layerctl => call::of_layerctl(&log),
                Victim::Program(name) => call::of_program(name, &log),
            };
            if ran.end != End::Exit(0) || calls.is_empty() {
                return Err(InjectError::Verb { verb: verb.name, said: ran.stderr });
            }
            cases.extend(Case::all(victim, &calls));
            new = Some(sound(verb, Seen::look(&place.dir)?)?);
        }
        let new = new.unwrap_or_default();
        Ok(Self { verb, start, old, new, cases })
    }

    /// Runs the verb with one fault in `place`, and everything that has to go well after it.
    pub(super) fn try_case(&self, case: &Case, place: &Place) -> Result<Verdict, InjectError> {
        place.copy(&self.start)?;
        let mut way = Traced { victim: case.victim, case: Some(case) };
        let ran = place.run(self.verb.command, &mut way)?;
        unwrap(place, case.victim)?;
        let log = files::read_text(&place.log()).unwrap_or_default();
        let mark = if case.fault == Fault::Kill { "killed by SIGKILL" } else { "(INJECTED)" };
        // Runs are not alike to the last call: the number may be that of a directory's close this time, which never fails.
        if ran.stderr.contains(CLOSED_DIRECTORY) {
            return Ok(Verdict { reached: false, wrong: None });
        }
        let reached = log.contains(mark);
        let wrong = self.wrong(case, &ran, place)?;
        let said =
            |wrong| format!("{wrong}; it said: {}", ran.stderr.trim_end().replace('\n', " | "));
        Ok(Verdict { reached, wrong: wrong.map(said) })
    }

    fn wrong(&self, case: &Case, ran: &Ran, place: &Place) -> Result<Option<String>, InjectError> {
        if let Some(wrong) = judge::ended(ran, case.victim, case.fault) {
            return Ok(Some(wrong));
        }
        let seen = match Seen::look(&place.dir)? {
            Ok(seen) => seen,
            Err(wrong) => return Ok(Some(wrong)),
        };
        let sides = (&self.old, &self.new);
        if let Some(wrong) = judge::left(ran, &seen, sides, self.verb.at_once) {
            return Ok(Some(wrong));
        }
        if let Some(leak) = place.leaked()?.first() {
            return Ok(Some(format!("it left {leak}")));
        }
        if seen != self.new
            && let Some(wrong) = self.again(place)?
        {
            return Ok(Some(wrong));
        }
        self.settle(place)
    }

    /// The same command, without a fault, succeeds.
    fn again(&self, place: &Place) -> Result<Option<String>, InjectError> {
        let ran = place.run(self.verb.command, &mut Plain)?;
        if ran.end != End::Exit(0) {
            return Ok(Some(format!("tried again: {}", ran.stderr.trim_end())));
        }
        Ok(match Seen::look(&place.dir)? {
            Err(wrong) => Some(format!("tried again: {wrong}")),
            Ok(seen) if seen != self.new => {
                Some(format!("tried again: {}", seen.difference(&self.new)))
            }
            Ok(_) => None,
        })
    }

    /// A cleanup, and where work directories are left another run of the verb, leave nothing but what is named.
    fn settle(&self, place: &Place) -> Result<Option<String>, InjectError> {
        let ran = place.run(CLEANUP, &mut Plain)?;
        if ran.end != End::Exit(0) {
            return Ok(Some(format!("cleanup: {}", ran.stderr.trim_end())));
        }
        if !place.leftovers()?.is_empty() {
            // What it says does not matter: it may have nothing to do.
            place.run(self.verb.command, &mut Plain)?;
        }
        if files::exists(&place.dir.join("boot/loader"))
            && let Some(wrong) = mend(place)?
        {
            return Ok(Some(wrong));
        }
        let left = place.leftovers()?;
        if !left.is_empty() {
            return Ok(Some(format!("cleanup left {}", left.join(", "))));
        }
        let layout = Layout::new(&place.dir.join("state"));
        let state = match read::read_state(&layout, None) {
            Ok(state) => state,
            Err(error) => return Ok(Some(format!("cleanup: {error}"))),
        };
        let named: BTreeSet<_> = state.generations.values().flat_map(|g| g.digests()).collect();
        let there: BTreeSet<_> = state.images.keys().copied().collect();
        if there != named {
            return Ok(Some(format!("cleanup left images: {there:?}, named are {named:?}")));
        }
        Ok(match Seen::look(&place.dir)? {
            Err(wrong) => Some(format!("cleaned up: {wrong}")),
            Ok(_) => None,
        })
    }
}

/// What the boot partition has that no generation needs goes with one command, and the next one finds nothing to do.
fn mend(place: &Place) -> Result<Option<String>, InjectError> {
    let sync = "--boot boot --unchanged-exit-77 boot sync";
    let ran = place.run(sync, &mut Plain)?;
    if !matches!(ran.end, End::Exit(0 | 77)) {
        return Ok(Some(format!("boot sync: {}", ran.stderr.trim_end())));
    }
    let ran = place.run(sync, &mut Plain)?;
    Ok((ran.end != End::Exit(77)).then(|| format!("boot sync twice: {}", ran.stderr.trim_end())))
}

fn sound(verb: &Verb, seen: Result<Seen, String>) -> Result<Seen, InjectError> {
    seen.map_err(|said| InjectError::Verb { verb: verb.name, said })
}
