//! Which store a command works on, and the way of every change: lock, read, decide, check, execute.

#![expect(clippy::disallowed_methods, reason = "finds the store and the boot report")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use layers::boot_partition::BootPartition;
use layers::config::Config;
use layers::exec::{self, Failure};
use layers::host::LinuxHost;
use layers::layout::{BootPaths, Layout};
use layers::plan::change::{Decision, Refusal, Request, State};
use layers::plan::{Op, Plan, check};
use layers::policy::{Dir, Mode};
use layers::report::{BootReport, WritableMount};
use layers::scrutiny::WARNING;
use layers::store::partition::Look;
use layers::store::{self, lock::Lock, reserve, stage};
use layers::trust::Verify;

use crate::cli::Place;
use crate::composing;
use crate::config::ConfigFile;
use crate::environment::Environment;
use crate::error::Error;
use crate::partition;
use crate::reached::Reached;
use crate::repo::fetch;
use crate::triggers::Table;
use crate::trust::{self, Guard, TrustFile};
use crate::ui::Ui;
use crate::work::WorkDirectory;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it was asked for.
    Done,
    /// All was as asked for before.
    Unchanged,
    /// It looked whether there is something to do, and there is nothing.
    UpToDate,
    /// It looked, and what it found is not in order.
    Unsound,
}

/// All that a command needs besides its arguments.
pub(crate) struct Context {
    /// The terminal.
    pub(crate) ui: Ui,
    /// The surroundings.
    pub(crate) environment: Environment,
    place: Place,
    kept: Mutex<Vec<WorkDirectory>>,
}

/// A store that was read.
pub(crate) struct Store {
    /// Its paths.
    pub(crate) layout: Layout,
    /// What is in it.
    pub(crate) state: State,
    /// How this machine booted, where it booted from this store.
    pub(crate) report: Option<BootReport>,
}

impl Context {
    /// A context; without a `root` the store is the running system's, without a `config` its configuration is too.
    pub(crate) fn new(ui: Ui, environment: Environment, place: Place) -> Self {
        Self { ui, environment, place, kept: Mutex::default() }
    }

    /// Keeps a directory until the command has ended: what is in it is copied from there. Gives its path.
    pub(crate) fn keep(&self, work: WorkDirectory) -> PathBuf {
        let path = work.path().to_owned();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(work);
        path
    }

    /// The boot partition that was named, if one was.
    pub(crate) fn boot(&self) -> Option<&Path> {
        self.place.boot.as_deref()
    }

    /// What the administrator wants of the next generations. The machine's own file says nothing about a store that is
    /// not the machine's.
    pub(crate) fn config(&self) -> Result<Option<ConfigFile>, Error> {
        match &self.place.config {
            Some(path) => ConfigFile::named(path).map(Some),
            None if self.is_running_system() => ConfigFile::of_this_machine(),
            None => Ok(None),
        }
    }

    /// Which signatures count. The machine's own file says nothing about a store that is not the machine's.
    pub(crate) fn trust_file(&self) -> Result<Option<TrustFile>, Error> {
        match &self.place.trust {
            Some(path) => TrustFile::named(path).map(Some),
            None if self.is_running_system() => TrustFile::optional(Path::new(trust::PATH)),
            None => Ok(None),
        }
    }

    /// What goes into an initrd of what is trusted; what may keep it from booting anything is told.
    pub(crate) fn trust_for_initrd(&self) -> Result<Option<String>, Error> {
        let Some(file) = self.trust_file()? else { return Ok(None) };
        file.doubts(self.environment.now).iter().for_each(|doubt| self.ui.warn(doubt));
        Ok(Some(file.text))
    }

    /// What this boot asked of signatures, where it booted from this store.
    pub(crate) fn booted_verify(&self) -> Result<Option<Verify>, Error> {
        Ok(self.report()?.map(|report| report.verify))
    }

    /// Whether the store is the one that this machine booted from.
    pub(crate) fn is_running_system(&self) -> bool {
        self.place.root.is_none()
    }

    /// The mount point of the state file system.
    pub(crate) fn mount_point(&self) -> PathBuf {
        self.place.root.clone().unwrap_or_else(|| BootPaths::default().state())
    }

    /// Reads the store, without its lock: what is published never changes under a reader.
    pub(crate) fn read(&self) -> Result<Store, Error> {
        let layout = store::open(&self.mount_point())?;
        let report = self.report().unwrap_or_else(|error| {
            self.ui.warn(&error.to_string());
            None
        });
        Self::read_opened(layout, report)
    }

    fn read_opened(layout: Layout, report: Option<BootReport>) -> Result<Store, Error> {
        let booted = report.as_ref().map(|report| report.generation);
        let mut state = store::read_state(&layout, booted)?;
        let proven = report.as_ref().filter(|report| report.verify != Verify::Off);
        state.proven = proven.map(|report| report.layers.clone());
        Ok(Store { layout, state, report })
    }

    /// The boot report, where the store is the running system's and this initrd booted it.
    fn report(&self) -> Result<Option<BootReport>, Error> {
        if !self.is_running_system() {
            return Ok(None);
        }
        let path = Path::new(BootPaths::REPORT);
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path, error)),
        };
        let report = serde_json::from_str(&text);
        report.map(Some).map_err(|error| {
            let what = format!("the boot report {} cannot be read: {error}", path.display());
            Refusal::new(what, "use the layerctl that came with this initrd, or reboot").into()
        })
    }

    /// Reads the store for a change of the current /etc: with its lock, unless with `dry_run`, or where this boot keeps
    /// nothing that is written to /etc.
    pub(crate) fn read_for_edit(&self, dry_run: bool) -> Result<(Option<Lock>, Store), Error> {
        let layout = store::open(&self.mount_point())?;
        let report = self.report()?;
        let lock = match self.etc_persists(report.as_ref()) && !dry_run {
            true => Some(Lock::acquire(&layout)?),
            false => None,
        };
        Ok((lock, Self::read_opened(layout, report)?))
    }

    /// Whether what is written to the current /etc is there at the next boot.
    pub(crate) fn etc_persists(&self, report: Option<&BootReport>) -> bool {
        let writable = report.iter().flat_map(|report| &report.writable);
        let transient =
            |mount: &WritableMount| mount.dir == Dir::Etc && mount.mode != Mode::Persistent;
        !(self.is_running_system() && writable.into_iter().any(transient))
    }

    /// The words of a change, for the log.
    pub(crate) fn request(&self, asked: impl Into<String>) -> Request {
        Request { time: self.environment.time.clone(), asked: asked.into(), once: false }
    }

    /// The words of a change that boots its generation a single time if `once`.
    pub(crate) fn request_once(&self, asked: impl Into<String>, once: bool) -> Request {
        let asked = asked.into() + if once { " --try-once" } else { "" };
        Request { once, ..self.request(asked) }
    }

    /// Makes a change that may make a generation, which gets the policy that the administrator wants: as
    /// [`Context::change`].
    pub(crate) fn make_generation(
        &self,
        dry_run: bool,
        decide: impl FnOnce(&mut Store) -> Result<Decision, Error>,
    ) -> Result<Outcome, Error> {
        let config = self.config()?.map(|file| file.config);
        let partition = config.as_ref().and_then(|config| config.boot.partition.clone());
        let partition =
            |context: &Self| partition::find(context, partition.as_deref(), Look::Quick);
        self.change_with(dry_run, config, partition, decide)
    }

    /// Makes a change, or with `dry_run` prints what it would do and writes nothing, not even the lock.
    pub(crate) fn change(
        &self,
        dry_run: bool,
        decide: impl FnOnce(&mut Store) -> Result<Decision, Error>,
    ) -> Result<Outcome, Error> {
        self.change_with(dry_run, None, |context| context.partition(Look::Quick), decide)
    }

    /// Makes a change that mends the boot partition, with a look at every byte that is ours there.
    pub(crate) fn mend(
        &self,
        dry_run: bool,
        decide: impl FnOnce(&mut Store) -> Result<Decision, Error>,
    ) -> Result<Outcome, Error> {
        self.change_with(dry_run, None, |context| context.partition(Look::Thorough), decide)
    }

    /// Reads the boot partition that goes with the store. A configuration that cannot be read keeps nobody from going back
    /// to what ran before.
    pub(crate) fn partition(&self, look: Look) -> Result<Option<BootPartition>, Error> {
        let config = self.config().unwrap_or_else(|error| {
            self.ui.warn(&error.to_string());
            None
        });
        let configured = config.and_then(|file| file.config.boot.partition);
        partition::find(self, configured.as_deref(), look)
    }

    fn change_with(
        &self,
        dry_run: bool,
        config: Option<Config>,
        partition: impl FnOnce(&Self) -> Result<Option<BootPartition>, Error>,
        decide: impl FnOnce(&mut Store) -> Result<Decision, Error>,
    ) -> Result<Outcome, Error> {
        let layout = store::open(&self.mount_point())?;
        let lock = if dry_run { None } else { Some(Lock::acquire(&layout)?) };
        if let Some(lock) = &lock
            && lock.shut_out_others(&layout)?
        {
            let top = layout.top().display();
            self.ui.warn(&format!("others than root could enter {top}: it has mode 0700 again"));
        }
        // Without the report nobody knows which generation runs, and cleanup would not keep it.
        let mut store = Self::read_opened(layout, self.report()?)?;
        store.state.boot = partition(self)?;
        store.state.attempts = config.as_ref().and_then(|config| config.boot.attempts);
        let install = config.as_ref().map(|config| config.install.clone()).unwrap_or_default();
        store.state.install = install.allowing(&self.place.allow);
        let signs = config.as_ref().is_some_and(|config| config.sign.key.is_some());
        let indexed = config.as_ref().and_then(|config| config.boot.index).unwrap_or(true);
        store.state.policy = config.map(|config| config.writable);
        let table = Table::of(self)?;
        store.state.triggers = Some(table.digest());
        let images = if dry_run { usize::MAX } else { store.state.images.len() };
        let decided = decide(&mut store);
        let told = |error| fetch::told(error, images, &store.state);
        let mut decision = decided.map_err(told)?;
        let guard = match decision.generation {
            Some(_) => Some(Guard::of(self, &store.layout)?),
            None => None,
        };
        if let Some(guard) = &guard {
            trust::check_decision(guard, &decision, &store.state, &store.layout)
                .map_err(|refusal| told(refusal.into()))?;
        }
        // Where all that is mounted has to be signed, an index that nobody signs is of no use.
        let required = guard.as_ref().is_some_and(|guard| guard.verify() == Verify::Require);
        let indexed = indexed && (signs || !required);
        composing::check(self, &table, &store, &mut decision, dry_run).map_err(told)?;
        // What triggers made lives until the plan has been carried out: it is copied from there.
        let (decision, _made) = match dry_run {
            true => (decision, None),
            false => composing::complete(self, &table, &store, decision, indexed).map_err(told)?,
        };
        match &guard {
            Some(guard) => {
                trust::check_triggers(self, guard, &decision, &store.state, &store.layout);
            }
            None => self.foresee(&decision, &store),
        }
        check::check_change(&decision.plan, &store.layout)?;
        if decision.is_unchanged() {
            decision.summary.iter().for_each(|line| self.ui.say(line));
            return Ok(Outcome::Unchanged);
        }
        if dry_run {
            self.ui.data(decision.plan.to_string())?;
            return Ok(Outcome::Done);
        }
        self.check_space(&decision.plan, &store.layout)?;
        self.execute(&decision.plan, &store.layout)?;
        // On a full disk there is no room for it, and it is not what was asked for.
        if let Err(error) = reserve::keep(&store.layout) {
            log::debug!("no room is kept for a change on a full disk: {error}");
        }
        for line in &decision.summary {
            match line.strip_prefix(WARNING) {
                Some(warning) => self.ui.warn(warning),
                None => self.ui.say(line),
            }
        }
        Ok(Outcome::Done)
    }

    /// Tells where a pointer is about to lead to a generation that the next boot refuses. It is no reason to stay where one is.
    /// Nor is a trust file that cannot be read.
    fn foresee(&self, decision: &Decision, store: &Store) {
        let (layout, state) = (&store.layout, &store.state);
        let pointers = [layout.default(), layout.next()];
        let target = decision.plan.ops.iter().find_map(|op| match op {
            Op::WriteFile { path, text } if pointers.contains(path) => text.trim_end().parse().ok(),
            _ => None,
        });
        if let Some(generation) = target.and_then(|id| state.generations.get(&id))
            && let Ok(guard) = Guard::of(self, layout)
            && let Err(refusal) = trust::check_generation(self, &guard, generation, state, layout)
        {
            let id = generation.id;
            self.ui.warn(&format!("generation {id} will not boot: {}", refusal.what));
            self.ui.say(&format!("hint: {}", refusal.hint));
        }
    }

    /// Refuses a copy that cannot fit, before its first byte.
    fn check_space(&self, plan: &Plan, layout: &Layout) -> Result<(), Error> {
        let needed = staged_bytes(plan);
        let free = stage::free(&layout.store())
            .map_err(|error| Error::io("ask for free space in", &layout.store(), error))?;
        if needed <= free {
            return Ok(());
        }
        let what = format!(
            "the state file system at {} has {free} bytes free, the images need {needed}",
            self.mount_point().display()
        );
        Err(Refusal::new(what, "free space: layerctl cleanup").into())
    }

    /// Carries a checked plan out.
    pub(crate) fn execute(&self, plan: &Plan, layout: &Layout) -> Result<(), Error> {
        plan.ops.iter().for_each(|op| log::debug!("{op}"));
        // A change without a copy is over before anyone could read a bar.
        let bar = match staged_bytes(plan).saturating_add(boot_bytes(plan)) {
            0 => indicatif::ProgressBar::hidden(),
            bytes => self.ui.bar("copying", bytes),
        };
        let mut advance = |bytes| bar.inc(bytes);
        let mut host = LinuxHost::with_progress(&mut advance);
        if !makes_generation(plan) {
            host = host.giving_up_the_reserve_of(layout);
        }
        let result = exec::execute(plan, &mut host);
        bar.finish_and_clear();
        match result {
            // The log comes last, and all else is done: a full disk is no reason to call that a failure.
            Err(failure) if is_log(plan.ops.get(failure.done), layout) => {
                self.ui.warn(&format!("this change is not in the log: {failure}"));
                Ok(())
            }
            result => result.map_err(|source| self.stopped(plan, layout, source)),
        }
    }

    /// What a plan that stopped left: entries that it wrote for a pointer that was not moved would start something else.
    fn stopped(&self, plan: &Plan, layout: &Layout, source: Failure) -> Error {
        let reached = Reached::of(plan, &source, layout);
        let mut boot = plan.ops.iter().take(source.done).any(on_boot);
        if !reached.is_visible() && plan.ops.iter().any(|op| points(op, layout)) {
            let left = exec::retract_entries(plan, source.done, &mut LinuxHost::new());
            left.iter().for_each(|error| self.ui.warn(&error.to_string()));
        } else {
            boot = plan.ops.iter().skip(source.done).any(on_boot);
        }
        Error::Stopped { reached, boot, source }
    }
}

fn is_log(op: Option<&Op>, layout: &Layout) -> bool {
    matches!(op, Some(Op::AppendLine { path, .. }) if *path == layout.log())
}

/// Whether a plan needs room of its own. What others need to go back is not for it.
fn makes_generation(plan: &Plan) -> bool {
    let needs_room = |op: &Op| matches!(op, Op::StageImage { .. } | Op::PublishGeneration { .. });
    plan.ops.iter().any(needs_room)
}

fn staged_bytes(plan: &Plan) -> u64 {
    let sizes = plan.ops.iter().map(|op| match op {
        Op::StageImage { size, .. } => *size,
        _ => 0,
    });
    sizes.fold(0, u64::saturating_add)
}

fn boot_bytes(plan: &Plan) -> u64 {
    let sizes = plan.ops.iter().map(|op| match op {
        Op::CopyToBoot(copy) => copy.size,
        _ => 0,
    });
    sizes.fold(0, u64::saturating_add)
}

/// Whether an operation makes a change visible.
fn points(op: &Op, layout: &Layout) -> bool {
    let pointers = [layout.default(), layout.next(), layout.good()];
    matches!(op, Op::WriteFile { path, .. } if pointers.contains(path))
}

fn on_boot(op: &Op) -> bool {
    matches!(op, Op::CopyToBoot(_) | Op::WriteEntry { .. } | Op::RemoveFromBoot { .. })
}
