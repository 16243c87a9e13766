//! The verbs, carried out once on a disk that writes down every request, with what the store held after each operation.

use super::CrashError;
use super::check;
use super::device::LoopDevice;
use super::export::Export;
use super::hands::Hands;
use super::scene::Scene;
use super::snapshot::Snapshot;
use super::verbs::{CONTROL, CONTROL_START, SCRIPT, Verb};
use crate::files;
use crate::process;
use crate::vm::Filesystem;
use crate::write_log::{self, Entry};
use layers::layout::Layout;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What the verbs meet while they are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flavour {
    /// Nothing: only what they sync themselves is on the disk.
    Plain,
    /// Something that syncs the file system all the time, so that what they write gets there by itself, in any order.
    Synced,
    /// A publisher that empties and writes in place, with a sync between: a control.
    InPlace,
    /// A publisher that never syncs: a control.
    Unsynced,
}

impl Flavour {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Synced, Self::Plain, Self::InPlace, Self::Unsynced];

    /// Its name in the name of a state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Synced => "synced",
            Self::InPlace => "control-in-place",
            Self::Unsynced => "control-no-fsync",
        }
    }

    /// Whether it has to fail.
    pub fn is_control(self) -> bool {
        matches!(self, Self::InPlace | Self::Unsynced)
    }

    /// The verbs that are recorded, and who carries them out.
    pub(super) fn script(self) -> Vec<(Verb, Hands)> {
        let careful = |verbs: &[Verb]| -> Vec<_> {
            verbs.iter().map(|verb| (*verb, Hands::Careful)).collect()
        };
        let hands = match self {
            Self::Plain | Self::Synced => return careful(SCRIPT),
            Self::InPlace => Hands::InPlace,
            Self::Unsynced => Hands::Unsynced,
        };
        let mut script = careful(SCRIPT.get(..CONTROL_START).unwrap_or_default());
        script.extend(CONTROL.iter().map(|verb| (*verb, hands)));
        script
    }
}

/// A moment between two operations.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mark {
    /// How many requests had reached the disk, in bytes of the log while it is recorded.
    at: usize,
    snapshot: Snapshot,
}

/// One verb's part of a recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stretch {
    pub(super) verb: String,
    /// Its marks: the first is before it, the last after it.
    marks: Range<usize>,
    /// What people and the next boot see of the store, before and after.
    pub(super) core: (String, String),
}

/// A recording without the disk's image and log, which lie beside it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Recording {
    marks: Vec<Mark>,
    stretches: Vec<Stretch>,
    /// How many requests there are.
    requests: usize,
}

/// Where a recording is kept.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) base: PathBuf,
    pub(super) log: PathBuf,
    text: PathBuf,
}

impl Files {
    pub(super) fn below(directory: &Path) -> Self {
        let file = |name| directory.join(name);
        Self { base: file("base.img"), log: file("writes.log"), text: file("recording.json") }
    }
}

impl Recording {
    /// Records a script in `work`, a directory on a tmpfs, and keeps it in `kept`.
    pub(super) fn make(
        filesystem: Filesystem,
        flavour: Flavour,
        scene: &Scene,
        work: &Path,
        kept: &Files,
    ) -> Result<Self, CrashError> {
        let (image, log) = (work.join("disk.img"), work.join("writes.log"));
        filesystem.make(&image)?;
        process::run(process::command("cp").arg("--sparse=always").arg(&image).arg(&kept.base))?;
        let at = work.join("state");
        files::make_dir(&at)?;
        let export = Export::start(&image, &log, &work.join("export"))?;
        let device = LoopDevice::attach(&work.join("export"))?;
        device.with_flushes()?;
        let failed = |doing, source| CrashError::Io { doing, path: at.clone(), source };
        let mounted = device.mount(filesystem, &at).map_err(|e| failed("mount", e))?;
        let mut recorder = Recorder { log: &log, at: &at, found: Self::default() };
        recorder.record(&flavour.script(), scene, flavour == Flavour::Synced)?;
        let mut recording = recorder.found;
        mounted.unmount().map_err(|e| failed("unmount", e))?;
        device.forget(filesystem)?;
        drop(device);
        export.stop()?;
        recording.count(&log, flavour)?;
        files::copy(&log, &kept.log)?;
        let text = serde_json::to_vec(&recording).map_err(|e| CrashError::Io {
            doing: "write",
            path: kept.text.clone(),
            source: e.into(),
        })?;
        files::write(&kept.text, text)?;
        files::remove_file(&image)?;
        files::remove_file(&log)?;
        Ok(recording)
    }

    /// Reads what [`Self::make`] kept.
    pub(super) fn load(kept: &Files) -> Result<Self, CrashError> {
        serde_json::from_slice(&files::read(&kept.text)?).map_err(|e| CrashError::Io {
            doing: "read",
            path: kept.text.clone(),
            source: e.into(),
        })
    }

    /// Makes bytes of the log into numbers of requests, and sees that each verb has flushed at all.
    fn count(&mut self, log: &Path, flavour: Flavour) -> Result<(), CrashError> {
        let entries = write_log::entries(log)?;
        for mark in &mut self.marks {
            mark.at = entries.partition_point(|entry| entry.end() <= mark.at as u64);
        }
        self.requests = entries.len();
        let silent = self.stretches.iter().find(|stretch| {
            let requests = entries.get(self.requests(stretch)).unwrap_or_default();
            !requests.iter().any(Entry::flushes)
        });
        match silent.filter(|_| !flavour.is_control()) {
            Some(stretch) => {
                let why = "no flush reached the disk".to_owned();
                Err(CrashError::Recording { verb: stretch.verb.clone(), why })
            }
            None => Ok(()),
        }
    }

    /// The verbs that are to be tried: of a control, those that were carried out without care.
    pub(super) fn tried(&self, flavour: Flavour) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter().skip(if flavour.is_control() { CONTROL_START } else { 0 })
    }

    /// The requests of a verb, from the first after what was there before it; those of the last verb go on to the end.
    pub(super) fn requests(&self, stretch: &Stretch) -> Range<usize> {
        let at = |mark: usize| self.marks.get(mark).map_or(self.requests, |mark| mark.at);
        let last = self.stretches.last().is_some_and(|last| last.marks == stretch.marks);
        let end = if last { self.requests } else { at(stretch.marks.end - 1) };
        at(stretch.marks.start)..end
    }

    /// What a store may hold after a crash before request `end`: that of the last operation that was done, up to that of
    /// the one that was under way.
    pub(super) fn allowed(&self, end: usize) -> Vec<&Snapshot> {
        let promised = self.marks.iter().rposition(|mark| mark.at <= end).unwrap_or(0);
        let under_way = self.marks.iter().position(|mark| mark.at >= end);
        let last = under_way.unwrap_or(self.marks.len()).max(promised);
        self.marks.iter().take(last + 1).skip(promised).map(|mark| &mark.snapshot).collect()
    }

    /// What the store held before a verb.
    pub(super) fn before(&self, stretch: &Stretch) -> Option<&Snapshot> {
        self.marks.get(stretch.marks.start).map(|mark| &mark.snapshot)
    }
}

/// Notes what happens while verbs are carried out.
struct Recorder<'a> {
    log: &'a Path,
    at: &'a Path,
    found: Recording,
}

impl Recorder<'_> {
    fn record(
        &mut self,
        script: &[(Verb, Hands)],
        scene: &Scene,
        synced: bool,
    ) -> Result<(), CrashError> {
        let root = files::open(self.at)?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            if synced {
                scope.spawn(|| sync_until(&root, &over));
            }
            let done =
                script.iter().try_for_each(|(verb, hands)| self.verb(verb, *hands, scene, &root));
            over.store(true, Ordering::Relaxed);
            done
        })
    }

    fn verb(
        &mut self,
        verb: &Verb,
        hands: Hands,
        scene: &Scene,
        root: &File,
    ) -> Result<(), CrashError> {
        let failed = |why: String| CrashError::Verb { verb: verb.name.to_owned(), why };
        let layout = Layout::new(self.at);
        if let Some(prepare) = verb.prepare {
            prepare(&layout).map_err(|e| failed(e.to_string()))?;
            rustix::fs::syncfs(root).map_err(|e| failed(e.to_string()))?;
        }
        let first = self.found.marks.len();
        self.mark()?;
        let before = check::core(&layout);
        verb.run(scene, self.at, hands, &mut || self.mark())
            .map_err(|e: CrashError| failed(e.to_string()))?;
        let core = (before.map_err(failed)?, check::core(&layout).map_err(failed)?);
        let marks = first..self.found.marks.len();
        self.found.stretches.push(Stretch { verb: verb.name.to_owned(), marks, core });
        self.see_one_change(verb.name)
    }

    fn mark(&mut self) -> Result<(), CrashError> {
        let at = files::size(self.log)? as usize;
        let snapshot = Snapshot::of(&Layout::new(self.at)).map_err(|source| CrashError::Io {
            doing: "read",
            path: self.at.to_owned(),
            source,
        })?;
        self.found.marks.push(Mark { at, snapshot });
        Ok(())
    }

    /// A verb changes something, and the generation that boots at most once: so every crash has the old or the new one.
    fn see_one_change(&self, verb: &str) -> Result<(), CrashError> {
        let wrong =
            |why: &str| CrashError::Recording { verb: verb.to_owned(), why: why.to_owned() };
        let marks = self.found.stretches.last().map_or(0..0, |stretch| stretch.marks.clone());
        let marks = self.found.marks.get(marks).unwrap_or_default();
        if marks.first().map(|mark| &mark.snapshot) == marks.last().map(|mark| &mark.snapshot) {
            return Err(wrong("the store is as before"));
        }
        let moves = marks.windows(2).filter(|pair| match pair {
            [before, after] => before.snapshot.booting() != after.snapshot.booting(),
            _ => false,
        });
        if moves.count() > 1 { Err(wrong("the default moves more than once")) } else { Ok(()) }
    }
}

/// Syncs a file system again and again.
fn sync_until(root: &File, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        // What fails here fails for the verbs too, which tell.
        let _ = rustix::fs::syncfs(root);
    }
}
