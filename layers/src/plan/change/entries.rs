//! Brings the boot partition in line with the store: a kernel and an initrd for all generations that use them, an entry for
//! each generation, and one for whatever is the default.
//!
//! The partition is a copy that can be made again, so this is a function of the state that a change leaves and of what is on
//! the partition, whichever change it was. What nobody needs goes first, then come files, then entries; what only the state
//! before needed goes after the pointer.

use std::collections::{BTreeMap, BTreeSet};

use super::menu::{Wanted, wanted_entry};
use super::{Refusal, State};
use crate::attempts::Attempts;
use crate::boot_partition::{BootPartition, OneShot, names};
use crate::entry::{Counters, EntryName, Said};
use crate::generation::Generation;
use crate::id::GenerationId;
use crate::kernel::{Kernel, KernelFile};
use crate::layout::Layout;
use crate::plan::{BootName, CopyToBoot, Op};

/// A store as a change leaves it, as far as boot entries depend on it.
pub(crate) struct After<'a> {
    generations: BTreeMap<GenerationId, &'a Generation>,
    stored: BTreeMap<KernelFile, u64>,
    default: Option<GenerationId>,
    good: Option<GenerationId>,
    tries: BTreeMap<GenerationId, Attempts>,
    /// Whose attempts begin anew, whatever a boot loader has counted.
    renewed: Option<GenerationId>,
}

impl<'a> After<'a> {
    /// The store as it is.
    pub(crate) fn of(state: &'a State) -> Self {
        Self {
            generations: state.generations.iter().map(|(id, one)| (*id, one)).collect(),
            stored: state.kernels.clone(),
            default: state.pointers.default,
            good: state.pointers.good,
            tries: state.tries.clone(),
            renewed: None,
        }
    }

    /// With one generation more, whose kernel is in the store by then.
    pub(crate) fn with(mut self, generation: &'a Generation) -> Self {
        self.stored.extend(generation.kernel.iter().flat_map(Kernel::files));
        self.generations.insert(generation.id, generation);
        self
    }

    /// Without those that go.
    pub(crate) fn without(mut self, gone: &[GenerationId]) -> Self {
        self.generations.retain(|id, _| !gone.contains(id));
        self
    }

    /// With another default.
    pub(crate) fn default(self, id: GenerationId) -> Self {
        Self { default: Some(id), ..self }
    }

    /// With attempts that begin now.
    pub(crate) fn counted(mut self, id: GenerationId, attempts: Attempts) -> Self {
        self.tries.insert(id, attempts);
        Self { renewed: Some(id), ..self }
    }

    /// What a boot loader takes once the default's attempts are used up: the last good generation; where none was found
    /// good yet, the newest other one, as init does.
    pub(super) fn fallback(&self) -> Option<GenerationId> {
        let other = |id: &&GenerationId| Some(**id) != self.default;
        self.good.or_else(|| self.generations.keys().rev().find(other).copied())
    }

    /// The attempts that a generation has left.
    pub(super) fn tries(&self, id: GenerationId) -> Option<Attempts> {
        self.tries.get(&id).copied()
    }

    /// Whether its attempts begin now.
    pub(super) fn is_renewed(&self, id: GenerationId) -> bool {
        self.renewed == Some(id)
    }

    /// With a generation that was found good.
    pub(crate) fn good(mut self, id: GenerationId) -> Self {
        self.tries.remove(&id);
        Self { good: Some(id), ..self }
    }
}

/// What is to be done on the boot partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Aligned {
    /// Before the pointer is moved.
    pub(crate) before: Vec<Op>,
    /// After that.
    pub(crate) after: Vec<Op>,
    /// What is not as it should be, one line each.
    pub(crate) notes: Vec<String>,
    /// The entry of each generation.
    pub(crate) entries: BTreeMap<GenerationId, EntryName>,
}

impl Aligned {
    /// Both halves, for a change that moves no pointer.
    pub(crate) fn ops(self) -> Vec<Op> {
        self.before.into_iter().chain(self.after).collect()
    }

    /// Only what is taken away, which fits a partition that is full.
    pub(crate) fn removals(mut self) -> Self {
        let kept = |name: &EntryName, ops: &[Op]| {
            ops.iter().any(|op| {
                matches!(op, Op::WriteEntry { name: new, .. }
                if new.id == name.id && new.default == name.default)
            })
        };
        // An entry whose successor is not written stays, and so do the files that it names.
        let stays = self.after.iter().any(|op| {
            matches!(op, Op::RemoveFromBoot { name: BootName::Entry(name), .. } if kept(name, &self.before))
        });
        if stays {
            self.after.clear();
        }
        self.before.retain(|op| matches!(op, Op::RemoveFromBoot { .. }));
        self
    }
}

/// Decides what brings the boot partition in line with `after`; nothing where there is none.
pub(crate) fn align(state: &State, layout: &Layout, after: &After<'_>) -> Result<Aligned, Refusal> {
    let Some(work) = Work::new(state, layout, after)? else {
        return Ok(Aligned::default());
    };
    let shortage = work.shortage();
    let aligned = work.ops();
    shortage.map_or(Ok(aligned), Err)
}

/// As [`align`]; where all of it does not fit, what can be removed at least.
pub(crate) fn align_or_remove(
    state: &State,
    layout: &Layout,
    after: &After<'_>,
) -> Result<Aligned, Refusal> {
    let Some(work) = Work::new(state, layout, after)? else {
        return Ok(Aligned::default());
    };
    let shortage = work.shortage();
    let aligned = work.ops();
    Ok(match shortage {
        None => aligned,
        Some(refusal) => {
            let mut less = aligned.removals();
            less.notes.push(refusal.what);
            less
        }
    })
}

/// What tells the boot loader to start `once` a single time; nothing is to be started so where there is none. The boot loader
/// starts the default's kernel before anybody reads `boot/next`, so a generation with another one is its to try.
pub(crate) fn one_shot(
    state: &State,
    after: &After<'_>,
    aligned: &Aligned,
    once: Option<GenerationId>,
) -> Result<Option<Op>, Refusal> {
    let variable = state.boot.as_ref().and_then(|boot| boot.one_shot.as_ref());
    let set =
        |variable: &OneShot, entry| Op::SetOneShot { variable: variable.variable.clone(), entry };
    let stale = || Ok(variable.filter(|variable| variable.set).map(|variable| set(variable, None)));
    let Some(id) = once else { return stale() };
    let linux = |id: GenerationId| {
        let kernel = after.generations.get(&id).and_then(|one| one.kernel.as_ref());
        kernel.map(|kernel| kernel.linux)
    };
    let default = after.default.and_then(linux);
    let fits = default.is_none() || default == linux(id);
    if state.boot.is_none() || fits {
        return stale();
    }
    if let (Some(variable), Some(entry)) = (variable, aligned.entries.get(&id)) {
        return Ok(Some(set(variable, Some(*entry))));
    }
    Err(Refusal::new(
        format!(
            "generation {id} has another kernel than the default one, which the boot loader starts: a single try would run without its modules"
        ),
        "leave --try-once out: what does not come up three times is given up; or start its entry by hand, from the boot loader's menu",
    ))
}

/// What there is to do, by kind.
struct Work<'a> {
    layout: &'a Layout,
    partition: &'a BootPartition,
    copies: Vec<(KernelFile, u64)>,
    writes: Vec<(EntryName, String)>,
    gone_entries: Vec<EntryName>,
    gone_files: Vec<KernelFile>,
    old_entries: Vec<EntryName>,
    old_files: Vec<KernelFile>,
    notes: Vec<String>,
    entries: BTreeMap<GenerationId, EntryName>,
}

impl<'a> Work<'a> {
    /// `None` where the store has no boot partition, or none of its generations has to do with it.
    fn new(
        state: &'a State,
        layout: &'a Layout,
        after: &After<'_>,
    ) -> Result<Option<Self>, Refusal> {
        let Some(partition) = &state.boot else { return Ok(None) };
        let default = after.default.and_then(|id| after.generations.get(&id).copied());
        if let Some(default) = default
            && default.kernel.is_none()
        {
            return without_kernel(default, partition).map_or(Ok(None), Err);
        }
        let (startable, notes) = startable(partition, after);
        if let Some(default) = default
            && !startable.contains_key(&default.id)
        {
            return Err(lacking(default, partition));
        }
        let mut wanted: Vec<Wanted> = startable
            .values()
            .map(|(generation, kernel)| wanted_entry(partition, after, generation, kernel, false))
            .collect();
        let default = default.and_then(|default| startable.get(&default.id));
        wanted.extend(
            default.map(|(generation, kernel)| {
                wanted_entry(partition, after, generation, kernel, true)
            }),
        );
        let files = startable.values().flat_map(|(_, kernel)| kernel.files()).collect();
        let mut work = Self {
            layout,
            partition,
            copies: Vec::new(),
            writes: Vec::new(),
            gone_entries: Vec::new(),
            gone_files: Vec::new(),
            old_entries: Vec::new(),
            old_files: Vec::new(),
            notes,
            entries: BTreeMap::new(),
        };
        let kept = work.choose_entries(wanted);
        work.entries =
            kept.iter().filter(|name| !name.default).map(|name| (name.id, *name)).collect();
        // An entry for the default is the default's alone; of all others those of generations stay of which nothing is known.
        let alone = |name: &EntryName| {
            let id = name.id;
            let known = after.generations.contains_key(&id) && !startable.contains_key(&id);
            match name.default {
                true => default.is_none(),
                false => state.damaged.contains_key(&id) || known,
            }
        };
        let exists = |name: &EntryName| name.default || after.generations.contains_key(&name.id);
        work.sort_entries(&kept, &alone, &exists);
        work.sort_files(&files);
        Ok(Some(work))
    }

    /// Finds each wanted entry among those that are there, or a name to write it under; gives the names that stay.
    fn choose_entries(&mut self, wanted: Vec<Wanted>) -> BTreeSet<EntryName> {
        let mut kept = BTreeSet::new();
        for Wanted { name, text, tries, renewed } in wanted {
            let same = self
                .partition
                .entries
                .iter()
                .filter(|(there, is)| there.uncounted() == name && **is == text);
            let counters = tries.map(|left| Counters { left: left.0.into(), done: None });
            // A boot loader that counts has the last word on its own counters; those of a good generation go.
            let there = same
                .map(|(there, _)| *there)
                .filter(|there| match (tries, renewed) {
                    (Some(_), false) => true,
                    _ => there.counters == counters,
                })
                .max_by_key(|there| there.counters.map(|counters| u32::MAX - counters.left));
            kept.insert(there.unwrap_or_else(|| {
                let name = EntryName { counters, ..name };
                self.writes.push((name, text));
                name
            }));
        }
        kept
    }

    /// Sorts the entries that do not stay into those that nobody needs now and those that the state before needs.
    fn sort_entries(
        &mut self,
        kept: &BTreeSet<EntryName>,
        alone: &dyn Fn(&EntryName) -> bool,
        exists: &dyn Fn(&EntryName) -> bool,
    ) {
        for (name, text) in &self.partition.entries {
            let rewritten = self.writes.iter().any(|(new, _)| new == name);
            if rewritten || !kept.contains(name) && !alone(name) {
                if !name.fits(text) || !exists(name) {
                    self.gone_entries.push(*name);
                } else {
                    self.old_entries.push(*name);
                }
            }
        }
    }

    /// Sorts the files likewise. A file goes after all entries that name it, whoever wrote these.
    fn sort_files(&mut self, wanted: &BTreeMap<KernelFile, u64>) {
        let partition = self.partition;
        let missing = wanted.iter().filter(|(file, size)| !partition.has(file, **size));
        self.copies = missing.map(|(file, size)| (*file, *size)).collect();
        let said: Vec<(EntryName, Said)> =
            partition.sound_entries().map(|(name, said)| (*name, said)).collect();
        let named = |file: &KernelFile, but: &[&[EntryName]]| {
            said.iter()
                .filter(|(name, _)| !but.iter().any(|gone| gone.contains(name)))
                .any(|(_, said)| names(said, file))
        };
        let unwanted =
            |file: &&KernelFile| !wanted.contains_key(file) && !partition.foreign.contains(file);
        for file in partition.files.keys().filter(unwanted) {
            if !named(file, &[&self.gone_entries]) {
                self.gone_files.push(*file);
            } else if !named(file, &[&self.gone_entries, &self.old_entries]) {
                self.old_files.push(*file);
            }
        }
    }

    /// Why all of it does not fit, if so.
    fn shortage(&self) -> Option<Refusal> {
        let partition = self.partition;
        if self.copies.is_empty() && self.writes.is_empty() {
            return None;
        }
        let taken = |file: &KernelFile| {
            partition.files.get(file).map_or(0, |facts| partition.space(facts.size))
        };
        let entries = self.gone_entries.iter().filter_map(|name| partition.entries.get(name));
        let freed: u64 = entries.map(|text| partition.space(text.len() as u64)).sum::<u64>()
            + self.gone_files.iter().map(taken).sum::<u64>()
            + self.copies.iter().map(|(file, _)| taken(file)).sum::<u64>();
        let copies: u64 = self.copies.iter().map(|(_, size)| partition.space(*size)).sum();
        let writes: u64 =
            self.writes.iter().map(|(_, text)| partition.space(text.len() as u64)).sum();
        // Directories are made, and those that are there grow with long names.
        let directories = (partition.missing_directories + 2) * partition.cluster;
        let (have, need) = (partition.free + freed, copies + writes + directories);
        (need > have).then(|| {
            let names: Vec<String> = self
                .copies
                .iter()
                .map(|(file, size)| format!("{} {size}", file.part.name()))
                .chain([format!("entries {writes}"), format!("directories {directories}")])
                .collect();
            Refusal::new(
                format!(
                    "the boot partition at {} is too small: {have} bytes are free once what no generation uses is gone, and {need} bytes are needed ({})",
                    partition.dir.top().display(),
                    names.join(", ")
                ),
                "remove old generations with their kernels: layerctl cleanup --keep 1",
            )
        })
    }

    fn ops(self) -> Aligned {
        let boot = &self.partition.dir;
        let remove = |name| Op::RemoveFromBoot { boot: boot.clone(), name };
        let entries = |names: &[EntryName]| -> Vec<Op> {
            names.iter().map(|name| remove(BootName::Entry(*name))).collect()
        };
        let files = |files: &[KernelFile]| -> Vec<Op> {
            files.iter().map(|file| remove(BootName::File(*file))).collect()
        };
        let mut before = entries(&self.gone_entries);
        before.extend(files(&self.gone_files));
        before.extend(self.copies.iter().map(|(file, size)| {
            let from = self.layout.kernel_file(file);
            Op::CopyToBoot(CopyToBoot { from, boot: boot.clone(), file: *file, size: *size })
        }));
        let mut after = entries(&self.old_entries);
        after.extend(files(&self.old_files));
        before.extend(self.writes.into_iter().map(|(name, text)| Op::WriteEntry {
            boot: boot.clone(),
            name,
            text,
        }));
        Aligned { before, after, notes: self.notes, entries: self.entries }
    }
}

type Startable<'a> = BTreeMap<GenerationId, (&'a Generation, &'a Kernel)>;

/// The generations whose kernel is or can be on the partition, and a line for each other one that should be.
fn startable<'a>(partition: &BootPartition, after: &After<'a>) -> (Startable<'a>, Vec<String>) {
    let (mut startable, mut notes) = (BTreeMap::new(), Vec::new());
    for (id, generation) in &after.generations {
        let Some(kernel) = &generation.kernel else { continue };
        match missing(kernel, partition, after) {
            None => drop(startable.insert(*id, (*generation, kernel))),
            Some(part) => notes.push(format!(
                "generation {id} gets no boot entry: its {part} is missing from the store"
            )),
        }
    }
    (startable, notes)
}

fn missing(kernel: &Kernel, partition: &BootPartition, after: &After<'_>) -> Option<&'static str> {
    let lacks = |(file, size): &(KernelFile, u64)| {
        after.stored.get(file) != Some(size) && !partition.has(file, *size)
    };
    kernel.files().iter().find(|file| lacks(file)).map(|(file, _)| file.part.name())
}

/// A default without a kernel: no matter where nothing on the partition is ours; elsewhere its entry would start it with a
/// kernel of another generation.
fn without_kernel(default: &Generation, partition: &BootPartition) -> Option<Refusal> {
    (!partition.entries.is_empty()).then(|| {
        Refusal::new(
            format!(
                "generation {} has no kernel that the boot partition at {} could start",
                default.id,
                partition.dir.top().display()
            ),
            "import a base that has one; or, where no boot loader reads our entries: --boot none",
        )
    })
}

fn lacking(default: &Generation, partition: &BootPartition) -> Refusal {
    Refusal::new(
        format!(
            "the kernel of generation {} is neither in the store nor on the boot partition at {}",
            default.id,
            partition.dir.top().display()
        ),
        "bring it back: layerctl base import FILE, with the file of its base; or choose another generation: layerctl rollback ID",
    )
}
