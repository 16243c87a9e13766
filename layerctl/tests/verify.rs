//! `verify`.

use std::fs;

use insta::assert_snapshot;

use crate::world::World;

#[test]
fn a_sound_store_is_good() {
    let world = World::with_layers();
    assert_snapshot!(world.run(&["verify", "verify --json", "verify --quiet"]));
}

#[test]
fn damage_is_found_named_and_can_be_healed() {
    let world = World::with_layers();
    let htop = world.image("htop_3.4.toml");
    let mut bytes = fs::read(&htop).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&htop, bytes).unwrap();
    fs::remove_file(world.image("tree_2.2.toml")).unwrap();
    world.write(&format!("state/layerctl/store/{}.img", "0".repeat(64)), "nobody's");
    fs::write(htop.with_extension("toml"), "kind = 3").unwrap();
    let mut text = world.run(&["verify", "verify --json"]);
    fs::remove_file(&htop).unwrap();
    text += &world.run(&["install htop_3.4.img tree_2.2.img", "verify"]);
    assert_snapshot!(text);
}
