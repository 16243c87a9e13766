//! Every verb, stopped before each of its operations, on a real store: what is read afterwards is the old state or the
//! new one, the same change tried again succeeds, and cleanup finds whatever was left.
//!
//! The order that this rests on, for a change that makes a generation: images and manifests (nothing names them yet),
//! the serial (from here on the number is used up), the record (whole, but nothing points to it), `boot/next` away,
//! `boot/default` (the change), the log. So a stop leaves at most images and a record that nobody asked for; cleanup
//! removes them. For cleanup: records first, then uppers and images, so that no record ever names an image that is gone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test works on files and ends with the first surprise"
)]

mod stop;
mod verbs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use layers::exec::{HostError, execute};
use layers::host::LinuxHost;
use layers::manifest::Kind;
use layers::plan::change::{
    Decision, Install, KargsEdit, State, apply_policy, cancel_reset, change_kargs, delete_set,
    install, pin, reset, rollback, sync_boot, uninstall, unpin,
};
use layers::plan::collect::cleanup;
use layers::policy::{Dir, Mode, Policy};
use layers::reset::Reset;
use layers::store::publish;
use layers::store::read::{self, read_state};

use stop::*;
use verbs::*;

#[test]
fn first_base_import() {
    stop_everywhere("first import", Vec::new, || import("base", "13"));
}

#[test]
fn later_base_import() {
    stop_everywhere("later import", start, || import("base2", "14"));
}

#[test]
fn install_two_files() {
    stop_everywhere("install", start, || {
        add(&[("app", "app", "5", &["libfoo"]), ("libfoo", "libfoo", "2", &[])], false)
    });
}

#[test]
fn install_in_place_of_another() {
    stop_everywhere("replace", three, || add(&[("htop2", "htop", "3.5", &[])], true));
}

#[test]
fn install_over_a_generation_to_try_once() {
    let before = || {
        let mut verbs = three();
        // As the next boot would find it; no verb of the command writes it.
        verbs.push(verb(|_, layout, _| {
            publish::file(&layout.next(), &id(1).record()).unwrap();
            Ok(Decision::unchanged("next".into()))
        }));
        verbs
    };
    stop_everywhere("install over next", before, || add(&[("app", "app", "5", &[])], false));
    stop_everywhere("rollback over next", before, || {
        verb(|state, layout, request| rollback(state, layout, None, request))
    });
}

#[test]
fn uninstall_a_layer() {
    stop_everywhere("uninstall", three, || {
        verb(|state, layout, request| uninstall(state, layout, &[name("htop")], request))
    });
}

#[test]
fn sets_are_created_and_deleted() {
    stop_everywhere("set create", three, || make_set("web", &["jq"]));
    let before = || {
        let mut verbs = three();
        verbs.push(make_set("web", &["jq"]));
        verbs
    };
    stop_everywhere("set delete", before, || {
        verb(|state, layout, request| delete_set(state, layout, &"web".parse().unwrap(), request))
    });
}

#[test]
fn pointers_and_pins_move() {
    stop_everywhere("rollback", three, || {
        verb(|state, layout, request| rollback(state, layout, None, request))
    });
    stop_everywhere("pin", three, || {
        verb(|state, layout, request| pin(state, layout, id(1), request))
    });
    let before = || {
        let mut verbs = three();
        verbs.push(verb(|state, layout, request| pin(state, layout, id(1), request)));
        verbs
    };
    stop_everywhere("unpin", before, || {
        verb(|state, layout, request| unpin(state, layout, id(1), request))
    });
}

#[test]
fn bases_bring_kernels_and_attempts() {
    stop_with_boot("first import", Vec::new, || import_whole("base", "13"));
    stop_with_boot("later import", whole, || import_whole("base2", "14"));
    stop_with_boot("install", whole, || add(&[("jq", "jq", "1.7", &[])], false));
    stop_with_boot("uninstall", whole, || {
        verb(|state, layout, request| uninstall(state, layout, &[name("htop")], request))
    });
}

#[test]
fn kernel_arguments_change() {
    stop_with_boot("kargs", whole, || {
        verb(|state, layout, request| {
            let edit = KargsEdit { append: vec!["quiet".into()], ..KargsEdit::default() };
            change_kargs(state, layout, &edit, request)
        })
    });
}

#[test]
fn generations_are_tried_and_marked_good() {
    stop_with_boot("try once", whole, || try_once(1));
    stop_with_boot("install once", whole, || {
        once(|state, layout, request| {
            let files = vec![image("jq", "jq", "1.7", Kind::Layer, &[])];
            install(state, layout, &Install { files, ..Install::default() }, request)
        })
    });
    let tried = || {
        let mut verbs = whole();
        verbs.push(try_once(1));
        verbs
    };
    stop_with_boot("install over a try", tried, || add(&[("jq", "jq", "1.7", &[])], false));
    stop_with_boot("mark good", whole, || good(2));
    let used_up = || {
        let mut verbs = whole();
        verbs.extend([good(2), import_whole("base2", "14"), attempts_left(3, 0), go_back(Some(2))]);
        verbs
    };
    stop_with_boot("rollback to one that is used up", used_up, || go_back(Some(3)));
    stop_with_boot("rollback to another kernel", used_up, || go_back(Some(1)));
    stop_with_boot("another one is good", used_up, || good(3));
}

#[test]
fn a_boot_partition_is_mended() {
    let torn = || {
        let mut verbs = whole();
        verbs.push(import_whole("base2", "14"));
        verbs.push(verb(|_, layout, _| {
            let dir = boot_dir(layout);
            for file in fs::read_dir(dir.files()).unwrap() {
                fs::write(file.unwrap().path(), "torn").unwrap();
            }
            Ok(Decision::unchanged("torn".into()))
        }));
        verbs
    };
    // What it finds is not what must hold at every moment: only its end is.
    let (_whole, layout) = store_with(&torn(), true);
    let count = attempt(&layout, &verb(sync_boot), None).unwrap();
    look(&layout, "sync");
    for stop in 0..count {
        let (_state, layout) = store_with(&torn(), true);
        attempt(&layout, &verb(sync_boot), Some(stop)).unwrap_err();
        attempt(&layout, &verb(sync_boot), None).unwrap();
        look(&layout, &format!("sync, stopped before {stop} of {count}"));
        assert_eq!(attempt(&layout, &verb(sync_boot), None), Ok(0), "{stop}");
    }
}

#[test]
fn policies_and_resets() {
    stop_everywhere("policy apply", three, || {
        verb(|state, layout, request| {
            let mut policy = Policy::default();
            policy.home.mode = Mode::Ephemeral;
            let state = State { policy: Some(policy), ..state.clone() };
            apply_policy(&state, layout, request)
        })
    });
    let ask = |dirs: &'static [Dir]| {
        verb(move |state, layout, request| {
            let asked = Reset { dirs: dirs.to_vec(), keep: Vec::new() };
            reset(state, layout, &asked, read::reset(layout).as_ref(), request)
        })
    };
    stop_everywhere("reset", three, || ask(&[Dir::Var]));
    let asked = || {
        let mut verbs = three();
        verbs.push(ask(&[Dir::Var]));
        verbs
    };
    stop_everywhere("another reset", asked, || ask(&[Dir::Etc, Dir::Home]));
    stop_everywhere("reset --cancel", asked, || {
        verb(|state, layout, request| {
            cancel_reset(state, layout, read::reset(layout).as_ref(), request)
        })
    });
}

#[test]
fn a_cleanup_that_stops_never_takes_what_is_named() {
    let before = || {
        let mut verbs = three();
        verbs.push(import("base2", "14"));
        verbs.push(verb(|state, layout, request| {
            uninstall(state, layout, &[name("htop"), name("jq")], request)
        }));
        verbs.push(verb(|_, layout, _| {
            for number in [1, 3, 5] {
                fs::create_dir_all(layout.etc_upper(Some(id(number))).join("upper/a")).unwrap();
            }
            fs::write(layout.store().join(".tmp-x"), "x").unwrap();
            fs::create_dir_all(layout.shared_upper(Dir::Var).join(".tmp-wiped/a")).unwrap();
            Ok(Decision::unchanged("uppers".into()))
        }));
        verbs
    };
    let gone = || verb(|state, layout, request| cleanup(state, layout, 0, request));
    stop_everywhere("cleanup", before, gone);
    let (whole, layout) = store(&before());
    let count = attempt(&layout, &gone(), None).unwrap();
    assert!(count > 10, "{count} operations: the case has lost its point");
    let all = files(whole.path());
    let (new, _) = look(&layout, "cleanup");
    for stop in 0..count {
        let (state, layout) = store(&before());
        attempt(&layout, &gone(), Some(stop)).unwrap_err();
        assert_eq!(look(&layout, "cleanup").0, new, "{stop}");
        attempt(&layout, &gone(), None).unwrap();
        let again = files(state.path());
        // But for the log and the lock, all is as if it had not been stopped.
        let held = |files: &BTreeSet<(PathBuf, u64)>| -> BTreeSet<(PathBuf, u64)> {
            let told = |path: &Path| path.ends_with("log") || path.ends_with("lock");
            files.iter().filter(|(path, _)| !told(path)).cloned().collect()
        };
        assert_eq!(held(&again), held(&all), "{stop}");
    }
}

#[test]
fn an_operation_that_fails_half_way_is_the_same_as_one_that_was_not_begun() {
    let (_state, layout) = store(&start());
    let (old, _) = look(&layout, "old");
    let replaced = verb(|state, layout, request| {
        let mut file = image("jq", "jq", "1.7", Kind::Layer, &[]);
        // The file changed after it was looked at.
        file.path = IMAGES.path().join("app.img");
        install(state, layout, &Install { files: vec![file], ..Install::default() }, request)
    });
    let state = read_state(&layout, None).unwrap();
    let decision = replaced(&state, &layout, &request()).unwrap();
    let failure = execute(&decision.plan, &mut LinuxHost::new()).unwrap_err();
    assert!(matches!(failure.source, HostError::Digest { .. }), "{failure}");
    let (seen, state) = look(&layout, "failed");
    assert_eq!(seen, old);
    assert!(state.leftovers.is_empty(), "{:?}", state.leftovers);
}
