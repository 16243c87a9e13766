//! Help, completions, manual pages, usage errors.

use insta::assert_snapshot;

use crate::world::World;

#[test]
fn help_tells_every_verb_and_option() {
    let world = World::new();
    let verbs = [
        "init",
        "base import",
        "build",
        "install",
        "uninstall",
        "set",
        "set create",
        "set show",
        "etc",
        "etc status",
        "etc diff",
        "etc conflicts",
        "etc reset",
        "etc take",
        "etc sync",
        "policy",
        "policy apply",
        "reset",
        "status",
        "history",
        "rollback",
        "pin",
        "cleanup",
        "verify",
        "lint",
        "which",
        "files",
        "diff",
        "plan",
        "initrd",
        "repo",
        "repo add",
        "repo refresh",
        "repo index",
        "search",
        "upgrade",
        "completions",
        "man",
    ];
    let mut text = world.run(&["--help"]);
    for verb in verbs {
        text += &world.run(&[&format!("{verb} -h")]);
    }
    assert_snapshot!(text);
}

#[test]
fn usage_errors_exit_with_2() {
    let world = World::new();
    assert_snapshot!(world.run(&[
        "",
        "instal",
        "install",
        "rollback two",
        "build tree",
        "set",
        "verify --dry-run",
        "cleanup --json",
        "status -q -v",
    ]));
}

#[test]
fn manual_pages_are_there_for_every_verb() {
    let world = World::new();
    let mut text = world.run(&["man -o pages", "man nothing", "man set nothing"]);
    text += &world.shell("ls pages");
    text += &world.run(&["man cleanup"]);
    assert_snapshot!(text);
    let page = String::from_utf8(world.command("man set create").output().unwrap().stdout).unwrap();
    assert_eq!(page.into_bytes(), world.read("pages/layerctl-set-create.1"));
}

#[test]
fn completions_are_scripts_that_their_shell_takes() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = world.command(&format!("completions {shell}")).output().unwrap();
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["install", "rollback", "unchanged-exit-77"] {
            assert!(script.contains(word), "{shell} knows no {word}");
        }
        world.write(&format!("script.{shell}"), script);
    }
    world.shell("bash -n script.bash");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::with_layers();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin("layerctl"))
        .args(["--root", "state", "status"])
        .current_dir(world.path("."))
        .stdout(writer)
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_terminal_gets_no_colour_where_nobody_looks() {
    let world = World::with_layers();
    let output = world.command("status").output().unwrap();
    assert!(!output.stdout.contains(&0x1b));
}
