//! What may be wrong with the layers of a stack: images are opened, their entries listed, contested files compared, and
//! [`layers::overlap`] judges.

#![expect(clippy::disallowed_methods, reason = "reads the lists of packages in images")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use layers::generation::Generation;
use layers::grants::Judgement;
use layers::id::Name;
use layers::manifest::{Kind, Manifest};
use layers::overlap::{self, Finding, Image, Node, Subject};
use layers::plan::change::{Refusal, State};
use layers::scrutiny::{Check, InstallPolicy, Reaction, WARNING};
use layers::store::inspect::OpenImage;
use layers::superblock::Format;

use crate::admission;
use crate::context::Context;
use crate::error::Error;
use crate::triggers::{Stack, StackImage, Table};

pub(crate) mod entries;
pub(crate) mod grants;
mod survey;
#[cfg(test)]
mod tests;
pub(crate) mod versions;
mod words;

pub(crate) use words::{hint, told};

/// The most paths that a message lists.
const LISTED: usize = 3;

/// Where dpkg lists the files of each package.
const LISTS: &str = "var/lib/dpkg/info/";

/// The links of a merged /usr (file-hierarchy(7)), through which old packages name their files.
const MERGED: [&str; 4] = ["bin/", "lib/", "lib64/", "sbin/"];

/// An image to be looked at.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    /// Where it is.
    pub(crate) path: &'a Path,
    /// Its file system.
    pub(crate) format: Format,
    /// Its description.
    pub(crate) manifest: &'a Manifest,
}

impl<'a> Member<'a> {
    fn of(image: &'a StackImage) -> Self {
        Self { path: &image.path, format: image.format, manifest: &image.manifest }
    }
}

/// A stack and what was found in it.
#[derive(Default)]
pub(crate) struct Inspected {
    /// The images, bottom first.
    pub(crate) stack: Vec<Image>,
    /// What was found.
    pub(crate) findings: Vec<Finding>,
    /// What somebody has to stand for, of the layers that were looked at for it, by their places in the stack.
    pub(crate) judgements: BTreeMap<usize, Judgement>,
}

/// Checks the layers of a stack before it becomes a generation's: gives what people are to be told, or refuses. What
/// the generation that a change starts from has already is not judged again. Where signatures are `required`, a layer needs a
/// grant for what it has.
pub(crate) fn check_stack(
    context: &Context,
    state: &State,
    table: &Table,
    stack: &Stack,
    required: bool,
) -> Result<Vec<String>, Error> {
    let known = Known::new(state, stack);
    if (0..=stack.layers.len()).all(|place| (0..place).all(|other| known.are(place, other))) {
        return Ok(Vec::new());
    }
    let members: Vec<Member> = stack.images().map(Member::of).collect();
    let new = |place| !known.are(place, place);
    let mut inspected = inspect(context, table, &members, &new)?;
    for (place, judgement) in &inspected.judgements {
        if let Some(member) = members.get(*place) {
            grants::check(member.manifest, judgement, required)?;
        }
    }
    inspected
        .findings
        .retain(|finding| !known.are(finding.image, finding.other.unwrap_or(finding.image)));
    Ok(judge(&inspected, &state.install)?)
}

/// Which images of a stack lie over each other in the generation that a change starts from.
struct Known<'a> {
    start: Option<&'a Generation>,
    stack: Vec<&'a StackImage>,
}

impl<'a> Known<'a> {
    fn new(state: &'a State, stack: &'a Stack) -> Self {
        Self { start: state.start().ok(), stack: stack.images().collect() }
    }

    /// Whether the images at these places of the stack, which may be the same, are such.
    fn are(&self, one: usize, other: usize) -> bool {
        let (Some(start), Some(one), Some(other)) =
            (self.start, self.stack.get(one), self.stack.get(other))
        else {
            return false;
        };
        let is_there = |image: &StackImage| start.digests().any(|digest| digest == image.digest);
        let is_base = |image: &StackImage| image.manifest.kind == Kind::Base;
        let share = |members: &Vec<Name>| {
            [one, other].into_iter().all(|image| is_base(image) || members.contains(&image.name))
        };
        is_there(one) && is_there(other) && start.sets.values().any(share)
    }
}

/// Tells the findings that the policy warns of, and refuses where it says so.
fn judge(inspected: &Inspected, policy: &InstallPolicy) -> Result<Vec<String>, Refusal> {
    let mut lines = Vec::new();
    let mut refused: Vec<(Subject, String)> = Vec::new();
    for finding in &inspected.findings {
        let text = told(&inspected.stack, finding, Some(LISTED));
        match finding.subject.reaction(policy) {
            Reaction::Refuse => refused.push((finding.subject, text)),
            Reaction::Warn => lines.push(format!("{WARNING}{text}")),
            Reaction::Allow if finding.subject == Subject::Check(Check::Shadowing) => {
                lines.push(told(&inspected.stack, finding, Some(0)));
            }
            Reaction::Allow => {}
        }
    }
    let Some((subject, _)) = refused.first() else { return Ok(lines) };
    let hint = hint(*subject);
    let texts: Vec<String> = refused.into_iter().map(|(_, text)| text).collect();
    Err(Refusal::new(texts.join("; "), hint))
}

/// Looks at images over each other, bottom first. What the table of triggers makes anew over the union is left out. Those of the
/// layers whose place is `new` are looked at for what needs a grant, with all that they have.
pub(crate) fn inspect(
    context: &Context,
    table: &Table,
    members: &[Member],
    new: &dyn Fn(usize) -> bool,
) -> Result<Inspected, Error> {
    let spinner = context.ui.spinner("looking at what layers share");
    let opened: Vec<OpenImage> = members
        .iter()
        .map(|member| admission::open(member.path, member.format))
        .collect::<Result<_, _>>()?;
    let roots: Vec<(&Path, &Manifest)> =
        opened.iter().zip(members).map(|(image, it)| (image.root(), it.manifest)).collect();
    let judgements = judgements(&roots, new)?;
    let endless = judgements.values().any(|judgement| judgement.endless);
    let inspected = match endless {
        true => Inspected { judgements, ..Inspected::default() },
        false => Inspected { judgements, ..inspect_roots(table, &roots)? },
    };
    spinner.finish_and_clear();
    Ok(inspected)
}

/// What needs a grant in the layers whose place is `new`.
fn judgements(
    roots: &[(&Path, &Manifest)],
    new: &dyn Fn(usize) -> bool,
) -> Result<BTreeMap<usize, Judgement>, Error> {
    let mut judgements = BTreeMap::new();
    for (place, (root, manifest)) in roots.iter().enumerate() {
        if manifest.kind != Kind::Layer || !new(place) {
            continue;
        }
        let below: Vec<&Path> = roots.iter().take(place).map(|(root, _)| *root).collect();
        let entries = survey::entries(root)?;
        let ground = survey::ground(&below, &entries)?;
        judgements.insert(place, layers::grants::judge(manifest.name.as_str(), &entries, &ground));
    }
    Ok(judgements)
}

/// As [`inspect`], for directories.
fn inspect_roots(table: &Table, roots: &[(&Path, &Manifest)]) -> Result<Inspected, Error> {
    let mut stack: Vec<Image> = Vec::new();
    for (root, manifest) in roots {
        let mut image = image(manifest);
        if !image.base {
            image.entries = entries::all(root)?;
            image.entries.retain(|path, entry| {
                matches!(entry.node, Node::Directory { .. }) || !table.is_written(Path::new(path))
            });
        }
        stack.push(image);
    }
    let paths: BTreeSet<String> =
        stack.iter().flat_map(|image| image.entries.keys().cloned()).collect();
    for (image, (root, _)) in stack.iter_mut().zip(roots).filter(|(image, _)| image.base) {
        image.entries = entries::some(root, paths.iter())?;
    }
    let base = roots.iter().find(|(_, manifest)| manifest.kind == Kind::Base);
    for image in stack.iter_mut().filter(|image| !image.base) {
        if let Some((root, _)) = base {
            image.replaces = replaced(root, image)?;
        }
    }
    let mut different = BTreeSet::new();
    for pair in overlap::contested(&stack) {
        let at = |place: usize| roots.get(place).map(|(root, _)| root.join(&pair.path));
        if let (Some(upper), Some(lower)) = (at(pair.upper), at(pair.lower))
            && !entries::same(&upper, &lower)?
        {
            different.insert(pair);
        }
    }
    let findings = overlap::examine(&stack, &different);
    Ok(Inspected { stack, findings, judgements: BTreeMap::new() })
}

fn image(manifest: &Manifest) -> Image {
    Image {
        title: format!("{} {}", manifest.kind, manifest.title()),
        name: manifest.name.to_string(),
        base: manifest.kind == Kind::Base,
        entries: BTreeMap::new(),
        deletes: manifest.deletes.iter().cloned().collect(),
        over: manifest.requires.iter().map(|need| need.name.to_string()).collect(),
        replaces: BTreeSet::new(),
    }
}

/// The paths of the base's packages that a layer brings too: dpkg has one list of files for each.
fn replaced(base: &Path, image: &Image) -> Result<BTreeSet<String>, Error> {
    let mut paths = BTreeSet::new();
    let is_list = |path: &&String| path.starts_with(LISTS) && path.ends_with(".list");
    for list in image.entries.keys().filter(is_list) {
        let at = base.join(list);
        let text = match fs::symlink_metadata(&at).and_then(|_| fs::read(&at)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("read", &at, error)),
        };
        for path in text.lines().map(|line| line.trim_start_matches('/')) {
            if MERGED.iter().any(|link| path.starts_with(link)) {
                paths.insert(format!("usr/{path}"));
            }
            paths.insert(path.to_owned());
        }
        let own = list.strip_suffix("list").unwrap_or(list);
        let of_package = |path: &&String| path.starts_with(own);
        paths.extend(image.entries.keys().filter(of_package).cloned());
    }
    Ok(paths)
}
