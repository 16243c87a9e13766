//! `layerctl plan`: what a boot would mount.

#![expect(clippy::disallowed_methods, reason = "asks the running kernel for its command line")]

use std::fs;
use std::path::Path;

use layers::cmdline::{BootRequest, GenerationChoice};
use layers::id::{GenerationId, Name};
use layers::layout::BootPaths;
use layers::plan::boot::{BootFacts, BootPlan, candidates, missing_choice, passed_over, plan_boot};
use layers::plan::change::Refusal;
use layers::plan::check::check_boot;
use layers::report::{FailedCandidate, Skipped, WritableMount};
use layers::store::{facts, read};
use serde::Serialize;

use crate::cli::Plan;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::ui;

/// A boot's plan, in JSON.
#[derive(Serialize)]
struct PlanView<'a> {
    schema: u32,
    generation: GenerationId,
    /// One line each, in order.
    operations: Vec<String>,
    layers: &'a [Name],
    skipped: &'a [Skipped],
    problems: &'a [String],
    writable: &'a [WritableMount],
    failed: &'a [FailedCandidate],
}

pub(super) fn run(args: &Plan, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let mut request = BootRequest::parse(&cmdline(args, context)?);
    if let Some(id) = args.generation {
        request.generation = GenerationChoice::Id(id);
    }
    let choices = store.state.choices();
    let mut problems: Vec<String> = Vec::new();
    problems.extend(
        store.state.damaged_pointers.iter().map(|(path, why)| format!("{} {why}", path.display())),
    );
    problems.extend(missing_choice(&request, &choices));

    let mut known = facts::store(&store.layout);
    known.kernel = kernel(context)?;
    known.hashed = request.hashed;
    let order = candidates(&request, &choices);
    let mut failed: Vec<FailedCandidate> = passed_over(&request, &choices).into_iter().collect();
    for passed in &failed {
        context.ui.warn(&format!("generation {} is passed over: {}", passed.id, passed.why));
    }
    for (place, &id) in order.iter().enumerate() {
        match attempt(&store, &request, known.clone(), id) {
            Ok(plan) => {
                problems.extend(plan.problems.iter().cloned());
                print(args, context, &plan, id, &problems, &failed)?;
                return Ok(Outcome::Done);
            }
            Err(why) => {
                let next = order.get(place + 1);
                let next = next
                    .map_or("no other is left".to_owned(), |id| format!("trying generation {id}"));
                context.ui.warn(&format!("generation {id} does not boot: {why}; {next}"));
                failed.push(FailedCandidate { id, why });
            }
        }
    }
    let what = "no generation of the store boots";
    Err(Refusal::new(what, "see what is wrong: layerctl verify").into())
}

/// One candidate's plan, or why it does not boot; as the initrd would decide it.
fn attempt(
    store: &Store,
    request: &BootRequest,
    mut known: BootFacts,
    id: GenerationId,
) -> Result<BootPlan, String> {
    let paths = BootPaths::default();
    let generation = read::generation(&store.layout, id)?;
    facts::generation(&store.layout, &generation, &mut known).map_err(|error| error.to_string())?;
    let plan = plan_boot(request, &generation, &known, &paths).map_err(|why| why.to_string())?;
    check_boot(&plan.whole(), &paths).map_err(|fault| fault.to_string())?;
    Ok(plan)
}

fn print(
    args: &Plan,
    context: &Context,
    plan: &BootPlan,
    id: GenerationId,
    problems: &[String],
    failed: &[FailedCandidate],
) -> Result<(), Error> {
    let whole = plan.whole();
    let operations = whole.ops.iter().map(ToString::to_string);
    let operations = operations.chain(plan.presets.as_ref().map(ToString::to_string));
    if args.reading.json {
        return context.ui.json(&PlanView {
            schema: ui::SCHEMA,
            generation: id,
            operations: operations.collect(),
            layers: &plan.layers,
            skipped: &plan.skipped,
            problems,
            writable: &plan.writable,
            failed,
        });
    }
    for problem in problems {
        context.ui.warn(problem);
    }
    for skipped in &plan.skipped {
        context.ui.warn(&format!("layer {} is left out: {}", skipped.name, skipped.why));
    }
    context.ui.say(&format!("generation {id}, {} layers", plan.layers.len()));
    context.ui.data(operations.map(|line| line + "\n").collect::<String>())
}

fn cmdline(args: &Plan, context: &Context) -> Result<String, Error> {
    match &args.cmdline {
        Some(text) => Ok(text.clone()),
        None if context.is_running_system() => proc("/proc/cmdline"),
        None => Ok(String::new()),
    }
}

/// The next boot may well be of another kernel; but a base without modules for this one is worth a word now.
fn kernel(context: &Context) -> Result<Option<String>, Error> {
    if !context.is_running_system() {
        return Ok(None);
    }
    proc("/proc/sys/kernel/osrelease").map(|release| Some(release.trim().to_owned()))
}

fn proc(path: &str) -> Result<String, Error> {
    let path = Path::new(path);
    fs::read_to_string(path).map_err(|error| Error::io("read", path, error))
}
