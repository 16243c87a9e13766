//! What holds for every input: parsers do not panic, text comes back as it went in, every plan passes the checker.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

mod strategies;

use std::collections::{BTreeMap, BTreeSet};

use layers::cmdline::{BootRequest, DeviceSpec};
use layers::generation::Generation;
use layers::id::{Digest, GenerationId, Name, Version};
use layers::layout::BootPaths;
use layers::manifest::Manifest;
use layers::plan::boot::{
    BootFacts, Choices, Pointers, candidates, missing_choice, passed_over, plan_boot,
};
use layers::plan::check::check_boot;
use layers::plan::{Access, Op, Plan};
use layers::policy::{Dir, Mode};
use layers::superblock::{SUPERBLOCK_BYTES, Superblock};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use strategies::*;

/// Whether the selected layers are closed: each has what it needs, and no unusable one is among them.
fn check_layers(generation: &Generation, facts: &BootFacts, layers: &[Name]) {
    let taken: BTreeSet<&Name> = layers.iter().collect();
    assert_eq!(taken.len(), layers.len());
    for name in layers {
        let layer = generation.layer(name).unwrap();
        assert!(layer.requires.iter().all(|need| taken.contains(need)), "{name}");
        assert!(matches!(facts.images.get(&layer.digest), Some(Ok(_))), "{name}");
    }
    let order: Vec<&Name> = generation
        .layers
        .iter()
        .map(|layer| &layer.name)
        .filter(|name| taken.contains(name))
        .collect();
    assert!(order.into_iter().eq(layers));
}

/// Operations that write to the state file system.
fn writes(plan: &Plan, paths: &BootPaths) -> usize {
    let state = paths.state();
    plan.ops
        .iter()
        .filter(|op| match op {
            Op::MakeUpper { upper, .. } => upper.upper.starts_with(&state),
            Op::MountOverlay(overlay) => {
                overlay.upper.iter().any(|upper| upper.upper.starts_with(&state))
            }
            Op::Bind { from, access, .. } => {
                *access != Access::ReadOnly && from.starts_with(&state)
            }
            Op::MountImage { .. } | Op::MountTmpfs { .. } | Op::Unmount { .. } => false,
            Op::DeriveUpper(derive) => {
                derive.to.starts_with(&state) || derive.report.starts_with(&state)
            }
            Op::CopyKept { to: path, .. }
            | Op::HideStamp { upper: path, .. }
            | Op::MakeMachineId { upper: path, .. }
            | Op::MakeBound { dir: path, .. } => path.starts_with(&state),
            _ => true,
        })
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_come_back_as_they_went_in(
        name in name(), version in version(), digest in digest(), id in id(),
    ) {
        prop_assert_eq!(&name.to_string().parse::<Name>().unwrap(), &name);
        prop_assert_eq!(&version.to_string().parse::<Version>().unwrap(), &version);
        prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        prop_assert_eq!(id.to_string().parse::<GenerationId>().unwrap(), id);
        prop_assert_eq!(id.record().trim_end().parse::<GenerationId>().unwrap(), id);
        prop_assert_eq!(id.record().len(), 11);
        prop_assert!(version.compare(&version).is_eq());
    }

    /// What is accepted is safe in a path, on a command line and on a terminal, and is what was given.
    #[test]
    fn a_text_is_refused_or_kept_as_it_is(text in any_text()) {
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(!text.contains(['/', ',', ' ', '=', '"']) && !text.starts_with(['.', '-']));
        }
        if let Ok(version) = text.parse::<Version>() {
            prop_assert_eq!(version.as_str(), &text);
            prop_assert!(!text.contains(['/', '_', ' ']) && !text.starts_with(['.', '-']));
        }
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), &*text);
        }
        if let Ok(id) = text.parse::<GenerationId>() {
            prop_assert_eq!(id.to_string(), text.trim_start_matches('0'));
        }
        if let Ok(spec) = text.parse::<DeviceSpec>() {
            prop_assert_eq!(spec.to_string().parse::<DeviceSpec>().unwrap(), spec);
        }
    }

    #[test]
    fn versions_are_ordered_one_way(a in version(), b in version()) {
        prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
    }

    #[test]
    fn a_command_line_never_panics_and_says_one_line_for_each_problem(
        line in prop_oneof![cmdline(), any_text()],
    ) {
        let request = BootRequest::parse(&line);
        let again = BootRequest::parse(&line);
        prop_assert_eq!(&request, &again);
        for problem in &request.problems {
            prop_assert!(problem.starts_with("layers."), "{}", problem);
            prop_assert!(!problem.contains('\n'), "{:?}", problem);
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_went_in(manifest in manifest()) {
        prop_assert_eq!(Manifest::parse(&manifest.to_string()).unwrap(), manifest);
    }

    #[test]
    fn a_generation_comes_back_as_it_went_in(generation in generation()) {
        let parsed = Generation::parse(&generation.to_string());
        prop_assert_eq!(parsed.unwrap(), generation);
    }

    #[test]
    fn records_never_panic_whatever_they_hold(text in any_text(), bytes in vec(any::<u8>(), 0..99)) {
        for text in [text, String::from_utf8_lossy(&bytes).into_owned()] {
            let _ = Manifest::parse(&text);
            let _ = Generation::parse(&text);
        }
    }

    /// What still parses fits together, and is written as it is read.
    #[test]
    fn changed_records_never_panic(
        generation in generation().prop_flat_map(|generation| mutated(generation.to_string())),
        manifest in manifest().prop_flat_map(|manifest| mutated(manifest.to_string())),
    ) {
        if let Ok(parsed) = Generation::parse(&generation) {
            prop_assert_eq!(parsed.check(), Ok(()));
            prop_assert_eq!(Generation::parse(&parsed.to_string()).unwrap(), parsed);
        }
        if let Ok(parsed) = Manifest::parse(&manifest) {
            prop_assert_eq!(Manifest::parse(&parsed.to_string()).unwrap(), parsed);
        }
    }

    #[test]
    fn superblocks_never_panic(
        mut head in vec(any::<u8>(), 0..=SUPERBLOCK_BYTES), magic in 0..3, length in any::<u64>(),
    ) {
        let magic: (usize, [u8; 4]) = match magic {
            0 => (0, *b"hsqs"),
            1 => (1024, 0xe0f5_e1e2_u32.to_le_bytes()),
            _ => (0, [0; 4]),
        };
        if let Some(place) = head.get_mut(magic.0..magic.0 + 4) {
            place.copy_from_slice(&magic.1);
        }
        if let Ok(superblock) = Superblock::parse(&head, length) {
            prop_assert!(superblock.bytes <= length);
        }
    }

    #[test]
    fn candidates_are_every_generation_once(
        line in cmdline(), ids in btree_set(id(), 0..6), used_up in btree_set(id(), 0..6), parent in proptest::option::of(id()), pointers in [proptest::option::of(id()), proptest::option::of(id()), proptest::option::of(id())],
    ) {
        let [default, next, good] = pointers;
        let pointers = Pointers { default, next, good, ran: None };
        let request = BootRequest::parse(&line);
        let choices = Choices { pointers, ids, parent, used_up };
        let order = candidates(&request, &choices);
        let distinct: BTreeSet<_> = order.iter().copied().collect();
        prop_assert_eq!(distinct.len(), order.len());
        prop_assert!(choices.ids.is_subset(&distinct));
        let _ = missing_choice(&request, &choices);
        if let Some(passed) = passed_over(&request, &choices) {
            prop_assert!(order.iter().position(|id| *id == passed.id) > Some(0));
        }
    }

    #[test]
    fn every_boot_is_a_plan_that_passes_or_a_refusal(
        (generation, facts) in generation().prop_flat_map(|g| { let f = facts(&g); (Just(g), f) }),
        line in cmdline(),
    ) {
        let paths = BootPaths::default();
        let request = BootRequest::parse(&line);
        let Ok(boot) = plan_boot(&request, &generation, &facts, &paths) else {
            // Whatever is refused, the base alone boots, if the base is there and fits the kernel.
            let alone = BootRequest { sets: layers::cmdline::SetChoice::Nothing, add: vec![], ..request };
            if let Err(refusal) = plan_boot(&alone, &generation, &facts, &paths) {
                let layer = matches!(refusal, layers::plan::boot::Refusal::Layer { .. });
                prop_assert!(!layer, "{}", refusal);
            }
            return Ok(());
        };
        let whole = boot.whole();
        prop_assert_eq!(check_boot(&whole, &paths), Ok(()));
        check_layers(&generation, &facts, &boot.layers);
        let modes: BTreeMap<Dir, Mode> = boot.writable.iter().map(|w| (w.dir, w.mode)).collect();
        prop_assert_eq!(modes.len(), 3);
        if facts.read_only.is_some() || request.writes_nothing() {
            prop_assert_eq!(writes(&whole, &paths), 0, "{}", whole);
        }
        // A directory that is not persistent is never written to on disk.
        for (dir, mode) in &modes {
            let scope = generation.writable.etc.scope;
            let own = layers::layout::Layout::new(&paths.state()).upper(*dir, generation.id, scope);
            let touched = boot.plan.ops.iter().any(|op| match op {
                Op::MakeUpper { upper, .. } => upper.upper.starts_with(&own),
                Op::DeriveUpper(derive) => derive.to == own,
                Op::WipeUpper { dir, .. } => *dir == own,
                _ => false,
            });
            prop_assert_eq!(touched, *mode == Mode::Persistent, "{}", dir);
        }
    }
}
