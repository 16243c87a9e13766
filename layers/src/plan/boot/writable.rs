//! Where writes go: what a boot does for /etc, /var and /home.

use std::path::PathBuf;

use super::stack::Stack;
use super::{BootFacts, UpperFacts};
use crate::cmdline::{BootRequest, DirSet};
use crate::etc::Derive;
use crate::generation::Generation;
use crate::id::GenerationId;
use crate::layout::{BootPaths, Layout};
use crate::lowers::LowerImages;
use crate::plan::{Access, Op, Overlay, Upper};
use crate::policy::{self, Dir, Mode, Scope};
use crate::report::WritableMount;
use crate::reset::Reset;

/// What the writable directories of one boot depend on, and what becomes of them.
pub(super) struct Writable<'a> {
    pub(super) request: &'a BootRequest,
    pub(super) generation: &'a Generation,
    pub(super) facts: &'a BootFacts,
    pub(super) layout: &'a Layout,
    pub(super) stack: Stack<'a>,
    /// The operations, in order.
    pub(super) ops: Vec<Op>,
    /// Records to write once the root has proved to be one that can be entered.
    pub(super) records: Vec<Op>,
    /// What could not be honoured.
    pub(super) problems: Vec<String>,
    /// The shared tmpfs is mounted.
    pub(super) tmpfs: bool,
}

/// How one directory is mounted.
struct Turn {
    dir: Dir,
    mode: Mode,
    wipe: bool,
    /// The directory that holds the upper that is written.
    home: PathBuf,
}

impl Writable<'_> {
    /// Plans all three.
    pub(super) fn all(&mut self) -> Vec<WritableMount> {
        let (reset, done) = self.reset();
        let wipe = self.request.wipe.union(reset.dirs.iter().copied().collect());
        let mounts = Dir::ALL.into_iter().map(|dir| self.one(dir, wipe, &reset)).collect();
        self.ops.extend(done);
        mounts
    }

    fn one(&mut self, dir: Dir, wipe: DirSet, reset: &Reset) -> WritableMount {
        let mode = self.mode(dir);
        let asked = wipe.contains(dir);
        if asked && mode != Mode::Persistent {
            self.problems.push(format!("/{dir} is {mode} in this boot and is not emptied"));
        }
        let wipe = asked && mode == Mode::Persistent;
        let home = self.place(dir, mode);
        let turn = Turn { dir, mode, wipe, home };
        match dir {
            Dir::Etc => self.etc(&turn, reset),
            Dir::Var => self.var(&turn, reset),
            Dir::Home => self.home(&turn, reset),
        }
        WritableMount { dir, mode, wiped: wipe }
    }

    /// The request of `layerctl reset`, and what takes it away once all of it is done. A boot that ends before that has
    /// started nothing that writes, so that doing it again takes nobody's work.
    fn reset(&mut self) -> (Reset, Option<Op>) {
        let persistent = Dir::ALL
            .into_iter()
            .any(|dir| self.request.mode(dir, &self.generation.writable) == Mode::Persistent);
        let asked = self.facts.reset.as_ref();
        let Some(reset) = asked.filter(|_| self.facts.read_only.is_none() && persistent) else {
            return (Reset::default(), None);
        };
        let path = self.layout.reset();
        let reset = reset.clone().unwrap_or_else(|why| {
            self.problems.push(format!("{} {why}; nothing is emptied", path.display()));
            Reset::default()
        });
        (reset, Some(Op::Remove { path }))
    }

    /// Where writes go. A state file system that cannot be written still boots: its upper is read, writes go to a tmpfs.
    fn mode(&mut self, dir: Dir) -> Mode {
        let mode = self.request.mode(dir, &self.generation.writable);
        if mode == Mode::Ephemeral {
            return mode;
        }
        let gone = "what is written in this boot is gone at power-off";
        if let Some(why) = self.facts.unusable.get(&dir) {
            self.problems.push(format!(
                "/{dir}: its upper cannot be used and is left as it is: {why}; the images' own is shown, and {gone}"
            ));
            return Mode::Ephemeral;
        }
        let unwritable = match dir {
            Dir::Etc => self.facts.read_only.as_ref().or(self.facts.underivable.as_ref()),
            _ => self.facts.read_only.as_ref(),
        };
        match unwritable {
            Some(why) if mode == Mode::Persistent => {
                self.problems.push(format!("/{dir}: {why}; {gone}"));
                Mode::Frozen
            }
            _ => mode,
        }
    }

    /// The directory that will hold the upper that is written; mounts the tmpfs that it lies on.
    fn place(&mut self, dir: Dir, mode: Mode) -> PathBuf {
        let (generation, paths) = (self.generation, self.stack.paths);
        if mode == Mode::Persistent {
            return self.layout.upper(dir, generation.id, generation.writable.etc.scope);
        }
        let own = generation.writable.size(dir).filter(|_| self.request.ephemeral_size.is_none());
        if let Some(size) = own {
            let at = paths.ephemeral_of(dir);
            self.ops.push(Op::MountTmpfs { at: at.clone(), size });
            return at.join(dir.name());
        }
        if !self.tmpfs {
            let size = self.request.ephemeral_size.unwrap_or_default();
            self.ops.push(Op::MountTmpfs { at: paths.ephemeral(), size });
            self.tmpfs = true;
        }
        paths.ephemeral().join(dir.name())
    }

    fn etc(&mut self, turn: &Turn, reset: &Reset) {
        if turn.mode != Mode::Ephemeral {
            self.problems.extend(self.facts.etc_problem.clone());
        }
        let mut lowers = self.stack.lowers(Dir::Etc);
        let mut fresh = true;
        match turn.mode {
            // Without a record, the boot that made the upper has not come to its end.
            Mode::Persistent => {
                let unknown = |upper: &UpperFacts| upper.lowers.is_none();
                fresh = !self.derive(turn) && self.facts.etc.as_ref().is_none_or(unknown);
            }
            Mode::Frozen if self.facts.underivable.is_none() && self.derive(turn) => fresh = false,
            Mode::Frozen => {
                if let Some(below) = self.existing_etc() {
                    lowers.insert(0, below.join("upper"));
                    fresh = false;
                }
            }
            Mode::Ephemeral => self.copy_kept(turn, self.existing_etc()),
        }
        self.wipe(turn, reset);
        self.make_upper(turn, &lowers);
        if (fresh || turn.wipe) && self.stack.has_layers() {
            self.hide_stamp(turn, &lowers);
        }
        if let (Mode::Ephemeral, Some(id)) = (turn.mode, self.facts.machine_id) {
            let upper = turn.home.join("upper");
            self.ops.push(Op::MakeMachineId { upper, lowers: lowers.clone(), id });
        }
        self.mount(turn, lowers);
        self.record(turn, self.facts.etc.as_ref().and_then(|upper| upper.lowers.as_ref()));
    }

    /// Makes the upper out of another one, where the generation has none or the images are not those that it lay over
    /// before; tells whether it does.
    fn derive(&mut self, turn: &Turn) -> bool {
        let own = self.owner();
        let (source, upper) = match (&self.facts.etc, &self.facts.etc_source) {
            (Some(upper), _) if self.stack.differs(upper) => (own, upper),
            (None, Some(source)) => (source.owner, &source.upper),
            _ => return false,
        };
        let report = if turn.mode == Mode::Persistent {
            self.layout.etc_report(self.generation.id)
        } else {
            BootPaths::ETC_REPORT.into()
        };
        let users = [Dir::Var, Dir::Home].map(|dir| self.layout.shared_upper(dir).join("upper"));
        let (old, new) = self.stack.etc_views(&mut self.ops, upper);
        if old.is_none() {
            self.problems.push(
                "/etc: the images that it lay over before cannot be read; nothing that was changed in it is dropped"
                    .to_owned(),
            );
        }
        let views = self.ops.iter().filter_map(Op::mount_point);
        let views = views.filter(|at| at.starts_with(self.stack.paths.view("")));
        let unmount: Vec<Op> = views.map(|at| Op::Unmount { at: at.to_owned() }).collect();
        self.ops.push(Op::DeriveUpper(Derive {
            from: self.layout.etc_upper(source),
            to: turn.home.clone(),
            old,
            new,
            whole: self.stack.is_whole(),
            users: users.to_vec(),
            report,
            generation: self.generation.id,
            source,
            images: self.stack.images.to_string(),
        }));
        self.ops.extend(unmount);
        true
    }

    fn owner(&self) -> Option<GenerationId> {
        let shared = self.generation.writable.etc.scope == Scope::Shared;
        (!shared).then_some(self.generation.id)
    }

    /// The directory of the /etc upper that a boot which does not write it starts from.
    fn existing_etc(&self) -> Option<PathBuf> {
        if self.facts.unusable.contains_key(&Dir::Etc) {
            return None;
        }
        let owner = match (&self.facts.etc, &self.facts.etc_source) {
            (Some(_), _) => self.owner(),
            (None, Some(source)) => source.owner,
            (None, None) => return None,
        };
        Some(self.layout.etc_upper(owner))
    }

    /// The directory of the upper of /var or /home, where it is there and can be read.
    fn existing(&self, dir: Dir) -> Option<PathBuf> {
        let usable = self.facts.upper(dir).filter(|_| !self.facts.unusable.contains_key(&dir));
        usable.map(|_| self.layout.shared_upper(dir))
    }

    fn var(&mut self, turn: &Turn, reset: &Reset) {
        let mut lowers = self.stack.lowers(Dir::Var);
        let before = self.facts.var.as_ref();
        let changed = before.is_some_and(|upper| self.stack.is_not(upper));
        match turn.mode {
            Mode::Persistent => self.tell_missing(turn),
            Mode::Frozen => {
                lowers.splice(0..0, self.existing(Dir::Var).map(|home| home.join("upper")));
            }
            Mode::Ephemeral => self.copy_kept(turn, self.existing(Dir::Var)),
        }
        self.wipe(turn, reset);
        self.make_upper(turn, &lowers);
        let owned = self.generation.writable.owned_in_var();
        if turn.mode == Mode::Persistent && changed && !turn.wipe && !owned.is_empty() {
            self.ops.push(Op::DropOwned { dir: turn.home.clone(), paths: owned });
        }
        let fresh = before.is_none() || turn.wipe || turn.mode == Mode::Ephemeral;
        if changed || (fresh && self.stack.has_layers()) {
            self.hide_stamp(turn, &lowers);
        }
        // Where all of /var is bound, what is in it is on a real file system already.
        let mut bound = if lowers.is_empty() { Vec::new() } else { self.bound() };
        // A boot that writes moves it; until then it is seen in the overlay.
        bound.retain(|path| turn.mode != Mode::Frozen || !self.facts.unmoved.contains(path));
        let below = self.stack.lowers(Dir::Var);
        let made = bound.iter().filter(|path| self.kept_below(turn, path).is_none());
        let made: Vec<Op> = made
            .map(|path| Op::MakeBound {
                dir: turn.home.clone(),
                path: path.clone(),
                mode: policy::bound_mode(path),
                lowers: below.clone(),
            })
            .collect();
        self.ops.extend(made);
        self.mount(turn, lowers);
        bound.iter().for_each(|path| self.bind(turn, path));
        self.record(turn, before.and_then(|upper| upper.lowers.as_ref()));
    }

    /// What a frozen boot shows at a bound path of /var, where the persistent one has something there.
    fn kept_below(&self, turn: &Turn, path: &str) -> Option<PathBuf> {
        let kept = turn.mode == Mode::Frozen && self.facts.occupied.contains(path);
        self.existing(Dir::Var).filter(|_| kept).map(|dir| Layout::bound(&dir).join(path))
    }

    /// Shows at `path` of /var what is bound there.
    fn bind(&mut self, turn: &Turn, path: &str) {
        let at = self.stack.paths.writable(Dir::Var).join(path);
        if let Some(kept) = self.kept_below(turn, path) {
            let upper = Upper::below(&turn.home.join("over").join(path));
            self.ops.push(Op::MakeUpper { upper: upper.clone(), like: Some(kept.clone()) });
            let source = format!("layerctl:{}:{path}", self.generation.id);
            let lowers = vec![kept];
            self.ops.push(Op::MountOverlay(Overlay {
                source,
                lowers,
                data: Vec::new(),
                upper: Some(upper),
                at,
            }));
            return;
        }
        let from = Layout::bound(&turn.home).join(path);
        // Containers have setuid programs of their own there.
        self.ops.push(Op::Bind { from, at, access: Access::WritableSuid });
    }

    /// The paths of /var that are bound.
    fn bound(&mut self) -> Vec<String> {
        let mut bound = self.generation.writable.bound_in_var();
        bound.retain(|path| match self.facts.unbindable.get(path) {
            Some(why) => {
                self.problems.push(format!("/var/{path} is part of the overlay: {why}"));
                false
            }
            None => true,
        });
        bound
    }

    fn home(&mut self, turn: &Turn, reset: &Reset) {
        let mut lowers = self.stack.lowers(Dir::Home);
        let before = self.facts.home.as_ref();
        match turn.mode {
            Mode::Persistent => self.tell_missing(turn),
            Mode::Frozen => {
                lowers.splice(0..0, self.existing(Dir::Home).map(|home| home.join("upper")));
            }
            Mode::Ephemeral => self.copy_kept(turn, self.existing(Dir::Home)),
        }
        self.wipe(turn, reset);
        self.make_upper(turn, &lowers);
        // Bound alone, an upper shows its whiteouts as devices.
        if let (Some(upper), Mode::Persistent, true) = (before, turn.mode, lowers.is_empty()) {
            match self.stack.old_lowers(&mut self.ops, Dir::Home, upper) {
                Some(old) if !old.is_empty() => {
                    self.ops.push(Op::ForgetLowers { upper: turn.home.join("upper"), lowers: old });
                }
                Some(_) => {}
                None => self.problems.push(
                    "/home: the images that it lay over cannot be read; what was deleted of theirs shows as devices 0:0"
                        .to_owned(),
                ),
            }
        }
        self.mount(turn, lowers);
        self.record(turn, before.and_then(|upper| upper.lowers.as_ref()));
    }

    /// An upper that all generations share was there once one has run.
    fn tell_missing(&mut self, turn: &Turn) {
        let dir = turn.dir;
        if self.facts.upper(dir).is_none() && self.facts.pointers.ran.is_some() {
            self.problems
                .push(format!("/{dir}: its upper is not there; it starts from the images"));
        }
    }

    fn copy_kept(&mut self, turn: &Turn, from: Option<PathBuf>) {
        let keep = self.generation.writable.kept_in(turn.dir);
        let Some(from) = from.filter(|_| !keep.is_empty()) else { return };
        let bound = turn.dir == Dir::Var && !self.facts.occupied.is_empty();
        for part in [Some("upper"), bound.then_some("bound")].into_iter().flatten() {
            let (from, to) = (from.join(part), turn.home.join(part));
            self.ops.push(Op::CopyKept { from, to, keep: keep.clone() });
        }
    }

    fn wipe(&mut self, turn: &Turn, reset: &Reset) {
        if turn.wipe {
            let mut keep = self.generation.writable.kept_in(turn.dir);
            keep.extend(policy::relative(&reset.keep, turn.dir));
            self.ops.push(Op::WipeUpper { dir: turn.home.clone(), keep });
        }
    }

    fn make_upper(&mut self, turn: &Turn, lowers: &[PathBuf]) {
        // The merged directory shows owner and mode of the upper: those of what it covers.
        let like = lowers.first().cloned();
        let like = Some(like.unwrap_or(self.stack.paths.base().join(turn.dir.name())));
        self.ops.push(Op::MakeUpper { upper: Upper::below(&turn.home), like });
    }

    fn hide_stamp(&mut self, turn: &Turn, lowers: &[PathBuf]) {
        let (upper, lowers) = (turn.home.join("upper"), lowers.to_vec());
        self.ops.push(Op::HideStamp { upper, lowers });
    }

    fn mount(&mut self, turn: &Turn, lowers: Vec<PathBuf>) {
        let at = self.stack.paths.writable(turn.dir);
        let upper = Upper::below(&turn.home);
        self.ops.push(if lowers.is_empty() {
            Op::Bind { from: upper.upper, at, access: Access::Writable }
        } else {
            let source = format!("layerctl:{}:{}", self.generation.id, turn.dir);
            Op::MountOverlay(Overlay { source, lowers, data: Vec::new(), upper: Some(upper), at })
        });
    }

    /// Writes down which images a persistent upper lies over, where the record says otherwise.
    fn record(&mut self, turn: &Turn, before: Option<&LowerImages>) {
        let derived = |op: &Op| matches!(op, Op::DeriveUpper(derive) if derive.to == turn.home);
        if turn.mode != Mode::Persistent
            || before == Some(&self.stack.images)
            || self.ops.iter().any(derived)
        {
            return;
        }
        let (path, text) = (Layout::lowers(&turn.home), self.stack.images.to_string());
        self.records.push(Op::WriteFile { path, text });
    }
}
