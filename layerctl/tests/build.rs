//! `build`: images from trees and archives, the same bytes each time.

use std::fs;

use insta::assert_snapshot;

use crate::world::{World, render};

#[test]
fn a_build_writes_image_and_manifest() {
    let world = World::new();
    world.layer_tree("htop", "3.4");
    world.write("htop-3.4/etc/htoprc", "x");
    let mut text = world.run(&[
        "build htop-3.4 --name htop --version 3.4 -o htop_3.4.img --dry-run",
        "build htop-3.4 --name htop --version 3.4 -o htop_3.4.img --requires ncurses,tree --required",
        "build htop-3.4 --name htop --version 3.4 -o out.squashfs --format squashfs --architecture any --quiet",
    ]);
    for manifest in ["htop_3.4.toml", "out.toml"] {
        text += &format!("== {manifest}\n{}\n", String::from_utf8(world.read(manifest)).unwrap());
    }
    assert_snapshot!(text);
    let names = world.shell("ls -A");
    assert_eq!(names, "htop-3.4\nhtop_3.4.img\nhtop_3.4.toml\nout.squashfs\nout.toml\nstate\n");
}

#[test]
fn one_tree_makes_the_same_bytes_each_time() {
    for format in ["squashfs", "erofs"] {
        let world = World::new();
        let tree = world.layer_tree("htop", "3.4");
        world.shell("ln htop-3.4/usr/bin/htop htop-3.4/usr/bin/top; ln -s htop htop-3.4/usr/bin/h");
        world.shell("chown 7:8 htop-3.4/usr/bin/htop; chmod 4750 htop-3.4/usr/bin/htop");
        world.mark("htop-3.4/usr/bin/htop", "user.note", b"x");
        world.shell("cp -a htop-3.4 copy");
        for (place, tree) in [&tree, &tree, "copy"].into_iter().enumerate() {
            // Without an epoch too: the time of the build must not get in.
            let line =
                format!("build {tree} --name h --version 1 --format {format} -o {place}.img");
            let output = world.command(&line).env_remove("SOURCE_DATE_EPOCH").output().unwrap();
            assert!(output.status.success(), "{}", render(&line, &output));
        }
        let first = world.read("0.img");
        assert!(!first.is_empty());
        assert!(first == world.read("1.img"), "{format}: a second build differs");
        assert!(first == world.read("2.img"), "{format}: a copy's build differs");
        world.write("copy/usr/bin/htop", "other");
        world.done(&format!("build copy --name h --version 1 --format {format} -o 3.img"));
        assert!(first != world.read("3.img"), "{format}: other content, same bytes");
    }
}

#[test]
fn owners_modes_and_links_are_kept() {
    for format in ["squashfs", "erofs"] {
        let world = World::new();
        world.layer_tree("htop", "3.4");
        world.shell(
            "cd htop-3.4/usr/bin; ln htop top; ln -s htop h; chown 7:8 htop; chmod 4750 htop",
        );
        world.done(&format!("build htop-3.4 --name h --version 1 --format {format} -o h.img"));
        let listing = world.shell(
            "unshare -m sh -euc 'mkdir m; mount -o loop,ro h.img m; cd m/usr/bin; stat -c \"%n %u:%g %a %h %N\" *'",
        );
        let want = "h 0:0 777 1 'h' -> 'htop'\nhtop 7:8 4750 2 'htop'\ntop 7:8 4750 2 'top'\n";
        assert_eq!(listing, want, "{format}");
    }
}

#[test]
fn an_archive_makes_the_image_of_its_tree() {
    let world = World::new();
    world.layer_tree("htop", "3.4");
    // No member for the directories: their times are tar's own business.
    world
        .shell("tar -C htop-3.4 -cf a.tar usr/bin/htop; gzip -k a.tar; xz -k a.tar; zstd -q a.tar");
    for archive in ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.zst"] {
        let line = format!("build {archive} --name h --version 1 -o {archive}.img");
        let output = world.command(&line).env_remove("SOURCE_DATE_EPOCH").output().unwrap();
        assert!(output.status.success(), "{}", render(&line, &output));
        assert!(world.read("a.tar.img") == world.read(&format!("{archive}.img")), "{archive}");
    }
    assert_snapshot!(world.run(&["build a.tar.gz --name h --version 1 -o h.img --dry-run"]));
}

#[test]
fn an_archive_that_leads_out_of_its_tree_is_refused() {
    let world = World::new();
    world.write("x", "x");
    world.write("sub/y", "y");
    world.shell(
        "tar -cPf absolute.tar \"$PWD/x\"; cd sub; tar -cPf ../up.tar ../x; echo no >../no.tar",
    );
    let lines = ["absolute.tar", "up.tar", "no.tar"]
        .map(|archive| format!("build {archive} --name a --version 1 -o a.img"));
    assert_snapshot!(lines.map(|line| world.refused(&line)).concat());
    assert!(!world.path("a.img").exists());
}

#[test]
fn an_overlay_s_notes_about_its_lowers_are_left_out() {
    let world = World::new();
    world.layer_tree("htop", "3.4");
    world.shell("cp -a htop-3.4 upper");
    world.mark("upper/usr", "trusted.overlay.impure", b"y");
    world.mark("upper/usr/bin/htop", "trusted.overlay.origin", &[0, 0xfb]);
    world.done("build htop-3.4 --name h --version 1 -o plain.img");
    world.done("build upper --name h --version 1 -o upper.img");
    assert!(world.read("plain.img") == world.read("upper.img"));
}

#[test]
fn deletions_must_be_declared() {
    let world = World::new();
    world.layer_tree("htop", "3.4");
    world.shell("mkdir -p htop-3.4/etc/x; mknod htop-3.4/usr/bin/vi c 0 0");
    world.mark("htop-3.4/etc/x", "trusted.overlay.opaque", b"y");
    let build = "build htop-3.4 --name h --version 1 -o h.img";
    let mut text = world.refused(build);
    text += &world.refused(&format!("{build} --deletes /etc/x,/usr/bin/vi,/usr/bin/ed"));
    text += &world.run(&[&format!("{build} --deletes /etc/x,/usr/bin/vi")]);
    text += &String::from_utf8(world.read("h.toml")).unwrap();
    assert_snapshot!(text);
}

#[test]
fn bad_requests_are_refused() {
    let world = World::new();
    world.layer_tree("htop", "3.4");
    world.shell("cp -a htop-3.4 private; chmod 700 private; mkdir empty");
    let lines = [
        "build htop-3.4 --name 'h top' --version 1 -o h.img",
        "build htop-3.4 --name h_top --version 1 -o h.img",
        "build htop-3.4 --name htop --version 1:2 -o h.img",
        "build htop-3.4 --name htop --version 1 -o h.img --requires a/b",
        "build htop-3.4 --name htop --version 1 -o htop-3.4/usr/h.img",
        "build htop-3.4 --name htop --version 1 -o h.toml",
        "build htop-3.4 --name htop --version 1 -o nowhere/h.img",
        "build nowhere --name htop --version 1 -o h.img",
        "build private --name htop --version 1 -o h.img",
        "build empty --name htop --version 1 -o h.img --kind base",
    ];
    assert_snapshot!(lines.map(|line| world.refused(line)).concat());
    assert_eq!(world.shell("ls -A"), "empty\nhtop-3.4\nprivate\nstate\n");
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let world = World::new();
    world.layer_tree("htop", "3.4");
    fs::create_dir(world.path("nothing")).unwrap();
    let mut text = String::new();
    for format in ["erofs", "squashfs"] {
        let line = format!("build htop-3.4 --name h --version 1 -o h.img --format {format}");
        let output = world.command(&line).env("PATH", world.path("nothing")).output().unwrap();
        text += &render(&line, &output);
    }
    assert_snapshot!(text);
}
