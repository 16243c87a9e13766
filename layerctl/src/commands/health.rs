//! `layerctl health`.

use layers::plan::change::Refusal;

use crate::cli::Health;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::health;

pub(super) fn run(args: &Health, context: &Context) -> Result<Outcome, Error> {
    let checks = match &args.directory {
        Some(directory) => health::of_directory(directory)?,
        None => health::of_this_machine()?,
    };
    let mut outcomes = Vec::new();
    for check in &checks {
        let outcome = health::run(check);
        let path = outcome.path.display();
        match &outcome.failure {
            None => context.ui.say(&format!("{path}: passed")),
            Some(why) if outcome.required => context.ui.warn(&format!("{path} failed: {why}")),
            Some(why) => context.ui.warn(&format!("{path}, which is not required, failed: {why}")),
        }
        outcomes.push(outcome);
    }
    if args.directory.is_none() {
        health::write_down(&outcomes)?;
    }
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| outcome.is_fatal())
        .map(|outcome| outcome.path.display().to_string())
        .collect();
    if outcomes.is_empty() {
        context.ui.say("there is no health check");
    }
    if failed.is_empty() {
        return Ok(Outcome::Done);
    }
    Err(Refusal::new(
        format!("{} of {} health checks failed: {}", failed.len(), outcomes.len(), failed.join(", ")),
        "mend it and try again: layerctl health; to go back to another generation: layerctl rollback",
    )
    .into())
}
