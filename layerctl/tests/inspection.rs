//! lint, which, files and diff, and the checks that a change makes.

use std::fs;

use insta::assert_snapshot;

use crate::world::World;

/// A base with some files that layers may bring too, and links of a merged /usr.
fn base(world: &World) {
    world.base_tree("base");
    world.shell("cd base; ln -s usr/bin bin; mkdir -p usr/bin; echo base >usr/bin/vi; ln -s vi usr/bin/ex; mkdir -p etc/x");
    world.write("base/var/lib/dpkg/info/vim.list", "/.\n/bin\n/bin/vi\n");
    world.write(
        "base/var/lib/dpkg/status",
        "Package: vim\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2:9.1-1\n",
    );
    world.done("init");
    world.done("base import base");
}

/// A layer tree with all that may be wrong.
fn bad_tree(world: &World) {
    world.shell(
        "mkdir -p bad/usr/bin bad/usr/lib bad/dev bad/var/lib/bad bad/layerctl/store bad/bin bad/usr/bin/ex bad/etc/x
         echo bad >bad/usr/bin/vi; echo x >bad/usr/bin/ex/x; echo ID=bad >bad/usr/lib/os-release
         echo su >bad/usr/bin/su; chmod 4755 bad/usr/bin/su; echo ping >bad/usr/bin/ping
         mknod bad/dev/null c 1 3; mknod bad/usr/bin/gone c 0 0; echo x >bad/var/lib/bad/x; echo x >bad/bin/x
         chmod 700 bad/etc/x; chmod 700 bad",
    );
    // VFS_CAP_REVISION_2 with cap_net_raw, effective (linux/capability.h).
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    world.mark("bad/usr/bin/ping", "security.capability", &capability);
    world.shell("mksquashfs bad bad_1.img -quiet -no-progress >/dev/null");
}

#[test]
fn lint_lists_all_that_may_be_wrong() {
    let world = World::new();
    base(&world);
    bad_tree(&world);
    assert_snapshot!(world.run(&["lint bad_1.img", "lint bad_1.img --json"]));
}

#[test]
fn lint_needs_no_store_unless_one_is_named() {
    let world = World::new();
    world.layer("htop", "3.4", "");
    world.shell("chmod 4755 htop-3.4/usr/bin/htop; mksquashfs htop-3.4 su_1.img -quiet -no-progress >/dev/null");
    assert_snapshot!(world.run(&["lint htop_3.4.img"]));
    let script = "unshare -m sh -euc 'mount -t tmpfs none /run; layerctl lint su_1.img'";
    assert_snapshot!("lint_without_a_store", world.shell(script));
}

#[test]
fn lint_of_a_good_layer_finds_nothing() {
    let world = World::new();
    base(&world);
    world.layer("htop", "3.4", "");
    world.done("install htop_3.4.img");
    assert_snapshot!(world.run(&[
        "lint htop_3.4.img",
        "lint htop",
        "lint htop --json",
        "lint nothing.img"
    ]));
}

#[test]
fn lint_says_what_a_manifest_hides() {
    let world = World::new();
    base(&world);
    world.layer("htop", "3.4", "");
    world.shell("sed -i 's/^dirs.*/dirs = [\"etc\"]/; s/^size = .*/size = 5/' htop_3.4.toml");
    assert_snapshot!(world.run(&["lint htop_3.4.img"]));
}

#[test]
fn lint_goes_by_the_policy() {
    let world = World::new();
    base(&world);
    world.shell("mkdir -p su/usr/bin; echo su >su/usr/bin/su; chmod 4755 su/usr/bin/su");
    world.done("build su --name su --version 1 -o su_1.img");
    world.write("strict.toml", "[install]\nsetuid = \"refuse\"\n");
    world.write("wrong.toml", "[install]\nsetuid = \"never\"\n");
    assert_snapshot!(world.run(&[
        "lint su_1.img",
        "--config strict.toml lint su_1.img",
        "--config wrong.toml lint su_1.img",
    ]));
}

#[test]
fn files_of_a_layer_that_replaces_a_package_shadow_nothing() {
    let world = World::new();
    base(&world);
    world.shell("mkdir -p vim/usr/bin vim/var/lib/dpkg/info; echo new >vim/usr/bin/vi");
    world.write("vim/var/lib/dpkg/info/vim.list", "/.\n/usr/bin/vi\n");
    world.done("build vim --name vim --version 2 -o vim_2.img");
    let linted = world.run(&["lint vim_2.img"]);
    assert!(!linted.contains("shadowing"), "{linted}");
}

#[test]
fn which_names_the_layer_and_whom_it_hides() {
    let world = World::new();
    base(&world);
    world.shell("mkdir -p vim/usr/bin vim/etc/x; echo new >vim/usr/bin/vi; echo x >vim/etc/x/new");
    world.done("build vim --name vim --version 2 -o vim_2.img");
    world.done("install vim_2.img");
    assert_snapshot!(world.run(&[
        "which /usr/bin/vi",
        "which /bin/vi",
        "which /bin/../bin/./vi --json",
        "which /bin/ex",
        "which /usr/bin",
        "which /bin",
        "which /etc/x/new",
        "which /",
        "which /usr/bin/nothing",
        "which /usr/bin/vi --generation 1",
        "which /usr/bin/vi/x",
    ]));
}

#[test]
fn files_lists_what_an_image_has() {
    let world = World::new();
    base(&world);
    world.layer("htop", "3.4", "");
    world.done("install htop_3.4.img");
    assert_snapshot!(world.run(&["files htop", "files htop --json", "files nobody"]));
    let all = world.run(&["files debian"]);
    assert!(all.contains("\n/usr/bin/vi\n"), "{all}");
}

#[test]
fn diff_tells_layers_and_packages() {
    let world = World::new();
    base(&world);
    let status = |name: &str, version: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
        )
    };
    for (version, package) in [("1", "2:9.0-1"), ("2", "2:9.2-1")] {
        let fragment = format!("vim-{version}/usr/lib/layerctl/layers/vim/dpkg-status");
        world.write(&fragment, status("vim", package) + "\n" + &status("xxd", package));
        world.layer("vim", version, "");
    }
    world.layer("htop", "3.4", "");
    world.done("install vim_1.img htop_3.4.img");
    world.done("install --replace vim_2.img");
    world.done("uninstall htop");
    assert_snapshot!(world.run(&[
        "diff",
        "diff 1",
        "diff 1 2",
        "diff 2 3 --json",
        "diff 3 2",
        "diff 3 3",
        "diff 1 9",
    ]));
    let image = world.image("vim_2.toml");
    fs::remove_file(image.with_extension("toml")).unwrap();
    assert_snapshot!("diff_without_a_manifest", world.run(&["diff 1 3"]));
}

#[test]
fn diff_of_the_first_generation_has_nothing_to_compare() {
    let world = World::new();
    base(&world);
    assert_snapshot!(world.run(&["diff"]));
}

#[test]
fn a_layer_for_another_system_is_taken_only_when_that_is_said() {
    let world = World::new();
    base(&world);
    let release = "ID=debian\nVERSION_ID=12\n";
    world.write("htop-3.4/usr/lib/extension-release.d/extension-release.htop", release);
    world.layer("htop", "3.4", "");
    assert_snapshot!(world.refused("install htop_3.4.img"));
    assert_snapshot!(
        "a_layer_for_another_system_is_taken",
        world.run(&[
            "install --allow system htop_3.4.img",
            "install --allow libraries,systems htop_3.4.img",
            "lint htop_3.4.img",
        ])
    );
}

/// Two layers with different files of one path.
fn rivals(world: &World) {
    for (name, text) in [("one", "1"), ("two", "2")] {
        world.write(&format!("{name}-1/usr/bin/tool"), text);
        world.layer(name, "1", "");
    }
}

#[test]
fn layers_with_different_files_of_one_path_are_refused_in_one_set() {
    let world = World::new();
    base(&world);
    rivals(&world);
    world.layer("htop", "3.4", "");
    world.done("install one_1.img");
    assert_snapshot!(
        [
            world.refused("install two_1.img"),
            world.refused("install --dry-run two_1.img"),
            world.run(&[
                "set create spare",
                "install --set spare two_1.img",
                "set create both one"
            ]),
            world.refused("install --set both two"),
            world.run(&[
                "install --set both --allow conflicts two",
                "install --set both htop_3.4.img"
            ]),
        ]
        .concat()
    );
}

#[test]
fn what_a_layer_should_not_have_is_told_or_refused() {
    let world = World::new();
    base(&world);
    world.shell("mkdir -p su/usr/bin dev/dev; echo su >su/usr/bin/su; chmod 4755 su/usr/bin/su; echo x >su/usr/bin/vi; mknod dev/dev/x c 1 3");
    for name in ["su", "dev"] {
        world.done(&format!("build {name} --name {name} --version 1 -o {name}_1.img"));
    }
    world.write("strict.toml", "[install]\nsetuid = \"refuse\"\ndevices = \"allow\"\n");
    assert_snapshot!(
        [
            world.refused("--config strict.toml install su_1.img"),
            world.refused("install dev_1.img"),
            world.run(&["install su_1.img", "-q install --allow devices dev_1.img", "lint dev"]),
        ]
        .concat()
    );
}
