//! `etc`, on a state file system that is mounted elsewhere: views are real mounts of real images.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use insta::assert_snapshot;

use crate::world::World;

/// The upper of a generation's /etc.
fn upper(id: u32, path: &str) -> String {
    format!("state/layerctl/upper/etc/{id}/upper/{path}")
}

/// A store with a base and the layer `web`, both with something in /etc, and generation 2's /etc as its administrator
/// left it.
pub(crate) fn world() -> World {
    let world = World::new();
    world.base_tree("base");
    world.write("base/etc/group", "root:x:0:\n");
    world.write("base/etc/shadow", "root:*:20000::::::\n");
    world.chmod("base/etc/shadow", 0o640);
    world.write("base/etc/motd", "welcome\nto debian\n");
    world.write("base/etc/hosts", "127.0.0.1 localhost\n");
    world.write("base/etc/same", "same\n");
    world.write("base/etc/conf.d/a", "a\n");
    world.write("base/etc/conf.d/b", "b\n");
    world.done("init");
    world.done("base import base");
    world.write("web-1/etc/nginx/nginx.conf", "worker 1\n");
    world.write("web-1/etc/motd", "welcome\nto the web\n");
    world.done("build web-1 --name web --version 1 -o web_1.img");
    world.done("install web_1.img");

    world.write(&upper(2, "motd"), "welcome\nto my web\n");
    world.write(&upper(2, "same"), "same\n");
    world.write(&upper(2, "local/one"), "1\n");
    world.write(&upper(2, "nginx/nginx.conf"), "worker 1\n");
    world.chmod(&upper(2, "nginx/nginx.conf"), 0o600);
    world.shell(&format!("mknod {} c 0 0; mknod {} c 0 0", upper(2, "hosts"), upper(2, "conf.d")));
    fs::create_dir(world.path("state/layerctl/upper/etc/2/work")).unwrap();
    world
}

/// Writes the report of generation 2's /etc.
pub(crate) fn report(world: &World) {
    let note = |path: &str, kind: &str, what: &str| {
        format!("{{\"path\": \"{path}\", \"kind\": \"{kind}\", \"what\": \"{what}\"}}")
    };
    let both = "changed by the administrator and by the image; the administrator's stays";
    let notes = [
        note("/etc/conf.d/a", "deleted-by-administrator", "it stays deleted"),
        note("/etc/motd", "changed-on-both-sides", both),
        note("/etc/passwd", "id-twice", "two names have the number 100"),
        note("/etc/x", "foreign", "a device node"),
    ];
    let text = format!(
        "{{\"schema\": 1, \"generation\": 2, \"source\": 1, \"counts\": {{\"entries\": 9, \"dropped\": 1, \"aside\": 0, \"merged\": 1}}, \"notes\": [{}]}}\n",
        notes.join(", ")
    );
    world.write("state/layerctl/generations/2/etc.json", text);
}

#[test]
fn status_lists_what_differs_from_the_images() {
    let world = world();
    let before = world.store();
    assert_snapshot!(world.run(&[
        "etc status",
        "etc status --json",
        "etc status --generation 2 -q"
    ]));
    // Looking changes nothing.
    assert_eq!(before, world.store());
    fs::remove_dir_all(world.path(&upper(2, ""))).unwrap();
    fs::create_dir(world.path(&upper(2, ""))).unwrap();
    assert_snapshot!("nothing_differs", world.run(&["etc status"]));
}

#[test]
fn the_record_of_an_upper_says_which_images_are_below() {
    let world = world();
    let text =
        String::from_utf8(world.read("state/layerctl/generations/2/generation.toml")).unwrap();
    let base =
        text.lines().find(|line| line.starts_with("digest")).unwrap().split('"').nth(1).unwrap();
    world.write("state/layerctl/upper/etc/2/lowers", format!("{base} etc usr var\n"));
    assert_snapshot!(world.run(&["etc status"]));
}

#[test]
fn diff_shows_text() {
    let world = world();
    world.write(&upper(2, "binary"), [0_u8, 1, 2]);
    world.write(&upper(2, "unended"), "no newline");
    world.shell(&format!("ln -s motd {}; mkfifo {}", upper(2, "link"), upper(2, "pipe")));
    assert_snapshot!(world.run(&[
        "etc diff",
        "etc diff /etc/motd",
        "etc diff /etc/local /etc/conf.d/a",
        "etc diff /etc/same",
    ]));
    world.write(&upper(1, "motd"), "bienvenue\n");
    assert_snapshot!(
        "with_another_generation",
        world.run(&["etc diff --generation 1 /etc/motd /etc/nginx"])
    );
}

#[test]
fn a_terminal_gets_colours_and_nothing_that_drives_it() {
    let world = world();
    world.write(&upper(2, "motd"), "welcome\nto \u{1b}[2J my web\n");
    let on_terminal = |environment: &str| {
        let line = "layerctl --root state etc diff /etc/motd";
        world.shell(&format!("{environment} script -qec '{line}' /dev/null </dev/null"))
    };
    let coloured = on_terminal("NO_COLOR=");
    assert!(coloured.contains("\u{1b}[32m+to \\u{1b}[2J my web\u{1b}[0m"), "{coloured:?}");
    let plain = on_terminal("NO_COLOR=1");
    assert!(plain.contains("\r\n+to \\u{1b}[2J my web") && !plain.contains('\u{1b}'), "{plain:?}");
    // Whoever takes it as a patch gets the bytes.
    assert!(world.run(&["etc diff /etc/motd"]).contains("\n+to \u{1b}[2J my web\n"));
}

#[test]
fn paths_go_back_to_the_image() {
    let world = world();
    report(&world);
    world.mark(&upper(2, "motd"), "user.note", b"mine");
    let text = world.run(&[
        "etc reset /etc/motd /etc/hosts /etc/local --dry-run",
        "etc status -q",
        "etc reset /etc/motd /etc/hosts /etc/local",
        "etc status",
        "etc conflicts",
        "etc reset /etc/conf.d/a",
        "etc reset /etc/conf.d /etc/nginx",
        "etc status",
        "etc reset /etc/motd",
        "etc reset /etc/motd --unchanged-exit-77",
        "etc conflicts --all",
        "history",
    ]);
    assert_snapshot!(text);
    // As the image has it: owner, mode, times, no attribute of another's.
    let image = fs::metadata(world.path("web-1/etc/motd")).unwrap();
    let here = fs::metadata(world.path(&upper(2, "motd"))).unwrap();
    assert_eq!(here.permissions().mode() & 0o7777, image.permissions().mode() & 0o7777);
    assert_eq!(here.mtime(), 1_767_225_600);
    let note = rustix::fs::lgetxattr(world.path(&upper(2, "motd")), "user.note", &mut [0_u8; 8]);
    assert_eq!(note, Err(rustix::io::Errno::NODATA));
    assert!(!world.path(&upper(2, "local")).exists());
}

#[test]
fn types_that_differ_go_back_too() {
    let world = world();
    world.shell(&format!(
        "rm {motd}; mkdir {motd}; touch {motd}/x
         rm {conf}; ln -s /nowhere {conf}",
        motd = upper(2, "motd"),
        conf = upper(2, "conf.d")
    ));
    world.mark(&upper(2, "motd"), "trusted.overlay.opaque", b"y");
    assert_snapshot!(world.run(&[
        "etc status",
        "etc reset /etc/conf.d/a",
        "etc reset /etc/motd /etc/conf.d",
        "etc status",
    ]));
}

#[test]
fn conflicts_are_listed_and_settled() {
    let world = world();
    report(&world);
    assert_snapshot!(world.run(&[
        "status",
        "etc conflicts",
        "etc conflicts --json",
        "etc take /etc/motd --mine --dry-run",
        "etc take /etc/motd --mine",
        "etc take /etc/motd --mine",
        "etc take /etc/conf.d --theirs --dry-run",
        "etc take /etc/conf.d --theirs",
        "etc conflicts",
        "etc take /etc/passwd --mine",
        "etc conflicts",
        "etc conflicts --all",
        "etc conflicts --generation 1",
        "status -q",
        "history",
    ]));
}

#[test]
fn another_generation_s_changes_are_brought() {
    let world = world();
    let passwd = "root:x:0:0::/root:/bin/sh\n";
    world.write(&upper(2, "passwd"), format!("{passwd}here:x:1000:1000::/home/here:/bin/sh\n"));
    // What the administrator did in generation 1.
    world.write(&upper(1, "passwd"), format!("{passwd}there:x:1001:1001::/home/there:/bin/sh\n"));
    world.write(&upper(1, "motd"), "bienvenue\n");
    world.write(&upper(1, "fix/one"), "1\n");
    world.write(&upper(1, "machine-id"), "1\n");
    world.chmod(&upper(1, "fix"), 0o750);
    world.write(&upper(1, "conf.d/c"), "c\n");
    world.shell(&format!(
        "mknod {} c 0 0; chown 7:8 {}",
        upper(1, "conf.d/b"),
        upper(1, "fix/one")
    ));
    assert_snapshot!(world.run(&[
        "etc status --generation 1",
        "etc sync --from 1 /etc/fix --dry-run",
        "etc sync --from 1 /etc/fix /etc/passwd",
        "etc sync --from 1 /etc/fix",
        "etc diff /etc/passwd /etc/fix",
        "etc sync --from 1",
        "etc sync --from 1 --unchanged-exit-77",
        "etc status",
        "history",
    ]));
    let brought = fs::metadata(world.path(&upper(2, "fix/one"))).unwrap();
    assert_eq!((brought.uid(), brought.gid()), (7, 8));
    let directory = fs::metadata(world.path(&upper(2, "fix"))).unwrap();
    assert_eq!(directory.permissions().mode() & 0o7777, 0o750);
}

#[test]
fn a_directory_of_an_image_is_deleted_where_it_was_there() {
    let world = world();
    world.write(&upper(1, "x"), "");
    world.shell(&format!("mknod {} c 0 0; rm {}", upper(1, "conf.d"), upper(2, "conf.d")));
    world.write(&upper(2, "conf.d/own"), "own\n");
    assert_snapshot!(world.run(&[
        "etc sync --from 1 --dry-run",
        "etc sync --from 1",
        "etc status",
        "etc sync --from 1 /etc/conf.d",
        "etc status",
    ]));
}

#[test]
fn bad_requests_are_refused() {
    let world = world();
    report(&world);
    world.write("file", "");
    let lines = [
        "etc reset /usr/bin/env",
        "etc reset etc/motd",
        "etc reset /etc",
        "etc reset /etc/../usr",
        "etc reset /etc/motd /etc/nothing",
        "etc diff /etc/nothing",
        "etc diff /var/x",
        "etc diff --generation 1",
        "etc status --generation 1",
        "etc status --generation 9",
        "etc conflicts --generation 9",
        "etc sync --from 2",
        "etc sync --from 1",
        "etc sync --from 9",
        "etc sync --from 1 /opt",
        "etc take /etc/nothing --theirs",
        "etc take /opt/x --mine",
    ];
    let mut text = lines.map(|line| world.refused(line)).concat();
    text += &world.run(&[
        "etc",
        "etc reset",
        "etc take /etc/motd",
        "etc take /etc/motd --theirs --mine",
        "etc sync",
    ]);
    assert_snapshot!(text);
}

#[test]
fn what_is_damaged_is_said() {
    let world = world();
    world.write("state/layerctl/generations/2/etc.json", "{\"schema\": 1");
    let lines = ["etc conflicts", "etc take /etc/motd --mine", "etc take /etc/same --theirs"];
    let mut text = lines.map(|line| world.refused(line)).concat();
    text += &world.run(&["status -q", "etc reset /etc/motd"]);
    assert_snapshot!(text);
    fs::remove_file(world.path("state/layerctl/generations/2/etc.json")).unwrap();
    let image = world.image("web_1.toml");
    fs::remove_file(&image).unwrap();
    assert_snapshot!("image_missing", world.refused("etc status"));
    // A record that names it needs it.
    let digest = image.file_stem().unwrap().to_str().unwrap().to_owned();
    world.write("state/layerctl/upper/etc/2/lowers", format!("{digest} etc\n"));
    assert_snapshot!("recorded_image_missing", world.refused("etc status"));
    world.write(&format!("state/layerctl/store/{digest}.img"), [0_u8; 8192]);
    assert_snapshot!("recorded_image_damaged", world.refused("etc reset /etc/motd"));
}

#[test]
fn only_one_changes_a_store_at_a_time() {
    let world = world();
    let holder = fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(world.path("state/layerctl/lock"))
        .unwrap();
    holder.lock().unwrap();
    assert_snapshot!(world.refused("etc reset /etc/motd"));
}

#[test]
fn who_may_not_mount_is_told_so() {
    let world = world();
    let output = std::process::Command::new("setpriv")
        .args(["--bounding-set=-sys_admin", "--inh-caps=-all"])
        .arg(assert_cmd::cargo::cargo_bin("layerctl"))
        .args(["--root", "state", "etc", "status"])
        .current_dir(world.path("."))
        .output()
        .unwrap();
    assert_snapshot!(crate::world::render("etc status", &output));
}
