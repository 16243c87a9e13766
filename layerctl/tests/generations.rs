//! `status`, `history`, `rollback`, `pin`, `unpin`, `cleanup`.

use insta::assert_snapshot;

use crate::world::World;

#[test]
fn status_shows_all_generations_newest_first() {
    let world = World::with_layers();
    world.done("pin 2");
    world.write("state/layerctl/boot/good", "0000000001\n");
    world.write("state/layerctl/boot/next", "0000000002\n");
    assert_snapshot!(world.run(&["status", "status --json", "history --json"]));
}

#[test]
fn a_damaged_generation_is_named_and_the_others_are_shown() {
    let world = World::with_layers();
    world.write("state/layerctl/generations/2/generation.toml", "schema = 1\nid = two\n");
    world.write("state/layerctl/generations/1/generation.toml", "schema = 9\n");
    world.write("state/layerctl/boot/good", "nine\n");
    assert_snapshot!(world.run(&[
        "status",
        "status --json",
        "rollback",
        "rollback 2",
        "cleanup",
        "verify",
        "plan --generation 2",
        "uninstall htop",
    ]));
}

#[test]
fn a_rollback_moves_the_pointer_and_writes_no_image() {
    let world = World::with_layers();
    let images = world.images();
    assert_snapshot!(world.run(&[
        "rollback --dry-run",
        "rollback",
        "rollback 2 --unchanged-exit-77",
        "rollback",
        "rollback",
        "rollback 3",
        "rollback 7",
        "rollback 0",
        "history",
    ]));
    assert_eq!(images, world.images());
}

#[test]
fn a_change_after_a_rollback_starts_from_where_it_led() {
    let world = World::with_layers();
    world.layer("jq", "1", "");
    assert_snapshot!(world.run(&["rollback 1", "install jq_1.img", "status"]));
}

#[test]
fn a_generation_whose_image_is_gone_is_no_way_back() {
    let world = World::with_layers();
    std::fs::remove_file(world.image("htop_3.4.toml")).unwrap();
    assert_snapshot!(["rollback 2", "uninstall tree"].map(|line| world.refused(line)).concat());
}

#[test]
fn cleanup_keeps_what_is_needed() {
    let world = World::with_layers();
    world.done("uninstall htop");
    world.done("uninstall tree");
    world.write("state/layerctl/generations/.tmp-9/x", "");
    world.write("state/layerctl/upper/etc/2/upper/x", "");
    assert_snapshot!(world.run(&[
        "pin 1",
        "pin 1 --unchanged-exit-77",
        "pin 9",
        "cleanup --keep 1 --dry-run",
        "cleanup --keep 1",
        "status",
        "cleanup --keep 1",
        "unpin 1",
        "unpin 1",
        "cleanup --keep 0",
        "status",
        "verify",
        "install htop",
        "history",
    ]));
}
