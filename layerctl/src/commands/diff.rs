//! `layerctl diff`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use layers::generation::{Generation, Layer};
use layers::id::{GenerationId, Name};
use layers::intent::Intent;
use layers::plan::change::{Refusal, State};
use serde::Serialize;

use crate::cli::Diff;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::inspection::versions;
use crate::ui::{self, Colour, Ui};

/// What differs between two generations, in JSON.
#[derive(Serialize)]
struct Differences {
    schema: u32,
    from: GenerationId,
    to: GenerationId,
    base: Option<Change>,
    layers: Vec<Change>,
    packages: Vec<Change>,
    /// Images whose manifests are gone, so that their packages are not known.
    unknown: Vec<String>,
}

/// Something that is in one of the two alone, or in different versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Change {
    /// `added`, `removed`, `upgraded`, `downgraded`, or `rebuilt`: the same version of other bytes.
    change: &'static str,
    name: String,
    from: Option<String>,
    to: Option<String>,
}

pub(super) fn run(args: &Diff, context: &Context) -> Result<Outcome, Error> {
    let store = context.read()?;
    let (from, to) = generations(args, &store.state)?;
    let (had, mut unknown) = packages(&store.state, from);
    let (has, more) = packages(&store.state, to);
    unknown.extend(more);
    unknown.sort();
    unknown.dedup();
    let differences = Differences {
        schema: ui::SCHEMA,
        from: from.id,
        to: to.id,
        base: base(from, to),
        layers: layers(from, to),
        packages: changes(&had, &has, versions::compare),
        unknown,
    };
    if args.reading.json {
        context.ui.json(&differences)?;
    } else {
        let text = text(&differences, &context.ui);
        context.ui.data(&text)?;
        if text.is_empty() {
            context.ui.say(&format!(
                "generations {} and {} have the same base, layers and packages",
                from.id, to.id
            ));
        }
    }
    for title in &differences.unknown {
        context.ui.warn(&format!("the packages of {title} are not known: its manifest is gone"));
    }
    Ok(Outcome::Done)
}

/// The generations to compare; without numbers what a boot would change, else what the last change made.
fn generations<'a>(
    args: &Diff,
    state: &'a State,
) -> Result<(&'a Generation, &'a Generation), Refusal> {
    let to = match args.to {
        Some(id) => state.readable(id)?,
        None => state.start()?,
    };
    let from = match args.from.or(state.booted.filter(|id| *id != to.id)) {
        Some(id) => state.readable(id)?,
        None => {
            let parent = to.parent.ok_or_else(|| {
                Refusal::new(
                    format!("generation {} was made from no other", to.id),
                    "name the two to compare: layerctl diff A B",
                )
            })?;
            state.readable(parent)?
        }
    };
    Ok((from, to))
}

fn base(from: &Generation, to: &Generation) -> Option<Change> {
    let (old, new) = (&from.base, &to.base);
    if old.digest == new.digest {
        return None;
    }
    let title = |name: &dyn ToString, version: &dyn ToString| {
        format!("{} {}", name.to_string(), version.to_string())
    };
    let change = match old.version.compare(&new.version) {
        _ if old.name != new.name => "replaced",
        order => word(order),
    };
    let from = Some(title(&old.name, &old.version));
    let to = Some(title(&new.name, &new.version));
    Some(Change { change, name: new.name.to_string(), from, to })
}

fn layers(from: &Generation, to: &Generation) -> Vec<Change> {
    let mut changes = Vec::new();
    let change = |change, old: Option<&Layer>, new: Option<&Layer>| {
        let version = |layer: Option<&Layer>| layer.map(|layer| layer.version.to_string());
        let name = new.or(old).map(|layer| layer.name.to_string()).unwrap_or_default();
        Change { change, name, from: version(old), to: version(new) }
    };
    for new in &to.layers {
        match from.layer(&new.name) {
            None => changes.push(change("added", None, Some(new))),
            Some(old) if old.digest == new.digest => {}
            Some(old) => {
                changes.push(change(word(old.version.compare(&new.version)), Some(old), Some(new)));
            }
        }
    }
    let gone = from.layers.iter().filter(|old| to.layer(&old.name).is_none());
    changes.extend(gone.map(|old| change("removed", Some(old), None)));
    changes.sort_by(|one, other| one.name.cmp(&other.name));
    changes
}

fn word(order: Ordering) -> &'static str {
    match order {
        Ordering::Less => "upgraded",
        Ordering::Equal => "rebuilt",
        Ordering::Greater => "downgraded",
    }
}

/// The packages of a generation, by name, with those of another architecture than the others apart; a layer's
/// go before those below it. Then the images that nothing is known of.
fn packages(state: &State, generation: &Generation) -> (BTreeMap<String, String>, Vec<String>) {
    let mut packages = BTreeMap::new();
    let mut unknown = Vec::new();
    let base = (&generation.base.digest, format!("base {}", generation.base.name));
    let layers = generation.layers.iter();
    let layers = layers.map(|layer| (&layer.digest, format!("layer {}", layer.title())));
    let overridden: Vec<(Name, String)> = generation
        .requests
        .iter()
        .filter_map(|text| text.parse::<Intent>().ok())
        .filter_map(|intent| Some((intent.layer().ok()?, intent.overrides()?.to_owned())))
        .collect();
    for (digest, title) in [base].into_iter().chain(layers) {
        let layer = generation.layers.iter().find(|layer| layer.digest == *digest);
        let gone = overridden.iter().find(|(name, _)| layer.is_some_and(|it| it.name == *name));
        if let Some((_, gone)) = gone {
            packages.retain(|name: &String, _| name.split(':').next() != Some(gone));
        }
        let Some(manifest) = state.manifests.get(digest) else {
            unknown.push(title);
            continue;
        };
        for line in &manifest.packages {
            let mut words = line.split(' ');
            if let (Some(name), Some(version)) = (words.next(), words.next()) {
                let architecture = words.next().unwrap_or("all");
                packages.insert(format!("{name}:{architecture}"), version.to_owned());
            }
        }
    }
    (packages, unknown)
}

fn changes(
    had: &BTreeMap<String, String>,
    has: &BTreeMap<String, String>,
    compare: impl Fn(&str, &str) -> Ordering,
) -> Vec<Change> {
    let names: std::collections::BTreeSet<&String> = had.keys().chain(has.keys()).collect();
    let change = |name: &String| {
        let (old, new) = (had.get(name), has.get(name));
        let change = match (old, new) {
            (Some(old), Some(new)) if old == new => return None,
            (Some(old), Some(new)) => word(compare(old, new)),
            (Some(_), None) => "removed",
            (None, _) => "added",
        };
        let name = name.split(':').next().unwrap_or_default().to_owned();
        Some(Change { change, name, from: old.cloned(), to: new.cloned() })
    };
    names.into_iter().filter_map(change).collect()
}

fn text(differences: &Differences, ui: &Ui) -> String {
    let mut text = String::new();
    let base: Vec<Change> = differences.base.iter().cloned().collect();
    let groups =
        [("base", &base), ("layers", &differences.layers), ("packages", &differences.packages)];
    for (title, changes) in groups {
        if changes.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{title}:");
        for change in changes {
            let colour = match change.change {
                "added" | "upgraded" => Colour::Green,
                "removed" | "downgraded" => Colour::Red,
                _ => Colour::Yellow,
            };
            let word = ui.paint(colour, &format!("{:<10}", change.change));
            let versions = match (&change.from, &change.to) {
                (Some(from), Some(to)) if title == "base" => format!("{from} -> {to}"),
                (Some(from), Some(to)) => format!("{} {from} -> {to}", change.name),
                (from, to) => {
                    let version = to.as_ref().or(from.as_ref());
                    format!("{} {}", change.name, version.map_or("", |version| version))
                }
            };
            let _ = writeln!(text, "  {word}  {versions}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_added_removed_upgraded_and_downgraded() {
        let map = |text: &str| -> BTreeMap<String, String> {
            let pair = |word: &str| {
                let (name, version) = word.split_once('=').unwrap();
                (name.to_owned(), version.to_owned())
            };
            text.split(' ').map(pair).collect()
        };
        let had = map(
            "bash:amd64=5.2-1 curl:amd64=8 gone:all=1 same:all=1 libc6:amd64=2.41 libc6:i386=2.41",
        );
        let has = map(
            "bash:amd64=5.2-1+b1 curl:amd64=7.88 new:all=2 same:all=1 libc6:amd64=2.42 libc6:i386=2.41",
        );
        let found = changes(&had, &has, versions::compare);
        let lines: Vec<String> =
            found.iter().map(|change| format!("{} {}", change.change, change.name)).collect();
        assert_eq!(
            lines,
            ["upgraded bash", "downgraded curl", "removed gone", "upgraded libc6", "added new"]
        );
    }
}
