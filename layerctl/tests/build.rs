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

/// Builds without the right to mount, so from a copy of the tree; what layerctl said.
fn build_from_a_copy(world: &World, line: &str) -> std::process::Output {
    std::process::Command::new("setpriv")
        .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"])
        .arg(assert_cmd::cargo::cargo_bin("layerctl"))
        .args(["--root", "state"])
        .args(line.split_whitespace())
        .env_remove("SOURCE_DATE_EPOCH")
        .current_dir(world.path("."))
        .output()
        .unwrap()
}

#[test]
fn a_tree_is_not_copied_to_become_an_image_and_a_copy_would_give_the_same_bytes() {
    for (place, above) in ["usr/lib/extension-release.d", "usr/lib", "usr/bin"].iter().enumerate() {
        let world = World::new();
        let tree = world.layer_tree("htop", "3.4");
        world.write(&format!("{tree}/{above}/other"), "x");
        world.shell(&format!(
            "find {tree} -exec touch -h -d @1600000000 {{}} +; touch -d @1500000000 {tree}/{above}"
        ));
        let line = |image: &str| format!("build {tree} --name h --version 1 -o {image} --verbose");
        let output = world.command(&line("union.img")).env_remove("SOURCE_DATE_EPOCH").output();
        let output = output.unwrap();
        let said = render(&line("union.img"), &output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("/union"), "{place}: mkfs.erofs got another directory: {said}");
        let output = build_from_a_copy(&world, &line("copy.img"));
        let said = render(&line("copy.img"), &output);
        assert!(output.status.success() && said.contains("/copy"), "{place}: {said}");
        assert!(world.read("union.img") == world.read("copy.img"), "{place}: the bytes differ");
        let left = world
            .shell(&format!("ls -A {tree}/usr; ls -A; grep -c layerctl:build /proc/mounts || :"));
        assert!(!left.contains(".layerctl-build-") && left.ends_with("\n0\n"), "{left}");
    }
}

#[test]
fn a_tree_that_an_overlay_would_show_otherwise_is_copied() {
    let world = World::new();
    let tree = world.layer_tree("htop", "3.4");
    world.shell(&format!("mkdir {tree}/usr/share; mknod {tree}/usr/share/gone c 0 0"));
    let line = format!(
        "build {tree} --name h --version 1 --deletes /usr/share/gone --verbose -o whiteout.img"
    );
    let output = world.command(&line).env_remove("SOURCE_DATE_EPOCH").output().unwrap();
    let said = render(&line, &output);
    assert!(output.status.success() && said.contains("/copy"), "{said}");
    let kind = world.shell(
        "unshare -m sh -euc 'mkdir m; mount -o loop,ro whiteout.img m; stat -c %F m/usr/share/gone'",
    );
    assert_eq!(kind, "character special file\n");
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

#[test]
fn a_layer_says_which_systems_it_fits() {
    let world = World::new();
    world.layer_tree("htop", "3.4");
    let build = "build htop-3.4 --name h --version 1 --format squashfs --quiet";
    let release = |image: &str| {
        let file = "usr/lib/extension-release.d/extension-release.h";
        world.shell(&format!("unsquashfs -cat {image} {file}"))
    };
    world.done(&format!("{build} -o any.img"));
    assert_eq!(release("any.img"), "ID=_any\n");
    world.done(&format!("{build} -o debian.img --fits 'debian 13'"));
    assert_eq!(release("debian.img"), "ID=debian\nVERSION_ID=13\n");
    // The user's own tree is left alone, and one that says it itself is believed.
    assert!(!world.path("htop-3.4/usr/lib").exists());
    world.write("htop-3.4/usr/lib/extension-release.d/extension-release.h", "ID=own\n");
    world.done(&format!("{build} -o own.img"));
    assert_eq!(release("own.img"), "ID=own\n");
    assert_snapshot!(world.refused(&format!("{build} -o x.img --fits 'a b c'")));
}

#[test]
fn an_archive_is_not_unpacked_where_it_says_that_it_would_do_harm() {
    let world = World::new();
    world.write("evil/a/x", "x");
    world.shell(
        "cd evil; mkdir -p t/out t/up; echo x >t/out/passwd; echo x >t/up/x; ln -s /etc out; ln -s ../.. up
         tar -cf ../behind.tar out; tar -C t -rf ../behind.tar out/passwd
         tar -cf ../dots.tar up; tar -C t -rf ../dots.tar up/x
         head -c 64M /dev/zero >zeros; tar -cf - zeros | gzip >../bomb.tar.gz; tar -cf ../plain.tar a
         head -c 700 ../plain.tar >../cut.tar; echo other >../no.tar",
    );
    // A GNU long name of 4 GiB: a header that says so is enough.
    let mut header = world.read("plain.tar")[..512].to_vec();
    header[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\x01\0\0\0\0");
    header[156] = b'L';
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    world.write("long.tar", header);
    let mut text = String::new();
    for (archive, options) in [
        ("behind.tar", ""),
        ("dots.tar", ""),
        ("bomb.tar.gz", " --max-size 1000000"),
        ("cut.tar", ""),
        ("no.tar", ""),
        ("long.tar", ""),
    ] {
        let build = format!("build {archive} --name a --version 1 -o a.img{options}");
        let refused = world.refused(&build);
        let told = |text: &str| text.split_once('\n').unwrap().1.to_owned();
        assert_eq!(told(&refused), told(&world.refused(&format!("{build} --dry-run"))));
        text += &refused;
    }
    assert_snapshot!(text);
    assert!(world.shell("ls -A").lines().all(|name| !name.starts_with('.') && name != "a.img"));
}

#[test]
fn a_recipe_of_files_needs_no_base() {
    let world = World::new();
    world.write("sub/site.conf", "text\n");
    world.write("sub/tree/a/b", "b\n");
    let recipe = r#"
        name = "web"
        version = "1.2"
        requires = ["nginx >= 1.2"]
        fits = "debian 13"
        format = "squashfs"
        files = [
            { from = "site.conf", to = "/etc/web/site.conf", mode = 0o640 },
            { from = "tree", to = "/usr/share/web" },
        ]"#;
    world.write("sub/web.toml", recipe);
    let mut text = world.run(&["build sub/web.toml --dry-run", "build sub/web.toml"]);
    text += &String::from_utf8(world.read("web_1.2.toml")).unwrap();
    world.shell("unsquashfs -q -n -d out web_1.2.img");
    text += &world.shell("cd out; find . -type f -printf '%M %u %p\n' | sort");
    let once = world.read("web_1.2.img");
    world.done("build sub/web.toml");
    assert!(world.read("web_1.2.img") == once, "a second build differs");
    let head = "name = \"web\"\nversion = \"1\"\n";
    world.write("bad.toml", format!("{head}package = [\"x\"]\n"));
    world.write("out.toml", format!("{head}files = [{{ from = \"x\", to = \"/../x\" }}]\n"));
    world.write("anonymous.toml", "version = \"1\"\n");
    for recipe in ["bad.toml", "out.toml", "anonymous.toml", "none.toml"] {
        text += &world.refused(&format!("build {recipe}"));
    }
    assert_snapshot!(text);
}

/// The smallest tree in which scripts run.
pub(crate) fn shell_base(world: &World, tree: &str) {
    world.base_tree(tree);
    world.write(&format!("{tree}/etc/group"), "root:x:0:\n");
    world
        .shell(&format!("cd {tree}; mkdir -p bin root; cp /bin/busybox bin; ln -s busybox bin/sh"));
}

/// A recipe with a script, on that tree.
pub(crate) fn script(world: &World, name: &str, tree: &str, script: &str) {
    let head =
        format!("name = \"{name}\"\nversion = \"1\"\nbase = \"{tree}\"\nformat = \"squashfs\"\n");
    world.write(&format!("{name}.toml"), format!("{head}scripts = ['''\n{script}''']\n"));
}

#[test]
fn a_recipe_s_scripts_run_in_a_sandbox_over_the_base() {
    let world = World::new();
    shell_base(&world, "base");
    world.write("base/usr/share/made/anew/old", "old\n");
    let lines = r#"
        busybox rm -r /usr/share/made/anew; busybox mkdir /usr/share/made/anew
        echo new >/usr/share/made/anew/new
        busybox cat /etc/passwd >/etc/seen
        busybox mkdir -p /usr/share/web /var/log/web /var/lib/web /usr/lib/x/__pycache__
        echo log >/var/log/web/log; echo id >/etc/machine-id; echo x >/tmp/x; echo y >/run/y
        echo 'web:x:100:101:The "web" user:/var/lib/web:' >>/etc/passwd; echo 'web:x:101:' >>/etc/group
        busybox chown 100:101 /var/lib/web; busybox chmod 2750 /var/lib/web
        busybox chmod 600 /usr/lib/os-release; busybox chmod 644 /usr/lib/os-release
        busybox rm /var/lib/misc/x
        echo c >/usr/lib/x/__pycache__/x.pyc
        test -z "$(busybox ls /home)"; ! test -e /work
"#;
    script(&world, "web", "base", lines);
    let mut text = world.run(&["build web.toml"]);
    text += &String::from_utf8(world.read("web_1.toml")).unwrap();
    world.shell("unsquashfs -q -n -d out web_1.img");
    text += &world.shell(
        "cd out; find . -printf '%M %U:%G %y %p\n' | sort -k 4
         cat etc/seen usr/lib/layerctl/layers/web/accounts",
    );
    let once = world.read("web_1.img");
    world.done("build web.toml");
    assert!(world.read("web_1.img") == once, "a second build differs");
    script(&world, "bad", "base", "echo before; busybox false; echo after\n");
    text += &world.refused("build bad.toml");
    world.write("packages.toml", "packages = [\"x\"]\n");
    text += &world.refused("build packages.toml");
    text += &world.refused("build packages.toml --base base");
    text += &world.refused("build packages.toml --base web.toml");
    assert_snapshot!(text);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(world.path("").to_str().unwrap()));
    assert!(world.shell("ls -A").lines().all(|name| !name.starts_with('.')));
}

#[test]
fn a_build_that_was_killed_leaves_nothing_for_the_next() {
    let world = World::new();
    shell_base(&world, "base");
    script(&world, "slow", "base", "echo x >/etc/x; busybox sleep 1000\n");
    script(&world, "quick", "base", "echo x >/etc/x\n");
    world.shell(
        "layerctl --root state build slow.toml & pid=$!
         until ls .layerctl-build-*/upper/etc/x >/dev/null 2>&1; do :; done
         kill -9 $pid; wait $pid || true",
    );
    assert!(world.shell("ls -A").contains(".layerctl-build-"), "what is killed cannot clean up");
    world.done("build quick.toml");
    assert!(!world.shell("ls -A").contains("layerctl-build"));
    assert!(world.path("quick_1.img").exists() && !world.path("slow_1.img").exists());
}
