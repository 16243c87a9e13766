//! How long each step of the boot takes, for the log and for boot.json.

#![expect(clippy::disallowed_methods, reason = "measures time; nothing is decided by it")]

use std::time::{Duration, Instant};

use layers::report;
use log::info;

/// A step that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was done.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// How long after the start of init it was done.
    pub done: Duration,
}

/// The steps so far.
#[derive(Debug)]
pub struct Steps {
    start: Instant,
    done: Vec<Step>,
}

impl Steps {
    /// Starts the clock; call it first of all.
    #[expect(
        clippy::new_without_default,
        reason = "it reads the clock, which a default value must not"
    )]
    pub fn new() -> Self {
        Self { start: Instant::now(), done: Vec::new() }
    }

    /// Records that what was done since the last call (or the start) was `name`, and logs it.
    pub fn done(&mut self, name: &'static str) {
        let done = self.start.elapsed();
        let before = self.done.last().map_or(Duration::ZERO, |step| step.done);
        let took = done.saturating_sub(before);
        info!("{name}: {} ms, at {} ms", milliseconds(took), milliseconds(done));
        self.done.push(Step { name, took, done });
    }

    /// The steps in order, for boot.json.
    pub fn report(&self) -> Vec<report::Step> {
        let microseconds = |took: Duration| took.as_micros().try_into().unwrap_or(u64::MAX);
        self.done
            .iter()
            .map(|step| report::Step { name: step.name.to_owned(), us: microseconds(step.took) })
            .collect()
    }
}

/// Milliseconds with one decimal, without floating point.
fn milliseconds(duration: Duration) -> String {
    let tenths = duration.as_micros() / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_one_another() {
        let mut steps = Steps::new();
        steps.done("first");
        steps.done("second");
        let [first, second] = steps.done.as_slice() else { panic!("{steps:?}") };
        assert_eq!((first.name, second.name), ("first", "second"));
        assert_eq!(first.took, first.done);
        assert_eq!(second.done, first.done + second.took);
    }

    #[test]
    fn milliseconds_have_one_decimal() {
        for (microseconds, expected) in
            [(0, "0.0"), (1250, "1.2"), (99_999, "99.9"), (1_000_000, "1000.0")]
        {
            assert_eq!(milliseconds(Duration::from_micros(microseconds)), expected);
        }
    }
}
