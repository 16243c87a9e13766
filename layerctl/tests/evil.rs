//! Layers that somebody made to take a machine over: each is refused unless the manifest that was signed says what it has.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::process::Output;

use crate::world::{World, render};

mod case;
mod cases;
mod names;

use case::{Case, How, Says};

/// Policies that refuse in other words, after what is granted was looked at.
const ALLOW: &str = "--allow devices,kinds,identity,setuid,capabilities,directories,shadowing,var";

/// Where signatures are required.
const TRUST: &str = "--trust trust";

/// A world with a base that has what layers may want to take over, and that requires signatures.
fn world() -> World {
    let world = World::new();
    let key = world.key("good");
    world.base_tree("base");
    world.shell(
        "cd base; mkdir -p usr/bin usr/share/doc etc/pam.d usr/lib/systemd/system usr/lib/udev/rules.d usr/lib64 opt root
         echo vi >usr/bin/vi; echo sudo >usr/bin/sudo; echo x >etc/pam.d/sudo; ln -s usr/bin bin
         echo ssh >usr/lib/systemd/system/ssh.service; echo rule >usr/lib/udev/rules.d/50-base.rules",
    );
    world.done("init");
    world.done("build base --kind base --name debian --version 13 -o debian_13.img");
    world.done("sign debian_13.img --key good.key");
    world.done("base import debian_13.img");
    world.write("trust", format!("verify require\n{key}\n"));
    world
}

/// Makes the tree of a case, and of it the image evil_1.img.
fn make(world: &World, case: &Case) {
    world.shell("rm -rf t evil_1.img evil_1.toml*; mkdir -p t/usr/bin t/usr/share/doc; echo x >t/usr/share/doc/evil");
    world.shell(&format!("cd t; {}", case.tree));
    for (path, name, value) in case.marks {
        world.mark(&format!("t/{path}"), name, value);
    }
    match case.how {
        How::Squashfs | How::Erofs | How::Patched(..) => {}
        How::Socket(path) => drop(UnixListener::bind(world.path("t").join(path)).unwrap()),
        How::Name(bytes) => {
            fs::write(world.path("t/usr/bin").join(OsStr::from_bytes(bytes)), "x").unwrap();
        }
    }
    world.shell(match case.how {
        How::Squashfs => "mksquashfs t evil_1.img -quiet -no-progress >/dev/null",
        _ => "mkfs.erofs --quiet evil_1.img t",
    });
    if let How::Patched(old, new) = case.how {
        let image = world.read("evil_1.img");
        let mut patched = image.clone();
        for at in 0..image.len() - old.len() {
            if &image[at..at + old.len()] == old {
                patched[at..at + new.len()].copy_from_slice(new);
            }
        }
        assert_ne!(patched, image, "{}", case.name);
        world.write("evil_1.img", patched);
    }
}

/// Writes the manifest that goes with evil_1.img, and signs it.
fn describe(world: &World, case: &Case, grants: &str) {
    let size = fs::metadata(world.path("evil_1.img")).unwrap().len();
    let digest = world.shell("sha256sum evil_1.img");
    let digest = digest.split(' ').next().unwrap();
    let dirs = world.shell(
        "cd t; for d in *; do if [ -d \"$d\" ] && [ ! -L \"$d\" ] && [ -n \"$(ls -A \"$d\")\" ]; then echo \"$d\"; fi; done",
    );
    let dirs: Vec<&str> = dirs.lines().collect();
    let format = if matches!(case.how, How::Squashfs) { "squashfs" } else { "erofs" };
    let deletes = case.deletes;
    let text = format!(
        "schema = 1\nname = \"evil\"\nversion = \"1\"\nkind = \"layer\"\narchitecture = \"any\"\nformat = \"{format}\"\n\
         size = {size}\ndigest = \"{digest}\"\ndirs = {dirs:?}\ndeletes = {deletes:?}\n{grants}"
    );
    world.write("evil_1.toml", text);
    world.done("sign evil_1.img --key good.key");
}

fn install(world: &World, options: &str) -> Output {
    world.command(&format!("{TRUST} install {options} {ALLOW} evil_1.img")).output().unwrap()
}

/// Installs a case without a grant, which must change nothing and say why, and, where a grant makes it right, with it.
fn try_case(world: &World, case: &Case) {
    make(world, case);
    describe(world, case, "");
    let before = world.store();
    let output = install(world, "");
    let shown = render(case.name, &output);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(before == world.store(), "the store is another one: {shown}");
    let error = String::from_utf8_lossy(&output.stderr);
    match case.says {
        Says::Nothing(what) => assert!(error.contains(what), "{shown}"),
        Says::Grant(line) => {
            let missing = "has what its signed manifest does not grant: ";
            assert!(error.contains(missing) && error.contains(line), "{shown}");
            let grants = world.command("lint --grants evil_1.img").output().unwrap();
            let grants = String::from_utf8(grants.stdout).unwrap();
            assert!(grants.starts_with("grants = ["), "{}: {grants}", case.name);
            describe(world, case, &grants);
            let output = install(world, "--dry-run");
            assert!(output.status.success(), "with {grants}{}", render(case.name, &output));
        }
    }
}

fn try_all(cases: &[Case]) {
    let world = world();
    cases.iter().for_each(|case| try_case(&world, case));
}

#[test]
fn programs_that_run_as_somebody_else_and_what_is_no_file() {
    try_all(&cases::NODES);
}

#[test]
fn attributes_modes_and_owners() {
    try_all(&cases::RIGHTS);
}

#[test]
fn files_that_decide_who_may_do_what() {
    try_all(&cases::MASKS);
}

#[test]
fn names_links_and_sizes() {
    try_all(&names::NAMES);
}

#[test]
fn there_are_enough_of_them_and_no_two_are_one() {
    let all =
        [&cases::NODES[..], &cases::RIGHTS[..], &cases::MASKS[..], &names::NAMES[..]].concat();
    let names: std::collections::BTreeSet<&str> = all.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.len() >= 60, "{}", all.len());
    let rights = layers::grants::Right::ALL;
    for right in rights {
        let says =
            |case: &Case| matches!(case.says, Says::Grant(line) if line.starts_with(right.word()));
        assert!(all.iter().any(says), "no layer that needs {}", right.word());
    }
}

#[test]
fn what_nothing_makes_right_is_refused_without_signatures_too() {
    let world = world();
    world.write("trust", "verify off\n");
    for case in cases::RIGHTS.iter().filter(|case| case.name.contains("overlay.redirect")) {
        make(&world, case);
        let refused = world.refused("install evil_1.img");
        assert!(refused.contains("which is OverlayFS's own"), "{refused}");
        let linted = world.run(&["lint evil_1.img"]);
        assert!(linted.contains("flaws") && linted.contains("exit 1"), "{linted}");
    }
}

#[test]
fn a_layer_without_a_grant_installs_where_no_signature_is_asked_for() {
    let world = world();
    world.write("trust", "verify off\n");
    let case = &cases::NODES[0];
    make(&world, case);
    let output = install(&world, "");
    assert!(output.status.success(), "{}", render(case.name, &output));
    // What is there already is not judged again, but what is put over it is.
    world.write("trust", "verify require\n");
    let linted =
        world.run(&["--trust trust lint evil", "lint evil --grants", "lint evil --grants --json"]);
    insta::assert_snapshot!(linted);
}

#[test]
fn a_line_that_grants_nothing_is_told() {
    let world = world();
    make(&world, &cases::NODES[0]);
    describe(&world, &cases::NODES[0], "grants = [\"suid /usr/bin/x\"]\n");
    let refused = world.refused("--trust trust install evil_1.img");
    assert!(
        refused.contains("\"suid /usr/bin/x\" is no grant: nobody knows its first word"),
        "{refused}"
    );
}
