//! /etc, /var and /home over several generations, with the real OverlayFS: whiteouts, opaque marks, binds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use layers::exec::Host;
use layers::host::LinuxHost;
use layers::layout::BootPaths;
use layers::plan::Plan;

use crate::machine::{LAYERS, Machine};
use crate::namespace::{self, Namespace::Privileged};

const KIOSK: [(&str, &[&str]); 1] = [("kiosk", &["home", "usr"])];
const WEB: [(&str, &[&str]); 1] = [("web", &["etc", "usr", "var"])];

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn home_is_bound_or_an_overlay_and_keeps_what_is_in_it() {
    let test = "writable::home_is_bound_or_an_overlay_and_keeps_what_is_in_it";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let machine = Machine::new();
    for name in ["a", "b", "d/c"] {
        machine.write("kiosk", &format!("home/kiosk/{name}"), "of the image");
    }
    let (six, seven) = (Machine::generation(6, &[]), Machine::generation(7, &KIOSK));
    let home = |path: &str| machine.root("home").join(path);
    let bound = |plan: &Plan| !plan.to_string().contains("overlay layerctl:7:home");

    let plan = machine.boot("", &six);
    assert!(bound(&plan), "{plan}");
    fs::create_dir_all(home("me/deep")).unwrap();
    fs::write(home("me/deep/file"), "mine").unwrap();
    fs::create_dir(home("kiosk")).unwrap();
    fs::write(home("kiosk/own"), "mine").unwrap();
    machine.shut_down(&plan);

    let plan = machine.boot("", &seven);
    assert!(!bound(&plan), "{plan}");
    assert_eq!(text(&home("me/deep/file")), "mine");
    assert_eq!(names(&home("kiosk")), ["a", "b", "d", "own"]);
    fs::write(home("kiosk/a"), "changed").unwrap();
    fs::remove_file(home("kiosk/b")).unwrap();
    fs::remove_dir_all(home("kiosk/d")).unwrap();
    fs::create_dir(home("kiosk/d")).unwrap();
    fs::write(home("kiosk/d/new"), "mine").unwrap();
    fs::write(home("me/other"), "mine").unwrap();
    machine.shut_down(&plan);

    let plan = machine.boot("", &six);
    assert_eq!(names(&home("me")), ["deep", "other"]);
    assert_eq!(names(&home("kiosk")), ["a", "d", "own"], "no device where something was deleted");
    assert_eq!(text(&home("kiosk/a")), "changed");
    assert_eq!(text(&home("kiosk/d/new")), "mine");
    fs::write(home("me/third"), "mine").unwrap();
    machine.shut_down(&plan);

    let plan = machine.boot("", &seven);
    assert_eq!(names(&home("me")), ["deep", "other", "third"]);
    assert_eq!(text(&home("kiosk/a")), "changed");
    assert_eq!(text(&home("kiosk/own")), "mine");
    assert_eq!(text(&home("kiosk/d/new")), "mine");
    machine.shut_down(&plan);
}

#[test]
fn what_is_bound_over_var_is_no_overlay_and_its_writes_land_beside_the_upper() {
    let test =
        "writable::what_is_bound_over_var_is_no_overlay_and_its_writes_land_beside_the_upper";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let machine = Machine::new();
    machine.write("base", "var/lib/containers/of-the-image", "image");
    let seven = Machine::generation(7, &LAYERS);
    let dir = machine.layout.uppers().join("var");
    for boot in 0..2 {
        let plan = machine.boot("", &seven);
        let var = |path: &str| machine.root("var").join(path);
        if boot == 0 {
            fs::write(var("lib/docker/image"), "mine").unwrap();
            fs::write(var("lib/other"), "mine").unwrap();
            fs::remove_file(var("lib/containers/of-the-image")).unwrap();
        }
        assert_eq!(text(&var("lib/docker/image")), "mine");
        assert!(names(&var("lib/containers")).is_empty());
        let line = machine.mount(&var("lib/docker"));
        assert!(line.contains(" rw,nodev,") && !line.contains(" overlay "), "{line}");
        // A container's own overlay stands there.
        let stack = |part: &str| var("lib/containers").join(part);
        if boot == 0 {
            ["l", "u", "w"].iter().for_each(|part| fs::create_dir(stack(part)).unwrap());
            let options = ["l", "u", "w"].map(|part| stack(part).to_str().unwrap().to_owned());
            let options =
                format!("lowerdir={},upperdir={},workdir={}", options[0], options[1], options[2]);
            let at = machine.dir.path().join("container");
            fs::create_dir(&at).unwrap();
            sys_mount::Mount::builder()
                .fstype(sys_mount::FilesystemType::from("overlay"))
                .data(&options)
                .mount("container", &at)
                .unwrap();
            fs::write(at.join("x"), "x").unwrap();
            LinuxHost::new().unmount(&at).unwrap();
            ["l", "u", "w"].iter().for_each(|part| fs::remove_dir_all(stack(part)).unwrap());
        }
        machine.shut_down(&plan);
        assert_eq!(text(&dir.join("bound/lib/docker/image")), "mine");
        assert_eq!(text(&dir.join("upper/lib/other")), "mine");
        assert!(names(&dir.join("upper/lib/docker")).is_empty(), "a mount point");
    }
}

/// What the administrator does to /etc in generation 6, over base and layer `one`.
fn administer(machine: &Machine) {
    let etc = |path: &str| machine.root("etc").join(path);
    fs::write(etc("hosts"), "mine").unwrap();
    fs::remove_file(etc("motd")).unwrap();
    fs::remove_file(etc("one.conf")).unwrap();
    fs::remove_dir_all(etc("dir")).unwrap();
    fs::create_dir(etc("dir")).unwrap();
    fs::write(etc("dir/mine"), "mine").unwrap();
    fs::create_dir(etc("web.d")).unwrap();
    fs::write(etc("web.d/mine"), "mine").unwrap();
    let passwd = text(&etc("passwd"));
    fs::write(etc("passwd"), passwd + "me:x:1000:1000::/home/me:/bin/sh\n").unwrap();
}

/// Trees for 6 and 8: `one` has a file that 8 lacks, `web` an account and files in directories that are there.
fn web_machine() -> Machine {
    let machine = Machine::new();
    let root = "root:x:0:0:root:/root:/bin/sh\n";
    machine.write("base", "etc/passwd", root);
    machine.write("base", "etc/dir/base", "base");
    machine.write("one", "etc/one.conf", "one");
    machine.write("web", "etc/passwd", &format!("{root}web:x:990:990::/var/www:/sbin/nologin\n"));
    machine.write("web", "etc/web.d/web.conf", "web");
    machine.write("web", "etc/dir/web", "web");
    machine.write("web", "etc/motd", "motd of web");
    machine.write("web", "usr/web", "web");
    machine.write("web", "var/lib/web", "web");
    machine
}

/// /etc as generation 8 shows it.
fn assert_reconciled(machine: &Machine) {
    let etc = |path: &str| machine.root("etc").join(path);
    assert_eq!(text(&etc("hosts")), "mine");
    assert!(!etc("motd").exists(), "stays deleted");
    let passwd = text(&etc("passwd"));
    for line in ["root:x:0:0", "me:x:1000:1000", "web:x:990:990"] {
        assert!(passwd.contains(line), "{passwd}");
    }
    assert_eq!(names(&etc("web.d")), ["mine", "web.conf"], "shows the image's");
    assert_eq!(names(&etc("dir")), ["mine"], "made anew: hides the image's");
}

#[test]
fn the_etc_of_a_generation_with_another_layer_is_reconciled() {
    let test = "writable::the_etc_of_a_generation_with_another_layer_is_reconciled";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let machine = web_machine();
    let (six, eight) = (Machine::generation(6, &LAYERS), Machine::generation(8, &WEB));
    let plan = machine.boot("", &six);
    administer(&machine);
    let before = names(&machine.root("etc"));
    machine.shut_down(&plan);
    let plan = machine.boot("", &eight);
    assert_reconciled(&machine);
    let upper = machine.layout.uppers().join("etc/8/upper");
    assert!(fs::symlink_metadata(upper.join("one.conf")).is_err(), "nothing is left to hide");
    assert_eq!(fs::symlink_metadata(upper.join("motd")).unwrap().rdev(), 0);
    let report = text(&machine.layout.etc_report(eight.id));
    assert!(report.contains("dir"), "{report}");
    machine.shut_down(&plan);
    // A rollback finds its own.
    let plan = machine.boot("", &six);
    assert_eq!(names(&machine.root("etc")), before);
    machine.shut_down(&plan);
}

#[test]
fn a_frozen_boot_of_a_new_generation_reconciles_its_etc_in_memory() {
    let test = "writable::a_frozen_boot_of_a_new_generation_reconciles_its_etc_in_memory";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    // The report goes to /run/layers, which nobody has made yet so early.
    LinuxHost::new().mount_tmpfs(Path::new("/run"), layers::size::Size::default()).unwrap();
    let machine = web_machine();
    let (six, eight) = (Machine::generation(6, &LAYERS), Machine::generation(8, &WEB));
    let plan = machine.boot("", &six);
    administer(&machine);
    fs::write(machine.root("var/log/x"), "mine").unwrap();
    fs::write(machine.root("var/lib/docker/image"), "mine").unwrap();
    fs::write(machine.root("home/me"), "mine").unwrap();
    for dir in ["etc", "var"] {
        fs::write(machine.root(dir).join(".updated"), "stamp of six").unwrap();
    }
    machine.shut_down(&plan);
    fs::create_dir_all(machine.layout.generation(eight.id)).unwrap();
    let before = machine.state();
    let plan = machine.boot("layers.frozen", &eight);
    assert_reconciled(&machine);
    assert!(Path::new(BootPaths::ETC_REPORT).is_file());
    for dir in ["etc", "var"] {
        assert!(!machine.root(dir).join(".updated").exists(), "{dir}");
    }
    for path in ["etc/hosts", "var/log/x", "var/lib/docker/image", "home/me"] {
        assert_eq!(machine.read(path), "mine", "{path}");
        fs::write(machine.root(path), "gone").unwrap();
    }
    fs::write(machine.root("var/lib/docker/new"), "gone").unwrap();
    machine.shut_down(&plan);
    assert_eq!(machine.state(), before);
}

/// Whoever owns a directory above a bound path can put a link into its way.
#[test]
fn nothing_is_mounted_behind_a_link_of_var() {
    if !namespace::inside("writable::nothing_is_mounted_behind_a_link_of_var", Privileged, 1) {
        return;
    }
    let machine = Machine::new();
    let seven = Machine::generation(7, &LAYERS);
    let outside = machine.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let plan = machine.boot("", &seven);
    fs::write(machine.root("var/lib/docker/image"), "mine").unwrap();
    machine.shut_down(&plan);
    let upper = machine.layout.uppers().join("var/upper");
    fs::remove_dir(upper.join("lib/docker")).unwrap();
    std::os::unix::fs::symlink(&outside, upper.join("lib/docker")).unwrap();
    for cmdline in ["layers.frozen", "layers.ephemeral", ""] {
        let plan = machine.boot(cmdline, &seven);
        let at = outside.to_str().unwrap();
        let behind: Vec<String> =
            machine.mounts().into_iter().filter(|line| line.contains(at)).collect();
        assert!(behind.is_empty(), "{cmdline}: {behind:?}");
        machine.shut_down(&plan);
    }
    assert_eq!(text(&machine.layout.uppers().join("var/bound/lib/docker/image")), "mine");
}

/// Only with the options that a boot gives does the kernel leave new directories without the opaque mark.
#[test]
fn a_directory_that_was_there_before_its_layer_shows_what_the_layer_has() {
    let test = "writable::a_directory_that_was_there_before_its_layer_shows_what_the_layer_has";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let machine = web_machine();
    machine.write("web", "var/lib/web.d/data", "web");
    let (six, eight) = (Machine::generation(6, &LAYERS), Machine::generation(8, &WEB));
    let plan = machine.boot("", &six);
    let dir = machine.root("var/lib/web.d");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("mine"), "mine").unwrap();
    machine.shut_down(&plan);
    let plan = machine.boot("", &eight);
    assert_eq!(names(&dir), ["data", "mine"]);
    fs::remove_file(dir.join("data")).unwrap();
    machine.shut_down(&plan);
    // Without the layer, nothing is seen of what was deleted of it, and all can go.
    let plan = machine.boot("", &six);
    assert_eq!(names(&dir), ["mine"]);
    fs::remove_dir_all(&dir).unwrap();
    machine.shut_down(&plan);
    let plan = machine.boot("", &eight);
    assert_eq!(names(&dir), ["data"], "what was removed was nobody's");
    machine.shut_down(&plan);
}

/// A path that was put on the bind list: only a boot that writes moves what the upper has there.
#[test]
fn a_frozen_boot_shows_what_has_not_moved_yet() {
    if !namespace::inside("writable::a_frozen_boot_shows_what_has_not_moved_yet", Privileged, 1) {
        return;
    }
    let machine = Machine::new();
    let seven = Machine::generation(7, &LAYERS);
    let plan = machine.boot("", &seven);
    machine.shut_down(&plan);
    let dir = machine.layout.uppers().join("var");
    fs::remove_dir(dir.join("bound/lib/docker")).unwrap();
    fs::write(dir.join("upper/lib/docker/image"), "mine").unwrap();
    for cmdline in ["layers.frozen", "", "layers.frozen"] {
        let plan = machine.boot(cmdline, &seven);
        assert_eq!(machine.read("var/lib/docker/image"), "mine", "{cmdline}");
        machine.shut_down(&plan);
    }
    assert!(dir.join("bound/lib/docker/image").is_file());
}
