//! What a command is allowed to do: the capabilities that it lacks are named before anything is done.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

use crate::world::{World, render};

/// The words of a command, what it is given, and what it needs.
const VERBS: [(&str, &str, &str); 53] = [
    ("init", "", "dac_override"),
    ("base import", "base", "dac_override,sys_admin"),
    ("build", "htop-3.4 --name h --version 1 -o h.img", ""),
    ("install", "htop_3.4.img", "dac_override,sys_admin"),
    ("uninstall", "htop", "dac_override,sys_admin"),
    ("override remove", "vim", "dac_override,sys_admin"),
    ("override replace", "vim.deb", "dac_override,sys_admin"),
    ("override reset", "vim", "dac_override,sys_admin"),
    ("set create", "spare htop", "dac_override,sys_admin"),
    ("set delete", "spare", "dac_override,sys_admin"),
    ("set list", "", ""),
    ("set show", "default", ""),
    ("etc status", "", ""),
    ("etc diff", "", ""),
    ("etc conflicts", "", ""),
    ("etc reset", "/etc/passwd", "chown,dac_override,fowner,sys_admin"),
    ("etc take", "--mine /etc/passwd", "chown,dac_override,fowner,sys_admin"),
    ("etc sync", "--from 1", "chown,dac_override,fowner,sys_admin"),
    ("policy", "", ""),
    ("policy apply", "", "dac_override"),
    ("reset", "", "dac_override"),
    ("kargs", "--append=quiet", "dac_override"),
    ("boot list", "", ""),
    ("boot sync", "", "dac_override"),
    ("status", "", ""),
    ("history", "", ""),
    ("rollback", "", "dac_override"),
    ("mark-good", "1", "dac_override"),
    ("health", "", ""),
    ("pin", "1", "dac_override"),
    ("unpin", "1", "dac_override"),
    ("cleanup", "", "dac_override,fowner"),
    ("verify", "", ""),
    ("lint", "htop_3.4.img", ""),
    ("which", "/etc", ""),
    ("files", "htop", ""),
    ("diff", "", ""),
    ("plan", "", ""),
    ("initrd", "-o initrd", ""),
    ("repo", "", ""),
    ("search", "", ""),
    ("upgrade", "", "dac_override,sys_admin"),
    ("key generate", "", ""),
    ("sign", "htop_3.4.img --key k.key", ""),
    ("downgrade allow", "layer htop 1 --key k.key", "dac_override"),
    ("downgrade list", "", ""),
    ("downgrade reset", "", "dac_override"),
    ("trust show", "", ""),
    ("trust revoke", "0123456789ABCDEF", "dac_override"),
    ("trust require", "", "dac_override"),
    ("completions", "bash", ""),
    ("man", "", ""),
    ("override", "", ""),
];

/// Types a command in a process that lacks a capability.
fn without(world: &World, capability: &str, line: &str) -> Output {
    Command::new("setpriv")
        .arg(format!("--bounding-set=-{capability}"))
        .arg(format!("--inh-caps=-{capability}"))
        .arg(assert_cmd::cargo::cargo_bin("layerctl"))
        .args(["--root", "state"])
        .args(line.split_whitespace())
        .current_dir(world.path("."))
        .output()
        .unwrap()
}

#[test]
fn commands_that_write_name_the_capability_that_they_lack() {
    let world = World::with_layers();
    let before = world.store();
    for (verb, rest, needed) in VERBS {
        for capability in needed.split(',').filter(|name| !name.is_empty()) {
            let line = format!("{verb} {rest}");
            let output = without(&world, capability, &line);
            let shown = render(&line, &output);
            let name = capability.to_uppercase();
            let said = format!(
                "error: layerctl {verb} needs CAP_{name}, which this process does not have"
            );
            assert_eq!(output.status.code(), Some(1), "{shown}");
            assert!(shown.contains(&said), "{said}: {shown}");
            assert!(shown.contains("nothing was changed\nhint: run it as root"), "{shown}");
        }
    }
    assert!(before == world.store(), "a command that was refused changed the store");
    let both = without(&world, "sys_admin,-dac_override", "install htop_3.4.img");
    let said = "layerctl install needs CAP_DAC_OVERRIDE, CAP_SYS_ADMIN, which";
    assert!(render("install", &both).contains(said), "{both:?}");
}

#[test]
fn every_command_has_its_line() {
    let world = World::new();
    world.done("man --output pages");
    let known: BTreeSet<String> = VERBS.iter().map(|(verb, ..)| verb.replace(' ', "-")).collect();
    for entry in fs::read_dir(world.path("pages")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let page =
            name.trim_end_matches(".1").trim_start_matches("layerctl").trim_start_matches('-');
        // What only groups others, and repositories, which are files like others.
        let group = ["", "base", "set", "etc", "boot", "key", "downgrade", "trust"].contains(&page)
            || page.starts_with("repo-");
        assert!(group || known.contains(page), "no line for {page}");
    }
}

#[test]
fn nobody_else_may_look_into_a_store() {
    let world = World::with_layers();
    let mode = |path: &str| fs::metadata(world.path(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("state/layerctl"), 0o700);
    world.chmod("state/layerctl", 0o755);
    insta::assert_snapshot!(world.run(&["pin 1", "unpin 1"]));
    assert_eq!(mode("state/layerctl"), 0o700);
}
