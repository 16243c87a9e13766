//! A composition: the triggers of the table run over base and layers, and what they changed becomes an image.

#![expect(clippy::disallowed_methods, reason = "makes directories and an image")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use layers::manifest::Kind;
use layers::plan::change::{ImageFile, Made, Refusal};
use layers::superblock::Format;

use super::select::{self, Run};
use super::stack::Stack;
use super::table::{Merge, Table, Trigger};
use super::union::Union;
use super::upper::Upper;
use super::{drop_ins, merges};
use crate::admission::native_architecture;
use crate::context::Context;
use crate::error::Error;
use crate::packing::{self, Recipe};
use crate::program;
use crate::sandbox::{Lower, Sandbox};
use crate::source::SourceTree;

/// What a trigger layer is called in its manifest.
const NAME: &str = "trigger";

/// Runs the triggers of a stack and packs what they made into a new file in `work`, which must be on no overlay. There
/// is nothing to make where no trigger had to run, or where nothing changed; a machine that cannot run the programs of the
/// base skips it, and tells.
///
/// The same images and table make the same bytes.
pub(crate) fn compose(
    context: &Context,
    table: &Table,
    stack: &Stack,
    work: &Path,
) -> Result<Made, Error> {
    let (image, machine) = (&stack.base.manifest.architecture, native_architecture());
    if !select::runs_here(image, &machine) {
        context.ui.warn(&format!(
            "no package triggers were run: {} is for {image}, this machine is {machine}",
            stack.base.manifest.title()
        ));
        return Ok(Made::Skipped);
    }
    let union = Union::open(stack)?;
    let full = drop_ins::of_images(table, &union)?;
    let paths: BTreeSet<PathBuf> =
        union.layers().iter().flat_map(|layer| layer.survey.paths.iter().cloned()).collect();
    let runs = select::due(&full, &paths);
    if runs.is_empty() {
        return Ok(Made::Nothing);
    }
    let place = tempfile::Builder::new()
        .prefix("compose-")
        .tempdir_in(work)
        .map_err(|error| Error::io("create a directory in", work, error))?;
    let composition = Composition::new(context, stack, &union, place.path())?;
    let spinner = context.ui.spinner("running package triggers");
    let links = runs.iter().try_fold(BTreeSet::new(), |mut links, run| {
        links.extend(composition.run(run)?);
        Ok::<_, Error>(links)
    })?;
    let remains = composition.upper().cut(&full, &links, composition.epoch)?;
    spinner.finish_and_clear();
    if !remains {
        return Ok(Made::Nothing);
    }
    let version = stack.inputs(table).short();
    let image = work.join(format!("{NAME}-{version}.img"));
    let scratch = place.path().join("packing");
    fs::create_dir(&scratch).map_err(|error| Error::io("create", &scratch, error))?;
    let tree = SourceTree::open(&composition.sandbox.upper, &scratch)?;
    let recipe = Recipe {
        name: NAME.parse()?,
        version: version.parse()?,
        kind: Kind::Trigger,
        architecture: stack.base.manifest.architecture.clone(),
        format: Format::Erofs,
        requires: Vec::new(),
        conflicts: Vec::new(),
        required: false,
        deletes: tree.contents.deletes.clone(),
    };
    let manifest = packing::pack(context, &tree, recipe, &image)?;
    Ok(Made::Image(Box::new(ImageFile { path: image, manifest, signed: None, kernel: None })))
}

/// One composition, while it runs.
pub(super) struct Composition<'a> {
    /// For what is told.
    pub(super) context: &'a Context,
    /// The images.
    pub(super) union: &'a Union<'a>,
    /// Where programs run.
    pub(super) sandbox: Sandbox,
    /// The time of all that is made, in seconds since 1970.
    pub(super) epoch: u64,
}

impl<'a> Composition<'a> {
    fn new(
        context: &'a Context,
        stack: &Stack,
        union: &'a Union<'a>,
        place: &Path,
    ) -> Result<Self, Error> {
        // Not the time of a build that the environment names: what is known by its inputs depends on them alone.
        let epoch = union.newest();
        let (upper, work) = (place.join("upper"), place.join("sandbox"));
        fs::create_dir(&work).map_err(|error| Error::io("create", &work, error))?;
        Upper::new(&upper, union)?;
        let lower = |image: &super::StackImage| Lower::Image {
            path: image.path.clone(),
            format: image.format,
        };
        let lowers = stack.images().rev().map(lower).collect();
        let binds = Vec::new();
        let sandbox = Sandbox { lowers, upper, work, binds, network: false, epoch: Some(epoch) };
        Ok(Self { context, union, sandbox, epoch })
    }

    /// What is written.
    pub(super) fn upper(&self) -> Upper<'_> {
        Upper::opened(&self.sandbox.upper, self.union)
    }

    /// Runs a trigger; gives links that it made wherever they had to be.
    fn run(&self, run: &Run<'_>) -> Result<BTreeSet<PathBuf>, Error> {
        let trigger = run.trigger;
        let done = match trigger.merge {
            Some(Merge::Dpkg) => merges::dpkg(self),
            Some(Merge::Alternatives) => return self.settle(trigger, merges::alternatives(self)),
            Some(Merge::Accounts) => merges::accounts(self),
            Some(Merge::Rpm) => merges::rpm(self),
            None => self.run_program(run),
        };
        self.settle(trigger, done.map(|()| BTreeSet::new()))
    }

    /// An optional trigger's failure is only told.
    fn settle(
        &self,
        trigger: &Trigger,
        done: Result<BTreeSet<PathBuf>, Error>,
    ) -> Result<BTreeSet<PathBuf>, Error> {
        match done {
            Err(Error::Refused(refusal)) if trigger.optional => {
                self.context.ui.warn(&refusal.what);
                Ok(BTreeSet::new())
            }
            done => done,
        }
    }

    fn run_program(&self, run: &Run<'_>) -> Result<(), Error> {
        let trigger = run.trigger;
        let Some(program) = self.program(trigger.programs())? else {
            log::debug!("the trigger {} has no program in these images", trigger.name);
            return Ok(());
        };
        let envs: Vec<(&str, &str)> =
            trigger.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        for args in run.arguments() {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let output = self.sandbox.run(&program, &args, &envs)?;
            judge(trigger.name.as_str(), &program, &output)?;
        }
        Ok(())
    }

    /// The first of some programs that the union has.
    pub(super) fn program(&self, programs: &[String]) -> Result<Option<String>, Error> {
        for program in programs {
            if let Some(path) = self.union.program(program)? {
                return Ok(Some(path.to_string_lossy().into_owned()));
            }
        }
        Ok(None)
    }
}

/// Refuses the change where a trigger's program failed.
pub(super) fn judge(trigger: &str, program: &str, output: &Output) -> Result<(), Error> {
    let words = [&output.stderr, &output.stdout].map(|bytes| program::last_words(bytes));
    let words = words.into_iter().find(|words| !words.is_empty());
    if output.status.success() {
        words.iter().for_each(|words| log::debug!("{program}: {words}"));
        return Ok(());
    }
    let words = words.unwrap_or_else(|| output.status.to_string());
    let what = format!("the trigger {trigger} failed: {program}: {words}");
    let hint = format!(
        "leave out the layer that needs it; or make its failure a warning: optional = true for {trigger} in a file in {}",
        drop_ins::OF_THE_MACHINE
    );
    Err(Refusal::new(what, hint).into())
}
