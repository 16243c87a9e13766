//! `layerctl policy`.

use layers::config::Config;
use layers::id::GenerationId;
use layers::plan::change::{self, Refusal};
use layers::policy::Policy;
use serde::Serialize;

use crate::cli::{self, PolicyVerb, Writing};
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::ui;

/// The policy, in JSON.
#[derive(Serialize)]
struct View<'a> {
    schema: u32,
    /// The generation whose policy it is: the one that boots next.
    generation: GenerationId,
    writable: &'a Policy,
    /// The configuration file; null where there is none.
    file: Option<FileView<'a>>,
}

#[derive(Serialize)]
struct FileView<'a> {
    path: String,
    /// Whether the next change makes a generation of another policy.
    differs: bool,
    writable: &'a Policy,
}

pub(super) fn run(args: &cli::Policy, context: &Context) -> Result<Outcome, Error> {
    match &args.verb {
        None => show(args, context),
        Some(PolicyVerb::Apply(args)) => apply(args.writing, context),
    }
}

fn show(args: &cli::Policy, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let generation = store.state.start()?;
    let file = context.config()?;
    let policy = &generation.writable;
    let differs = file.as_ref().is_some_and(|file| file.config.writable != *policy);
    if args.reading.json {
        let file = file.as_ref().map(|file| FileView {
            path: file.path.display().to_string(),
            differs,
            writable: &file.config.writable,
        });
        let id = generation.id;
        context.ui.json(&View { schema: ui::SCHEMA, generation: id, writable: policy, file })?;
        return Ok(Outcome::Done);
    }
    context.ui.data(Config { writable: policy.clone(), ..Config::default() }.to_string())?;
    context.ui.say(&format!("this is the policy of generation {}", generation.id));
    if let Some(file) = file.filter(|_| differs) {
        context.ui.say(&format!(
            "{} says otherwise: the next change freezes that; to do so now: layerctl policy apply",
            file.path.display()
        ));
    }
    Ok(Outcome::Done)
}

fn apply(writing: Writing, context: &Context) -> Result<Outcome, Error> {
    if context.config()?.is_none() {
        return Err(match context.is_running_system() {
            true => Refusal::new(
                "there is no /etc/layerctl/layerctl.toml to apply",
                "start with the present policy: mkdir -p /etc/layerctl; layerctl policy >/etc/layerctl/layerctl.toml",
            ),
            false => Refusal::new(
                "with --root no file says what the policy shall be",
                "name one: layerctl --root DIR --config FILE policy apply",
            ),
        }
        .into());
    }
    context.make_generation(writing.dry_run, |store| {
        let request = context.request("policy apply");
        Ok(change::apply_policy(&store.state, &store.layout, &request)?)
    })
}
