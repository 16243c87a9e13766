//! `install` and `uninstall`.

use insta::assert_snapshot;

use crate::world::World;

#[test]
fn layers_come_and_go() {
    let world = World::with_base();
    world.layer("htop", "3.4", "");
    world.layer("tree", "2.2", "");
    assert_snapshot!(world.run(&[
        "install ./htop_3.4.img --dry-run",
        "install ./htop_3.4.img tree_2.2.img",
        "install ./htop_3.4.img",
        "install htop tree --unchanged-exit-77",
        "uninstall htop --dry-run",
        "uninstall htop",
        "uninstall htop",
        "install htop --verbose",
        "uninstall htop tree --quiet",
        "status",
        "history",
    ]));
}

#[test]
fn an_image_without_a_manifest_is_named_by_its_file_or_by_the_options() {
    let world = World::with_base();
    world.layer_tree("htop", "3.4");
    world.shell("mksquashfs htop-3.4 htop_3.4_x86-64.raw -quiet -no-progress >/dev/null");
    world.shell(
        "echo x >htop-3.4/x; mksquashfs htop-3.4 odd.squashfs -quiet -no-progress >/dev/null",
    );
    assert_snapshot!(world.run(&[
        "install odd.squashfs",
        "install odd.squashfs --name odd --version 1",
        "install htop_3.4_x86-64.raw",
        "install odd.squashfs --name other --version 1",
        "status",
    ]));
}

#[test]
fn what_a_layer_needs_comes_and_goes_with_it() {
    let world = World::with_base();
    world.layer("lib", "1", "");
    world.layer("app", "2", "--requires lib");
    assert_snapshot!(world.run(&[
        "install app_2.img",
        "install app_2.img lib_1.img",
        "uninstall lib",
        "uninstall app lib",
        "install app",
        "status",
        "uninstall lib",
        "uninstall app",
        "status",
    ]));
}

#[test]
fn another_image_of_the_same_name_needs_replace() {
    let world = World::with_layers();
    world.layer("htop", "3.5", "");
    assert_snapshot!(world.run(&[
        "install htop_3.4.img htop_3.5.img",
        "install htop_3.5.img",
        "install htop_3.5.img --replace",
        "install htop",
        "status",
    ]));
}

#[test]
fn a_layer_can_be_added_to_a_set_of_its_own() {
    let world = World::with_layers();
    world.layer("nginx", "1.26", "");
    assert_snapshot!(world.run(&[
        "install nginx_1.26.img --set web",
        "set create web",
        "install nginx_1.26.img --set web",
        "set show web",
        "status",
    ]));
}

#[test]
fn bad_requests_are_refused() {
    let world = World::with_layers();
    world.layer("jq", "1", "--architecture arm64");
    world.done("build base --kind base --name debian --version 13.1 -o base.img");
    let lines = [
        "install vim",
        "install 'v i'",
        "install ./vim_9.img",
        "install ./htop-3.4",
        "install base.img",
        "install jq_1.img",
        "install htop --name a --version 1",
        "install htop_3.4.img --name other",
        "install htop --set 'a b'",
        "uninstall vim",
        "uninstall v/i",
    ];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
}

#[test]
fn nothing_can_be_installed_before_a_base() {
    let world = World::new();
    world.done("init");
    world.layer("htop", "3.4", "");
    let lines = ["install htop_3.4.img", "uninstall htop", "rollback", "set create a", "plan"];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
}

#[test]
fn an_image_that_was_lost_is_brought_back() {
    let world = World::with_layers();
    std::fs::remove_file(world.image("htop_3.4.toml")).unwrap();
    assert_snapshot!(world.run(&[
        "install tree_2.2.img htop",
        "verify",
        "install htop_3.4.img",
        "verify --quiet",
    ]));
}
