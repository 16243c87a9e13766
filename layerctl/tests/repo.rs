//! Repositories as directories: `repo`, `search`, `install NAME`, `upgrade`.

use std::fs;

use insta::assert_snapshot;

use crate::world::{World, render};

/// A world with a base and `served`, a repository of `htop 3.4`, `tree 2.2` and what `layers` makes there.
fn served(layers: &[(&str, &str, &str)]) -> World {
    let world = World::with_base();
    fs::create_dir(world.path("served")).unwrap();
    for (name, version, options) in layers {
        serve(&world, name, version, options);
    }
    world.done("repo index served");
    world
}

/// Builds a layer into `served`.
fn serve(world: &World, name: &str, version: &str, options: &str) {
    let tree = world.layer_tree(name, version);
    world.done(&format!(
        "build {tree} --name {name} --version {version} -o served/{name}_{version}.img {options}"
    ));
}

#[test]
fn a_directory_of_images_becomes_a_repository() {
    let world = served(&[("htop", "3.4", ""), ("tree", "2.2", "--architecture arm64")]);
    let first = world.read("served/layers.toml");
    assert_snapshot!(world.run(&[
        "repo index served --unchanged-exit-77",
        "repo list",
        "search htop",
        "repo add main served",
        "repo add main served --unchanged-exit-77",
        "repo list",
        "search",
        "search HTO --json",
        "search vim",
        "repo refresh --unchanged-exit-77",
        "repo list --json",
    ]));
    fs::remove_file(world.path("served/layers.toml")).unwrap();
    world.done("repo index served");
    assert_eq!(first, world.read("served/layers.toml"), "the same images give the same bytes");
    serve(&world, "htop", "3.5", "");
    world.done("repo index served");
    assert_snapshot!(
        "changes",
        world.run(&["repo refresh main", "repo remove main", "repo list", "repo remove main"])
    );
}

#[test]
fn a_layer_is_installed_by_name_with_what_it_needs() {
    let world = served(&[
        ("lib", "1", ""),
        ("lib", "2", ""),
        ("app", "1", "--requires 'lib < 2'"),
        ("app", "2", "--architecture arm64"),
    ]);
    assert_snapshot!(world.run(&[
        "install app",
        "repo add main served",
        "install app --dry-run",
        "install app",
        "install app",
        "install vim",
        "status",
        "uninstall app",
        "install app",
    ]));
    let left: Vec<_> =
        world.store().into_keys().filter(|path| path.to_string_lossy().contains(".tmp-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn layers_and_base_are_upgraded() {
    let world = served(&[("htop", "3.4", ""), ("tree", "2.2", "")]);
    world.done("repo add main served");
    world.done("install htop tree");
    let current =
        world.run(&["upgrade --check", "upgrade --check --json", "upgrade --preview", "upgrade"]);
    serve(&world, "lib", "1", "");
    serve(&world, "htop", "3.5", "--requires lib");
    world.base_tree("newer");
    world.write("newer/usr/lib/os-release", "ID=debian\nVERSION_ID=\"14\"\n");
    world.done("build newer --kind base --name debian --version 14 -o served/debian_14.img");
    world.done("repo index served");
    let before = world.images().len();
    let told = world.run(&[
        "upgrade --check",
        "upgrade htop --check",
        "upgrade --preview",
        "upgrade --preview --json",
        "upgrade --json",
    ]);
    assert_eq!(world.images().len(), before, "nothing is downloaded to tell");
    let upgraded = world.run(&[
        "upgrade vim",
        "upgrade htop --download-only",
        "upgrade htop --download-only --unchanged-exit-77",
        "upgrade htop --preview",
        "upgrade htop --check --json",
        "upgrade --dry-run",
        "upgrade",
        "upgrade --unchanged-exit-77",
        "upgrade --check",
        "status",
        "history",
    ]);
    assert_snapshot!(current + &told + &upgraded);
}

#[test]
fn a_base_brings_its_kernel_and_finds_layers_that_fit_it() {
    let world = World::new();
    for boot in ["boot", "served"] {
        fs::create_dir(world.path(boot)).unwrap();
    }
    world.kernel_tree("base", "6.12.57");
    world.done("init");
    world.done("--boot boot base import base --name debian --version 13");
    serve(&world, "htop", "3.4", "");
    world.done("repo index served");
    world.done("repo add main served");
    world.done("--boot boot install htop");
    world.kernel_tree("next", "6.18.1");
    world.write("next/usr/lib/os-release", "ID=debian\nVERSION_ID=\"14\"\n");
    world.done("build next --kind base --name debian --version 14 -o served/debian_14.img");
    for (version, system) in [("3.5", "13"), ("3.6", "14"), ("3.7", "15")] {
        let tree = world.layer_tree("htop", version);
        let release = format!("ID=debian\nVERSION_ID={system}\nARCHITECTURE=x86-64\n");
        world.write(&format!("{tree}/usr/lib/extension-release.d/extension-release.htop"), release);
        serve(&world, "htop", version, "");
    }
    world.done("repo index served");
    assert_snapshot!(world.run(&[
        "upgrade htop --check",
        "upgrade --check",
        "--boot boot upgrade --try-once",
        "--boot boot upgrade",
        "--boot boot boot list",
        "status",
    ]));
}

#[test]
fn definitions_of_the_machine_are_used_by_the_running_system_alone() {
    let world = served(&[("htop", "3.4", "")]);
    world.write(
        "prepare",
        "mkdir -p none; mount -t tmpfs none /etc; mkdir -p /etc/layerctl/repos.d
         echo \"url = \\\"file://$here/served\\\"\" >/etc/layerctl/repos.d/machine.toml
         echo junk >/etc/layerctl/repos.d/README",
    );
    let lines = ["repo list", "search", "repo remove machine", "install htop", "repo list"];
    let text = crate::running_system::booted(&world, &lines);
    assert_snapshot!(text + &world.run(&["repo list"]));
}

#[test]
fn what_cannot_be_put_in_place_is_not_downloaded_where_the_index_tells_it() {
    let world = served(&[("htop", "3.4", ""), ("top", "1", "")]);
    world.done("repo add main served");
    world.done("install htop top");
    serve(&world, "htop", "3.5", "--conflicts top");
    serve(&world, "web", "1", "--conflicts htop");
    world.done("repo index served");
    let images = world.images();
    let mut text = world.run(&["upgrade --check", "upgrade --download-only", "upgrade"]);
    assert_eq!(images, world.images());
    // What is asked for by name is got first.
    text += &world.run(&["install web", "install web --dry-run", "cleanup"]);
    assert_snapshot!(text);
}

#[test]
fn a_directory_for_sysupdate_is_read_as_it_is() {
    let world = World::with_base();
    world.layer_tree("htop", "3.4");
    world.layer_tree("htop", "3.5");
    for version in ["3.4", "3.5"] {
        world.shell(&format!(
            "mkdir -p served; mksquashfs htop-{version} served/htop_{version}_x86-64.raw -quiet -no-progress -all-root >/dev/null"
        ));
    }
    world.shell("cd served; echo x >vmlinuz; sha256sum htop_3.4_x86-64.raw vmlinuz >SHA256SUMS");
    let first = world.run(&["repo add flat served", "search", "install htop"]);
    world.shell("cd served; sha256sum *.raw vmlinuz >SHA256SUMS");
    assert_snapshot!(first + &world.run(&["upgrade --preview", "upgrade", "status"]));
}

#[test]
fn what_is_no_repository_is_refused() {
    let world = served(&[("htop", "3.4", "")]);
    fs::create_dir(world.path("empty")).unwrap();
    world.write("odd/layers.toml", "<html>404</html>");
    world.write("newer/layers.toml", "schema = 9\n");
    world.write("climbing/SHA256SUMS", format!("{}  ../up_1.raw\n", "ab".repeat(32)));
    world.write("served/half_1.img", "no image");
    world.write("http/layers.toml", "schema = 1\n");
    let lines = [
        "repo add main nowhere",
        "repo add main empty",
        "repo add main odd",
        "repo add main newer",
        "repo add main ftp://example.org/",
        "repo add main https://me:secret@example.org/",
        "repo add m/n served",
        "repo remove main",
        "repo refresh main",
        "repo index served",
        "install ftp://example.org/htop_3.4.img",
        "upgrade htop",
    ];
    let mut text = lines.map(|line| world.refused(line)).concat();
    text += &world.run(&["repo add climbing climbing", "search"]);
    world.write("state/layerctl/repos/broken.toml", "uri = \"x\"\n");
    text += &world.refused("install vim");
    assert_snapshot!(text);
}

#[test]
fn an_image_that_is_not_what_its_index_says_is_refused() {
    let world = served(&[("htop", "3.4", ""), ("tree", "2.2", "")]);
    world.done("repo add main served");
    let whole = world.read("served/htop_3.4.img");
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    world.write("served/htop_3.4.img", &damaged);
    let mut text = world.refused("install htop");
    world.write("served/htop_3.4.img", [whole.as_slice(), b"more"].concat());
    text += &world.refused("install htop");
    world.write("served/htop_3.4.img", &whole[..1000]);
    let output = world.command("install htop").output().unwrap();
    text += &render("install htop", &output);
    let part: Vec<Vec<u8>> = world
        .files("state/layerctl/store")
        .into_iter()
        .filter(|(path, _)| path.ends_with("image.img"))
        .map(|(_, bytes)| bytes)
        .collect();
    assert_eq!(part, [whole[..1000].to_vec()], "what came stays, under no final name");
    fs::remove_file(world.path("served/tree_2.2.img")).unwrap();
    text += &world.run(&["install tree"]);
    world.write("served/htop_3.4.img", &whole);
    text += &world.run(&["install htop", "cleanup"]);
    serve(&world, "web", "1", "");
    world.done("repo index served");
    let web = world.read("served/web_1.img");
    world.write("served/web_1.img", &web[..10]);
    text += &world.run(&["install web", "cleanup"]);
    assert_snapshot!(text);
    let left: Vec<_> =
        world.store().into_keys().filter(|path| path.to_string_lossy().contains(".tmp-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_repository_that_is_gone_stands_with_what_it_had() {
    let world = served(&[("htop", "3.4", "")]);
    world.done("repo add main served");
    fs::rename(world.path("served"), world.path("away")).unwrap();
    assert_snapshot!(world.run(&[
        "search",
        "install vim",
        "install htop",
        "upgrade --check",
        "repo refresh",
    ]));
}
