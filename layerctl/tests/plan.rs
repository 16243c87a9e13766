//! `plan`.

use insta::assert_snapshot;

use crate::world::World;

#[test]
fn a_plan_shows_what_a_boot_would_mount() {
    let world = World::with_layers();
    assert_snapshot!(world.run(&[
        "plan",
        "plan --cmdline 'layers.set=none layers.ephemeral'",
        "plan --generation 2 --json",
    ]));
}

#[test]
fn what_cannot_be_honoured_is_said() {
    let world = World::with_layers();
    assert_snapshot!(world.run(&[
        "plan --cmdline 'layers.set=web layers.add=jq layers.skip=htop layers.wipe=opt layers.generation=previous'",
        "plan --generation 9 --json",
    ]));
}

#[test]
fn candidates_that_do_not_boot_are_named() {
    let world = World::with_layers();
    world.write("state/layerctl/generations/3/generation.toml", "no toml");
    std::fs::remove_file(world.image("htop_3.4.toml")).unwrap();
    assert_snapshot!("a_layer_is_left_out", world.run(&["plan"]));
    for image in world.images() {
        std::fs::remove_file(image).unwrap();
    }
    assert_snapshot!("none_is_left", world.run(&["plan", "plan --json"]));
}
