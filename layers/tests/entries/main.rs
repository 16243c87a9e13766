//! Any sequence of changes, boots and accidents on a model of a boot partition: what boot loaders find there is whole at
//! every moment, it fits, and it comes back in line.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

mod model;

use std::path::Path;

use layers::attempts::Attempts;
use layers::entry::{Counters, EntryName, Foreign, NAME_MAX, Said, words};
use layers::kernel::Kernel;
use layers::layout::Layout;
use layers::plan::check::check_change;
use proptest::collection::vec;
use proptest::prelude::*;

use model::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_boot_partition_is_whole_at_every_moment(
        clusters in 30..120_u64,
        events in vec((event(), proptest::option::weighted(0.3, any::<prop::sample::Index>())), 1..30),
    ) {
        let mut model = Model::new(clusters * CLUSTER);
        let first = (Event::Import(1, Some(0)), None);
        for (event, stop) in std::iter::once(&first).chain(&events) {
            model.happen(event);
            let layout = model.layout.clone();
            let Some(Ok(decision)) = decide(event, &model.state, &layout) else { continue };
            let ops = &decision.plan.ops;
            prop_assert_eq!(check_change(&decision.plan, &layout), Ok(()));
            let had_default = model.has_default();
            let whole = stop.is_none();
            for op in &ops[..stop.map_or(ops.len(), |stop| stop.index(ops.len() + 1))] {
                model.apply(op);
                model.check(had_default);
            }
            // A cleanup of a partition that is too full removes what it can, and that is all.
            if whole && !ops.is_empty() && !matches!(event, Event::Cleanup(_) | Event::Boot(_)) {
                model.check_in_line();
            }
        }
        // Whatever happened: where there is room, a look at all brings the partition in line, and once is enough.
        model.capacity = 1 << 30;
        model.measure();
        let kernels = model.state.generations.values().filter_map(|one| one.kernel.as_ref());
        let kernels: Vec<_> = kernels.flat_map(Kernel::files).collect();
        model.state.kernels.extend(kernels.iter().copied());
        for bad in model.bad.clone() {
            if let Some(facts) = model.boot_mut().files.get_mut(&bad) {
                facts.sound = Some(false);
            }
        }
        let start = model.state.start().unwrap();
        if start.kernel.is_some() {
            let layout = model.layout.clone();
            let decision = decide(&Event::Sync, &model.state, &layout).unwrap().unwrap();
            decision.plan.ops.iter().for_each(|op| model.apply(op));
            let lost = kernels.iter().any(|(file, _)| model.lost.contains(file));
            prop_assert!(!lost, "a file of a generation that can be read is not back");
            model.check(false);
            model.check_in_line();
            let again = decide(&Event::Sync, &model.state, &layout).unwrap().unwrap();
            prop_assert!(again.is_unchanged(), "{}", again.plan);
        }
    }

    #[test]
    fn names_of_entries_come_back(
        default in any::<bool>(), id in 1..u32::MAX, text in ".{0,40}",
        counters in proptest::option::of((any::<u32>(), proptest::option::of(any::<u32>()))),
    ) {
        let counters = counters.map(|(left, done)| Counters { left, done });
        let name = EntryName::of(default, self::id(id), &text, counters);
        let file = name.to_string();
        prop_assert_eq!(file.parse::<EntryName>(), Ok(name));
        prop_assert!(file.len() <= NAME_MAX);
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "+_.-".contains(letter);
        prop_assert!(file.chars().all(plain));
    }

    #[test]
    fn any_text_is_an_entry_of_somebody(name in ".{0,60}", text in "(?s).{0,200}") {
        if let Ok(ours) = name.parse::<EntryName>() {
            prop_assert_eq!(ours.to_string(), name);
        } else {
            prop_assert_eq!(name.parse::<EntryName>(), Err(Foreign));
        }
        let said = Said::parse(&text);
        prop_assert!(said.files.iter().all(|path| !path.starts_with('/')));
        prop_assert!(words(&text).iter().all(|word| !word.is_empty()));
    }
}

#[test]
fn attempts_that_begin_anew_have_a_name_of_their_own() {
    let layout = Layout::new(Path::new("/state"));
    let mut model = Model::new(1 << 30);
    let run = |model: &mut Model, event: &Event| {
        let decision = decide(event, &model.state, &layout).unwrap().unwrap();
        decision.plan.ops.iter().for_each(|op| model.apply(op));
    };
    run(&mut model, &Event::Import(1, Some(0)));
    run(&mut model, &Event::Import(2, Some(1)));
    for _ in 0..3 {
        model.start();
    }
    assert_eq!(model.state.tries.get(&id(2)), Some(&Attempts(0)));
    let default = |model: &Model| {
        let name = model.boot().entries.keys().copied().find(|name| name.default);
        name.unwrap().counters.unwrap()
    };
    assert_eq!(default(&model), Counters { left: 0, done: Some(3) });
    // The boot loader has given it up, and starts the one before, as init would.
    model.start();
    assert_eq!(model.state.booted, Some(id(1)));
    run(&mut model, &Event::Rollback(Some(2)));
    assert_eq!(default(&model), Counters { left: 3, done: None });
}
