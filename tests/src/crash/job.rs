//! One recording and the states that a crash may leave of it.
#![expect(clippy::disallowed_methods, reason = "measures how long it takes")]

use super::check::{self, Case};
use super::device::LoopDevice;
use super::disk::{Disk, Log};
use super::filesystem::program_at;
use super::name::{PartName, StateName, Step};
use super::random::Random;
use super::recording::{Files, Flavour, Recording, Stretch};
use super::report::{Outcome, Tally};
use super::scene::Scene;
use super::states::{self, CrashState, Subsets};
use super::{CrashError, Request};
use crate::files;
use crate::process;
use crate::vm::Filesystem;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

/// A file system and what the verbs meet on it.
#[derive(Debug, Clone)]
pub(super) struct Job {
    filesystem: Filesystem,
    pub(super) flavour: Flavour,
    /// On a tmpfs.
    work: PathBuf,
    /// Beside the build.
    kept: PathBuf,
}

/// So many states of each careless verb are tried in the shortest run: enough that a suite that works catches one.
const CONTROL_LEAST: usize = 16;

/// Writes states to a loop device and checks them.
struct Bench<'a> {
    job: &'a Job,
    scene: &'a Scene,
    recording: &'a Recording,
    log: &'a Log,
    disk: Disk,
    device: LoopDevice,
    /// What the device shows.
    image: PathBuf,
    /// Where it is mounted.
    at: PathBuf,
}

impl Job {
    pub(super) fn new(filesystem: Filesystem, flavour: Flavour, top: &Path) -> Self {
        let name = format!("{}-{}", filesystem.name(), flavour.name());
        let (work, kept) = (top.join("work").join(&name), top.join(name));
        Self { filesystem, flavour, work, kept }
    }

    /// Records, and tries this job's share of the states, in processes of their own.
    pub(super) fn run(&self, request: &Request) -> Result<Outcome, CrashError> {
        let start = Instant::now();
        self.child(Step::Record, request)?;
        let child = |part| self.child(Step::Part(part), request);
        let parts = thread::scope(|scope| {
            let parts = 0..self.filesystem.benches();
            let parts: Vec<_> = parts.map(|part| scope.spawn(move || child(part))).collect();
            parts.into_iter().map(|part| part.join()).collect::<Vec<_>>()
        });
        let mut outcome = Outcome::new(self.filesystem, self.flavour);
        for part in parts {
            let said = part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            let tallies: Vec<(String, Tally)> =
                serde_json::from_slice(&said).map_err(|e| CrashError::Io {
                    doing: "read what was said about",
                    path: self.kept.clone(),
                    source: e.into(),
                })?;
            outcome.add(tallies);
        }
        files::remove_tree(&self.work)?;
        outcome.time = start.elapsed();
        eprintln!("xtask: {outcome}");
        Ok(outcome)
    }

    /// Does one step in a process; gives what it printed. A child that is started while another thread has a store's lock
    /// or a file of a mount open would have it too, for a moment: so each process does one thing at a time.
    fn child(&self, step: Step, request: &Request) -> Result<Vec<u8>, CrashError> {
        let failed = |source| CrashError::Io { doing: "find", path: "this program".into(), source };
        let program = std::env::current_exe().map_err(failed)?;
        let name = PartName { filesystem: self.filesystem, flavour: self.flavour, step };
        let mut command = program_at("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command.args(["crash", "--part", &name.to_string()]).args(request.arguments());
        Ok(process::read(&mut command)?)
    }

    /// Makes the recording.
    pub(super) fn record(&self, scene: &Scene) -> Result<(), CrashError> {
        files::make_dir(&self.work)?;
        files::make_empty_dir(&self.kept)?;
        let kept = Files::below(&self.kept);
        Recording::make(self.filesystem, self.flavour, scene, &self.work, &kept).map(drop)
    }

    /// Tries one part of the states; gives what became of each verb.
    pub(super) fn try_part(
        &self,
        scene: &Scene,
        part: usize,
        request: &Request,
    ) -> Result<Vec<(String, Tally)>, CrashError> {
        let kept = Files::below(&self.kept);
        let recording = Recording::load(&kept)?;
        let log = Log::load(&kept.log)?;
        let requests = log.requests();
        let least = if self.flavour.is_control() { CONTROL_LEAST } else { 0 };
        let share = request.share().max(least);
        let mut bench = self.bench(scene, &recording, &log, &kept, part)?;
        let wanted = |stretch: &&Stretch| self.flavour.is_control() || request.wants(&stretch.verb);
        let tally = |stretch: &Stretch| {
            let states =
                self.states(&requests, &recording, stretch, (request.seed, share, request.nightly));
            Ok((stretch.verb.clone(), bench.try_part(stretch, &states, part, request)?))
        };
        recording.tried(self.flavour).filter(wanted).map(tally).collect()
    }

    /// Tries one state again.
    pub(super) fn replay(
        &self,
        scene: &Scene,
        name: &StateName,
        seed: u64,
    ) -> Result<Option<String>, CrashError> {
        files::make_dir(&self.work)?;
        let kept = Files::below(&self.kept);
        let recording = Recording::load(&kept)?;
        let log = Log::load(&kept.log)?;
        let missing = || CrashError::NoState(name.clone());
        let mut stretches = recording.tried(self.flavour);
        let stretch = stretches.find(|stretch| stretch.verb == name.verb).ok_or_else(missing)?;
        // Twice the number has all prefixes up to it, and all subsets.
        let share = 2 * name.number + 2;
        let states = self.states(&log.requests(), &recording, stretch, (seed, share, true));
        let named = states.iter().find(|(number, _)| *number == name.number);
        let (_, state) = named.ok_or_else(missing)?;
        self.bench(scene, &recording, &log, &kept, 0)?.check(stretch, state, true)
    }

    fn bench<'a>(
        &'a self,
        scene: &'a Scene,
        recording: &'a Recording,
        log: &'a Log,
        kept: &Files,
        part: usize,
    ) -> Result<Bench<'a>, CrashError> {
        let (at, image) = (self.work.join(part.to_string()), self.work.join(format!("{part}.img")));
        files::make_dir(&at)?;
        files::make_sparse(&image, files::size(&kept.base)?)?;
        let (disk, device) = (Disk::load(&kept.base)?, LoopDevice::attach(&image)?);
        device.without_flushes()?;
        Ok(Bench { job: self, scene, recording, log, disk, device, image, at })
    }

    /// A verb's states with their numbers, about `share` of them: all prefixes come first, then subsets. Where there are
    /// more prefixes than two thirds of the share, those that are tried are spread over them, unless `every` one is wanted.
    fn states(
        &self,
        requests: &[states::Request],
        recording: &Recording,
        stretch: &Stretch,
        (seed, share, every): (u64, usize, bool),
    ) -> Vec<(usize, CrashState)> {
        let range = recording.requests(stretch);
        let stream = format!("{}/{}/{}", self.filesystem.name(), self.flavour.name(), stretch.verb);
        let mut random = Random::new(seed, &stream);
        let prefixes = states::prefixes(requests, &range);
        let all = prefixes.len();
        let wanted = if every { all } else { (share * 2 / 3).max(1).min(all) };
        let offset = random.below(all);
        let mut states: Vec<(usize, CrashState)> = prefixes.into_iter().enumerate().collect();
        // Exactly `wanted` of all places pass, evenly spread.
        states.retain(|(place, _)| (place + offset) * wanted % all.max(1) < wanted);
        let subsets = Subsets::new(requests, &range, random);
        let numbered = subsets.enumerate().map(|(place, state)| (all + place, state));
        states.extend(numbered.take(share.saturating_sub(wanted).max(share / 3)));
        states
    }
}

impl Bench<'_> {
    /// Tries one part of a verb's states: every so manieth.
    fn try_part(
        &mut self,
        stretch: &Stretch,
        states: &[(usize, CrashState)],
        part: usize,
        request: &Request,
    ) -> Result<Tally, CrashError> {
        let Job { filesystem, flavour, .. } = *self.job;
        // The disk's content only goes forward.
        let mut order: Vec<&(usize, CrashState)> = states.iter().collect();
        order.sort_by_key(|(_, state)| state.flushed);
        let mut tally = Tally::default();
        for (place, (number, state)) in order.into_iter().enumerate() {
            if place % filesystem.benches() != part {
                continue;
            }
            let fsck = place % request.fsck_every() == 0;
            let wrong = self.check(stretch, state, fsck)?;
            *(if state.kept.is_none() { &mut tally.prefixes } else { &mut tally.subsets }) += 1;
            tally.fscks += usize::from(fsck);
            if let Some(why) = wrong {
                let name =
                    StateName { filesystem, flavour, verb: stretch.verb.clone(), number: *number };
                tally.violations.push((name.to_string(), why));
            }
        }
        Ok(tally)
    }

    /// Gives what is wrong with a state.
    fn check(
        &mut self,
        stretch: &Stretch,
        state: &CrashState,
        fsck: bool,
    ) -> Result<Option<String>, CrashError> {
        let Job { filesystem, .. } = *self.job;
        let verb = check::verb_named(&stretch.verb).ok_or_else(|| CrashError::Recording {
            verb: stretch.verb.clone(),
            why: "it is not in the table of verbs".to_owned(),
        })?;
        self.disk.write_state(self.log, state, self.device.file()).map_err(|source| {
            CrashError::Io { doing: "write a state to", path: self.image.clone(), source }
        })?;
        let case = Case {
            filesystem,
            device: &self.device,
            at: &self.at,
            scene: self.scene,
            recording: self.recording,
            stretch,
            verb,
            end: state.end,
        };
        let mut wrong = case.check().err();
        if wrong.is_none() && fsck {
            wrong = filesystem.check(&self.image).err().map(|why| format!("fsck: {why}"));
        }
        Ok(wrong)
    }
}
