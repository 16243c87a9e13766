//! What a boot's plan depends on, besides the command line and the generation.

use std::collections::{BTreeMap, BTreeSet};

use crate::attempts::Attempts;
use crate::id::{Digest, GenerationId};
use crate::lowers::LowerImages;
use crate::machine_id::MachineId;
use crate::plan::Cover;
use crate::policy::{Dir, Scope};
use crate::reset::Reset;
use crate::superblock::Format;
use crate::trust::{Floors, Trust};

/// The pointers in `boot/`, as far as they could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pointers {
    /// The generation to boot.
    pub default: Option<GenerationId>,
    /// The generation to try once.
    pub next: Option<GenerationId>,
    /// The last generation marked good.
    pub good: Option<GenerationId>,
    /// The generation that ran last.
    pub ran: Option<GenerationId>,
}

/// What is known of an upper that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpperFacts {
    /// The images that it lay over last; `None` where nothing tells.
    pub lowers: Option<LowerImages>,
    /// The images whose units were preset in it; /etc alone has them.
    pub presets: Option<LowerImages>,
}

/// Another generation's /etc, from which one that never ran starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcSource {
    /// Whose it is; `None` is the one that generations share.
    pub owner: Option<GenerationId>,
    /// What is known of it.
    pub upper: UpperFacts,
}

/// What is known of the machine before anything is mounted but the state file system.
#[derive(Debug, Clone)]
pub struct BootFacts {
    /// Whether images whose bytes do not hash to their digest count as damaged: that takes as long as reading them.
    pub hashed: bool,
    /// What is asked of signatures.
    pub trust: Trust,
    /// Seconds since 1970, UTC, by the machine's clock.
    pub now: u64,
    /// The lowest versions that are taken besides those of `trust`; the error is why they are not known.
    pub floors: Result<Floors, String>,
    /// Images by digest: their format, or why they cannot be used.
    pub images: BTreeMap<Digest, Result<Format, String>>,
    /// What covers those that are signed.
    pub covers: BTreeMap<Digest, Cover>,
    /// Those that cannot be used because they are not trusted.
    pub untrusted: BTreeSet<Digest>,
    /// The /etc upper of the generation, if it is there.
    pub etc: Option<UpperFacts>,
    /// Where its /etc comes from otherwise.
    pub etc_source: Option<EtcSource>,
    /// What is to be told about that.
    pub etc_problem: Option<String>,
    /// The upper of /var, if it is there.
    pub var: Option<UpperFacts>,
    /// The upper of /home, if it is there.
    pub home: Option<UpperFacts>,
    /// Paths below /var that would be bound and have something in them, relative to it.
    pub occupied: BTreeSet<String>,
    /// Paths below /var that would be bound and whose content is still in the upper, relative to it.
    pub unmoved: BTreeSet<String>,
    /// Paths below /var that cannot be bound, relative to it, and why.
    pub unbindable: BTreeMap<String, String>,
    /// Uppers that cannot be used at all, and why.
    pub unusable: BTreeMap<Dir, String>,
    /// Why no /etc upper can be made out of another, if so.
    pub underivable: Option<String>,
    /// What `layerctl reset` asked for; the error is why it is not understood.
    pub reset: Option<Result<Reset, String>>,
    /// A machine ID for an /etc that is not kept.
    pub machine_id: Option<MachineId>,
    /// The pointers.
    pub pointers: Pointers,
    /// The starts that the generation has left; `None` where they are not counted.
    pub attempts: Option<Attempts>,
    /// The running kernel's release; unknown when the plan is made elsewhere.
    pub kernel: Option<String>,
    /// Why the state file system cannot be written, if it can't.
    pub read_only: Option<String>,
}

impl Default for BootFacts {
    fn default() -> Self {
        Self {
            hashed: false,
            trust: Trust::default(),
            now: 0,
            floors: Ok(Floors::default()),
            images: BTreeMap::new(),
            covers: BTreeMap::new(),
            untrusted: BTreeSet::new(),
            etc: None,
            etc_source: None,
            etc_problem: None,
            var: None,
            home: None,
            occupied: BTreeSet::new(),
            unmoved: BTreeSet::new(),
            unbindable: BTreeMap::new(),
            unusable: BTreeMap::new(),
            underivable: None,
            reset: None,
            machine_id: None,
            pointers: Pointers::default(),
            attempts: None,
            kernel: None,
            read_only: None,
        }
    }
}

impl BootFacts {
    /// The upper of `dir` that is there.
    pub fn upper(&self, dir: Dir) -> Option<&UpperFacts> {
        match dir {
            Dir::Etc => self.etc.as_ref(),
            Dir::Var => self.var.as_ref(),
            Dir::Home => self.home.as_ref(),
        }
    }
}

/// The /etc uppers of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EtcUppers {
    /// Generations that have one of their own.
    pub own: BTreeSet<GenerationId>,
    /// Whether there is one that generations share.
    pub shared: bool,
    /// The scope of the generation that ran last.
    pub ran_scope: Scope,
}

/// Where the /etc of a generation comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcOrigin {
    /// It is there.
    Own,
    /// Another's: that of a generation, or with `None` the shared one.
    Other(Option<GenerationId>),
    /// There is none.
    Nowhere,
}

/// Chooses the /etc of generation `id`: its own; else that of the generation that ran last; else the newest before it,
/// else the newest. The text says what is amiss: an /etc that was there is never given up in silence.
pub fn etc_origin(
    id: GenerationId,
    scope: Scope,
    pointers: &Pointers,
    uppers: &EtcUppers,
) -> (EtcOrigin, Option<String>) {
    let there = match scope {
        Scope::Generation => uppers.own.contains(&id),
        Scope::Shared => uppers.shared,
    };
    if there {
        return (EtcOrigin::Own, None);
    }
    if uppers.own.is_empty() && !uppers.shared {
        let lost = pointers.ran.map(|ran| {
            format!("/etc: no upper is there, not even that of generation {ran}, which ran last; it starts from the images")
        });
        return (EtcOrigin::Nowhere, lost);
    }
    let of_ran = match (pointers.ran, uppers.ran_scope) {
        (Some(_), Scope::Shared) if uppers.shared => Some(None),
        (Some(ran), Scope::Generation) if uppers.own.contains(&ran) => Some(Some(ran)),
        _ => None,
    };
    if let Some(owner) = of_ran {
        return (EtcOrigin::Other(owner), None);
    }
    let newest = uppers.own.range(..id).next_back().or(uppers.own.last()).copied();
    let from =
        newest.map_or_else(|| "the shared one".to_owned(), |id| format!("generation {id}'s"));
    let what = match pointers.ran {
        Some(ran) if ran == id && scope == Scope::Generation => {
            format!("/etc: the upper of generation {id} is not there; it starts again from {from}")
        }
        Some(ran) => format!(
            "/etc: the upper of generation {ran}, which ran last, is not there; it starts from {from}"
        ),
        None => format!("/etc: nothing tells which generation ran last; it starts from {from}"),
    };
    (EtcOrigin::Other(newest), Some(what))
}
