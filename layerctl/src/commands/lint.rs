//! `layerctl lint`.

#![expect(clippy::disallowed_methods, reason = "tells files from names")]

use std::fmt::Write as _;
use std::path::Path;

use layers::id::Name;
use layers::manifest::{Kind, Manifest};
use layers::overlap::Subject;
use layers::plan::change::{self, Refusal};
use layers::scrutiny::{InstallPolicy, Reaction};
use layers::store::StoreError;
use serde::Serialize;

use super::stack::stack_of;
use crate::admission::{self, Examined, Naming};
use crate::cli::Lint;
use crate::context::{Context, Outcome, Store};
use crate::error::Error;
use crate::inspection::{self, Inspected, Member, grants};
use crate::triggers::Table;
use crate::ui::{self, Colour, Ui};

/// What a finding is called that is about the manifest and its image.
const MANIFEST: &str = "manifest";

/// What a finding is called that no grant makes right.
const FLAWS: &str = "flaws";

/// What a finding is called that a signed grant would make right.
const GRANTS: &str = "grants";

/// The most paths that one line lists; JSON has all.
const LISTED: usize = 10;

/// What was found, in JSON.
#[derive(Serialize)]
struct Findings {
    schema: u32,
    image: String,
    /// `name version`.
    title: String,
    /// Whether nothing stands in the way of an installation.
    good: bool,
    findings: Vec<FindingView>,
}

#[derive(Serialize)]
struct FindingView {
    /// `refuse`, `warn` or `allow`.
    reaction: Reaction,
    /// What it is about: the key of the table `install` in layerctl.toml, or a word of its own for what no policy decides on.
    check: &'static str,
    what: String,
    /// All paths that it is about.
    paths: Vec<String>,
    hint: Option<String>,
}

/// What somebody has to stand for, in JSON.
#[derive(Serialize)]
struct GrantsView {
    schema: u32,
    /// `name version`.
    title: String,
    /// The lines of `grants` in the manifest.
    grants: Vec<String>,
}

impl FindingView {
    fn refused(check: &'static str, refusal: Refusal) -> Self {
        let Refusal { what, hint } = refusal;
        Self { reaction: Reaction::Refuse, check, what, paths: Vec::new(), hint: Some(hint) }
    }
}

pub(super) fn run(args: &Lint, context: &Context) -> Result<Outcome, Error> {
    let store = match context.read() {
        Ok(store) => Some(store),
        Err(Error::Store(StoreError::Missing(_))) if context.is_running_system() => None,
        Err(error) => return Err(error),
    };
    let policy = context.config()?.map(|file| file.config.install).unwrap_or_default();
    let installed = installed(args, store.as_ref());
    let examined = match installed {
        Some((path, manifest)) => Examined { path, manifest, refusals: Vec::new() },
        None => {
            let naming = Naming::from(&args.naming);
            admission::examine(context, Path::new(&args.image), &naming)?
        }
    };
    let Examined { path, manifest, refusals } = examined;
    let mut findings: Vec<FindingView> =
        refusals.into_iter().map(|refusal| FindingView::refused(MANIFEST, refusal)).collect();
    if manifest.kind == Kind::Layer {
        let inspected = inspect(context, store.as_ref(), &path, &manifest)?;
        if args.grants {
            return print_grants(args, context, &manifest, &inspected);
        }
        findings.extend(misfits(store.as_ref(), &manifest, &policy));
        findings.extend(overlaps(&inspected, &policy));
        let required = match &store {
            Some(store) => grants::required(context, &store.layout)?,
            None => false,
        };
        findings.extend(ungranted(&inspected, &manifest, required));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.reaction));
    let good = findings.iter().all(|finding| finding.reaction != Reaction::Refuse);
    let (image, title) = (args.image.clone(), manifest.title());
    let findings = Findings { schema: ui::SCHEMA, image, title, good, findings };
    if args.reading.json {
        context.ui.json(&findings)?;
    } else {
        context.ui.data(text(&findings, &context.ui))?;
        if findings.findings.is_empty() {
            context.ui.say(&format!("{}: nothing found", findings.title));
        }
    }
    Ok(if good { Outcome::Done } else { Outcome::Unsound })
}

/// The image of an installed layer, where no file is meant.
fn installed(args: &Lint, store: Option<&Store>) -> Option<(std::path::PathBuf, Manifest)> {
    let name: Name = args.image.parse().ok()?;
    let path = Path::new(&args.image);
    let store = store.filter(|_| !super::install::is_file(&args.image) || path.is_dir())?;
    let layer = store.state.start().ok()?.layer(&name)?;
    let manifest = store.state.manifests.get(&layer.digest)?;
    Some((store.layout.image(&layer.digest), manifest.clone()))
}

/// What keeps the layer from going with the base and the layers that boot next.
fn misfits(store: Option<&Store>, layer: &Manifest, policy: &InstallPolicy) -> Vec<FindingView> {
    let Some(store) = store else { return Vec::new() };
    let view = |(check, refusal): (Option<layers::scrutiny::Check>, Refusal)| {
        let mut view = FindingView::refused(check.map_or("requirements", |it| it.name()), refusal);
        view.reaction = check.map_or(Reaction::Refuse, |check| policy.reaction(check));
        view
    };
    change::misfits(&store.state, layer).into_iter().map(view).collect()
}

/// Looks at a layer over the base and the layers that boot next; it is the last of the stack.
fn inspect(
    context: &Context,
    store: Option<&Store>,
    path: &Path,
    layer: &Manifest,
) -> Result<Inspected, Error> {
    let below = store.map(|store| stack_of(store, store.state.start().ok())).unwrap_or_default();
    let mut members: Vec<Member> = below
        .iter()
        .filter(|image| image.manifest.kind != Kind::Trigger)
        .filter(|image| image.manifest.name != layer.name || image.manifest.kind == Kind::Base)
        .map(|image| Member {
            path: &image.path,
            format: image.manifest.format,
            manifest: image.manifest,
        })
        .collect();
    members.push(Member { path, format: layer.format, manifest: layer });
    let own = members.len() - 1;
    inspection::inspect(context, &Table::built_in()?, &members, &|place| place == own)
}

/// What its files are, and what they do to those below.
fn overlaps(inspected: &Inspected, policy: &InstallPolicy) -> Vec<FindingView> {
    let own = inspected.stack.len().saturating_sub(1);
    let findings = inspected.findings.iter().filter(|finding| finding.image == own);
    let view = |finding: &layers::overlap::Finding| {
        let reaction = finding.subject.reaction(policy);
        FindingView {
            reaction,
            check: finding.subject.name(),
            what: inspection::told(&inspected.stack, finding, Some(0)),
            paths: finding.paths.clone(),
            hint: (reaction == Reaction::Refuse).then(|| hint(finding.subject)),
        }
    };
    findings.map(view).collect()
}

/// What no layer may have and, where signatures are `required`, what its manifest does not grant.
fn ungranted(inspected: &Inspected, manifest: &Manifest, required: bool) -> Vec<FindingView> {
    let mut views = Vec::new();
    for judgement in inspected.judgements.values() {
        let flaws = grants::flaws(&manifest.title(), &judgement.flaws);
        views.extend(flaws.map(|refusal| FindingView::refused(FLAWS, refusal)));
        let missing = required.then(|| grants::missing(manifest, judgement)).flatten();
        views.extend(missing.map(|refusal| FindingView::refused(GRANTS, refusal)));
    }
    views
}

/// The lines of a manifest's `grants`.
fn print_grants(
    args: &Lint,
    context: &Context,
    manifest: &Manifest,
    inspected: &Inspected,
) -> Result<Outcome, Error> {
    let title = manifest.title();
    for judgement in inspected.judgements.values() {
        if let Some(refusal) = grants::flaws(&title, &judgement.flaws) {
            return Err(refusal.into());
        }
        let grants: Vec<String> = judgement.needs.iter().map(ToString::to_string).collect();
        if args.reading.json {
            context.ui.json(&GrantsView { schema: ui::SCHEMA, title: title.clone(), grants })?;
        } else {
            let quoted = |line: &String| format!("    {},\n", toml::Value::from(line.as_str()));
            let lines: String = grants.iter().map(quoted).collect();
            context.ui.data(match lines.as_str() {
                "" => "grants = []\n".to_owned(),
                lines => format!("grants = [\n{lines}]\n"),
            })?;
        }
    }
    Ok(Outcome::Done)
}

fn hint(subject: Subject) -> String {
    inspection::hint(subject)
}

fn text(findings: &Findings, ui: &Ui) -> String {
    let mut text = String::new();
    for finding in &findings.findings {
        let (word, colour) = match finding.reaction {
            Reaction::Refuse => ("refuse", Colour::Red),
            Reaction::Warn => ("warn", Colour::Yellow),
            Reaction::Allow => ("note", Colour::Cyan),
        };
        let word = ui.paint(colour, &format!("{word:<6}"));
        let _ = writeln!(text, "{word}  {:<12}  {}", finding.check, finding.what);
        for path in finding.paths.iter().take(LISTED) {
            let _ = writeln!(text, "                      {path}");
        }
        if let Some(more) = finding.paths.len().checked_sub(LISTED).filter(|more| *more > 0) {
            let _ = writeln!(text, "                      and {more} more: --json lists them");
        }
        if let Some(hint) = &finding.hint {
            let _ = writeln!(text, "                      hint: {hint}");
        }
    }
    text
}
