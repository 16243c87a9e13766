//! `policy`, and the file whose policy each change freezes.

use insta::assert_snapshot;

use crate::world::World;

const FILE: &str =
    "[writable.etc]\nscope = \"shared\"\n\n[writable.home]\nmode = \"ephemeral\"\nsize = \"1G\"\n";

#[test]
fn the_policy_is_shown_and_applied() {
    let world = World::with_layers();
    world.write("layerctl.toml", FILE);
    assert_snapshot!(world.run(&[
        "policy",
        "policy --json",
        "policy apply",
        "--config layerctl.toml policy",
        "--config layerctl.toml policy apply --dry-run",
        "--config layerctl.toml policy apply",
        "--config layerctl.toml --unchanged-exit-77 policy apply",
        "--config layerctl.toml policy --json",
        "history",
    ]));
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let world = World::with_layers();
    world.write("layerctl.toml", FILE);
    world.done("--config layerctl.toml policy apply");
    let printed = world.command("policy").output().unwrap().stdout;
    world.write("printed.toml", printed);
    assert_snapshot!(world.run(&["--config printed.toml policy apply"]));
}

#[test]
fn every_change_that_makes_a_generation_freezes_it() {
    let world = World::with_base();
    world.layer("htop", "3.4", "");
    world.base_tree("other");
    world.write("other/usr/other", "");
    let shared = "[writable.etc]\nscope = \"shared\"\n";
    let frozen = |id: u32| {
        let path = format!("state/layerctl/generations/{id}/generation.toml");
        String::from_utf8(world.read(&path)).unwrap().contains("scope = \"shared\"")
    };
    let lines = [
        "install htop_3.4.img",
        "set create web",
        "set delete web",
        "uninstall htop",
        "base import other",
    ];
    for (line, id) in lines.into_iter().zip((2..).step_by(2)) {
        world.write("layerctl.toml", shared);
        world.done(&format!("--config layerctl.toml {line}"));
        assert!(frozen(id), "{line}");
        // An empty file means the defaults.
        world.write("layerctl.toml", "");
        world.done("--config layerctl.toml policy apply");
        assert!(!frozen(id + 1), "{line}");
    }
    // Without a file the policy of the generation before stays.
    world.write("layerctl.toml", shared);
    world.done("--config layerctl.toml policy apply");
    world.done("set create web");
    assert!(frozen(13));
}

#[test]
fn a_file_that_is_not_understood_stops_changes_and_nothing_else() {
    let world = World::with_layers();
    world.write("layerctl.toml", "[writable.etc]\nmode = \"frozen\"\nkeeep = []\n");
    let lines = [
        "uninstall htop",
        "install tree_2.2.img",
        "set create web",
        "set delete web",
        "base import base",
        "policy apply",
        "policy",
    ];
    let text = lines.map(|line| world.refused(&format!("--config layerctl.toml {line}")));
    assert_snapshot!(text.concat());
    let lines = ["rollback", "pin 1", "cleanup", "reset", "set list"];
    assert_snapshot!(
        "others",
        world.run(
            &lines.map(|l| format!("--config layerctl.toml {l}")).each_ref().map(String::as_str)
        )
    );
}

#[test]
fn errors_name_the_line() {
    let world = World::with_layers();
    let mut text = String::new();
    for file in [
        "[writable]\nroot = 1\n",
        "[writable.etc\n",
        "\n[writable.etc]\nmode = \"forever\"\n",
        "[writable.etc]\nkeep = [\"/etc/a\", \"/var/b\"]\n",
        "[writable.var]\nbind = [\"lib/containers\"]\n",
        "[writable.var]\nsize = \"0%\"\n",
        "[writable.var]\nscope = \"shared\"\n",
        "[writable.home]\nmode = \"frozen\"\nmode = \"frozen\"\n",
    ] {
        world.write("layerctl.toml", file);
        text += &format!("{file}{}", world.refused("--config layerctl.toml policy apply"));
    }
    text += &world.refused("--config nowhere.toml policy apply");
    assert_snapshot!(text);
}

#[test]
fn the_running_system_has_a_file_of_its_own() {
    let world = World::with_layers();
    world.write(
        "script",
        "exec 2>&1
        mount -t tmpfs none /run
        mkdir -p /run/initramfs/layers/state
        mount --bind state /run/initramfs/layers/state
        mount -t tmpfs none /etc
        layerctl policy apply || echo \"--- exit $?\"
        mkdir /etc/layerctl
        echo '[writable.etc]' >/etc/layerctl/layerctl.toml
        echo 'scope = \"shared\"' >>/etc/layerctl/layerctl.toml
        layerctl uninstall htop
        layerctl policy | grep scope
        echo 'scope = \"none\"' >/etc/layerctl/layerctl.toml
        layerctl install htop || echo \"--- exit $?\"
        layerctl --root state set create web
    ",
    );
    assert_snapshot!(world.shell("unshare -m --propagation private sh -eu script"));
}
