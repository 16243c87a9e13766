//! `set`.

use insta::assert_snapshot;

use crate::world::World;

#[test]
fn sets_are_made_shown_and_deleted() {
    let world = World::with_layers();
    assert_snapshot!(world.run(&[
        "set list",
        "set create minimal --dry-run",
        "set create minimal",
        "set create tools tree htop",
        "set create tools tree htop",
        "set list",
        "set list --json",
        "set show minimal",
        "set show tools",
        "set show tools --json",
        "set delete minimal",
        "set list",
        "history",
    ]));
}

#[test]
fn bad_requests_are_refused() {
    let world = World::with_layers();
    world.done("set create tools htop");
    let lines = [
        "set create none",
        "set create default htop",
        "set create 'a b'",
        "set create tools tree",
        "set create web nginx",
        "set delete default",
        "set delete web",
        "set show web",
    ];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
}
