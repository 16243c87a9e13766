//! The verbs that are recorded, in order: one entry is a name, what has to be there first, and what is done.
#![expect(clippy::disallowed_methods, reason = "prepares what verbs work on")]

use super::boots;
use super::hands::Hands;
use super::scene::Scene;
use layers::exec::HostError;
use layers::id::{GenerationId, Name, SetName};
use layers::layout::Layout;
use layers::plan::Op;
use layers::plan::change::{
    Decision, Install, KargsEdit, Refusal, Request, State, apply_policy, cancel_reset,
    change_kargs, create_set, delete_set, import_base, install, mark_good, pin, reset, rollback,
    uninstall, unpin,
};
use layers::plan::check::{Fault, check_change};
use layers::plan::collect::cleanup;
use layers::policy::{Dir, Policy};
use layers::reset::Reset;
use layers::store::lock::Lock;
use layers::store::{StoreError, read};
use std::fs;
use std::io;
use std::path::Path;
use thiserror::Error;

/// When all changes are made, as the log has it.
pub(super) const TIME: &str = "2026-11-21T09:00:00Z";

/// Who asked for them.
pub(super) const ASKED: &str = "crash suite";

/// Decides about a change; what it works on is in the scene.
pub(super) type Decide = fn(&Scene, &State, &Layout, &Request) -> Result<Decision, Refusal>;

/// What a verb does.
#[derive(Clone, Copy)]
pub(super) enum Act {
    /// Makes the store.
    Init,
    /// A change, as the command makes it: under the lock, decided from what the store holds, checked, carried out.
    Change(Decide),
    /// What a boot does to the state file system, without its mounts.
    Boot(fn(&Scene, &State, &Layout) -> Option<Vec<Op>>),
}

/// One verb.
#[derive(Clone, Copy)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    /// Makes what the verb needs and no other verb leaves; on disk before the verb begins.
    pub(super) prepare: Option<fn(&Layout) -> io::Result<()>>,
    pub(super) act: Act,
}

/// Why a verb could not be carried out.
#[derive(Debug, Error)]
pub(super) enum VerbError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Refusal(#[from] Refusal),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("nothing was left to do")]
    Unchanged,
}

const fn change(name: &'static str, decide: Decide) -> Verb {
    Verb { name, prepare: None, act: Act::Change(decide) }
}

/// All verbs, each in a store that the ones before have left.
pub(super) const SCRIPT: &[Verb] = &[
    Verb { name: "init", prepare: None, act: Act::Init },
    change("base-import", |scene, state, layout, request| {
        import(scene, "base", state, layout, request)
    }),
    Verb { name: "first-boot", prepare: None, act: Act::Boot(boots::first) },
    change("mark-good", |_, state, layout, request| {
        mark_good(state, layout, start(state)?, request)
    }),
    change("install", |scene, state, layout, request| {
        add(&["htop"], scene, state, layout, request)
    }),
    Verb { name: "count-down", prepare: None, act: Act::Boot(boots::claim) },
    Verb { name: "etc-clone", prepare: Some(boots::edit_etc), act: Act::Boot(boots::clone_etc) },
    change("install-two", |scene, state, layout, request| {
        add(&["app", "libfoo"], scene, state, layout, request)
    }),
    change("set-create", |_, state, layout, request| {
        create_set(state, layout, &set("web")?, &[layer("app")?], request)
    }),
    change("set-delete", |_, state, layout, request| {
        delete_set(state, layout, &set("web")?, request)
    }),
    change("pin", |_, state, layout, request| pin(state, layout, GenerationId::FIRST, request)),
    change("install-once", |scene, state, layout, request| {
        let request = Request { once: true, ..request.clone() };
        add(&["jq"], scene, state, layout, &request)
    }),
    Verb { name: "claim-once", prepare: None, act: Act::Boot(boots::claim) },
    change("rollback-once", |_, state, layout, request| {
        let request = Request { once: true, ..request.clone() };
        rollback(state, layout, Some(GenerationId::FIRST), &request)
    }),
    change("install-over-next", |scene, state, layout, request| {
        add(&["tree"], scene, state, layout, request)
    }),
    change("uninstall", |_, state, layout, request| {
        uninstall(state, layout, &[layer("tree")?], request)
    }),
    change("rollback", |_, state, layout, request| rollback(state, layout, None, request)),
    change("replace", |scene, state, layout, request| {
        let files = scene.images(&["htop2"]);
        install(state, layout, &Install { files, replace: true, ..Install::default() }, request)
    }),
    change("base-import-later", |scene, state, layout, request| {
        import(scene, "base2", state, layout, request)
    }),
    Verb { name: "etc-in-place", prepare: None, act: Act::Boot(boots::derive_in_place) },
    change("unpin", |_, state, layout, request| unpin(state, layout, GenerationId::FIRST, request)),
    change("policy", |_, state, layout, request| {
        let mut policy = Policy::default();
        policy.etc.keep.push("/etc/hostname".to_owned());
        apply_policy(&State { policy: Some(policy), ..state.clone() }, layout, request)
    }),
    change("kargs", |_, state, layout, request| {
        let edit = KargsEdit { append: vec!["quiet".to_owned()], ..KargsEdit::default() };
        change_kargs(state, layout, &edit, request)
    }),
    change("reset", |_, state, layout, request| ask_reset(state, layout, request)),
    change("reset-cancel", |_, state, layout, request| {
        cancel_reset(state, layout, read::reset(layout).as_ref(), request)
    }),
    change("reset-again", |_, state, layout, request| ask_reset(state, layout, request)),
    Verb { name: "etc-wipe", prepare: None, act: Act::Boot(boots::wipe_etc) },
    Verb { name: "var-drop", prepare: Some(boots::fill_var), act: Act::Boot(boots::drop_from_var) },
    Verb {
        name: "home-forget",
        prepare: Some(boots::hide_in_home),
        act: Act::Boot(boots::forget_in_home),
    },
    Verb {
        name: "cleanup",
        prepare: Some(leave_behind),
        act: Act::Change(|_, state, layout, request| cleanup(state, layout, 0, request)),
    },
];

/// What a careless publisher does after the same beginning: enough to see that the suite catches it.
pub(super) const CONTROL: &[Verb] = &[
    change("careless-install", |scene, state, layout, request| {
        add(&["jq"], scene, state, layout, request)
    }),
    change("careless-rollback", |_, state, layout, request| rollback(state, layout, None, request)),
    change("careless-pin", |_, state, layout, request| {
        pin(state, layout, GenerationId::FIRST, request)
    }),
];

/// How many verbs of the script come before the careless ones.
pub(super) const CONTROL_START: usize = 5;

/// What is done after each crash, to see that the store still takes changes.
pub(super) const PROBE: Verb = change("install", |scene, state, layout, request| {
    add(&["probe"], scene, state, layout, request)
});

/// What is done after a crash that left no generation.
pub(super) const FIRST_IMPORT: Verb = change("base import", |scene, state, layout, request| {
    import(scene, "base", state, layout, request)
});

/// Removes what the crash left behind.
pub(super) const CLEANUP: Verb =
    change("cleanup", |_, state, layout, request| cleanup(state, layout, 2, request));

impl Verb {
    /// Carries the verb out on the store in `state`; `after` is called when an operation has been done.
    pub(super) fn run<E: From<VerbError>>(
        &self,
        scene: &Scene,
        state: &Path,
        hands: Hands,
        after: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let layout = Layout::new(state);
        let read = || read::read_state(&layout, None).map_err(VerbError::from);
        let failed = |e: StoreError| E::from(VerbError::from(e));
        let (ops, lock) = match self.act {
            Act::Init => {
                read::init(state).map_err(failed)?;
                return after();
            }
            Act::Change(decide) => {
                let lock = Lock::acquire(&layout).map_err(failed)?;
                let plan =
                    decide(scene, &read()?, &layout, &request()).map_err(VerbError::from)?.plan;
                check_change(&plan, &layout).map_err(VerbError::from)?;
                (plan.ops, Some(lock))
            }
            Act::Boot(plan) => (plan(scene, &read()?, &layout).unwrap_or_default(), None),
        };
        if ops.is_empty() {
            return Err(VerbError::Unchanged.into());
        }
        for op in &ops {
            hands.carry_out(op).map_err(VerbError::from)?;
            after()?;
        }
        drop(lock);
        Ok(())
    }
}

fn request() -> Request {
    Request { time: TIME.to_owned(), asked: ASKED.to_owned(), once: false }
}

fn import(
    scene: &Scene,
    file: &str,
    state: &State,
    layout: &Layout,
    request: &Request,
) -> Result<Decision, Refusal> {
    match scene.images(&[file]).first() {
        Some(image) => import_base(state, layout, image, None, request),
        None => Err(Refusal::new(format!("{file} is not in the table of images"), "add it")),
    }
}

fn add(
    files: &[&str],
    scene: &Scene,
    state: &State,
    layout: &Layout,
    request: &Request,
) -> Result<Decision, Refusal> {
    let files = scene.images(files);
    install(state, layout, &Install { files, ..Install::default() }, request)
}

fn ask_reset(state: &State, layout: &Layout, request: &Request) -> Result<Decision, Refusal> {
    let asked = Reset { dirs: vec![Dir::Etc], keep: vec!["/etc/own.d/kept".to_owned()] };
    reset(state, layout, &asked, read::reset(layout).as_ref(), request)
}

fn start(state: &State) -> Result<GenerationId, Refusal> {
    state.start().map(|generation| generation.id)
}

fn set(name: &str) -> Result<SetName, Refusal> {
    name.parse().map_err(|_| Refusal::new(format!("{name} is no name of a set"), "choose another"))
}

fn layer(name: &str) -> Result<Name, Refusal> {
    name.parse()
        .map_err(|_| Refusal::new(format!("{name} is no name of a layer"), "choose another"))
}

/// What a change that was cut short leaves, for cleanup to find.
fn leave_behind(layout: &Layout) -> io::Result<()> {
    fs::write(layout.store().join(".tmp-left"), [1; 10_000])
}
