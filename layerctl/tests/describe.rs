//! What the manifest says of an image's system, libraries and packages.

use std::fs;

use insta::assert_snapshot;
use layers::links::newest_glibc;
use layers::manifest::Manifest;

use crate::world::World;

const STATUS: &str =
    "Package: htop\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.4.1-5\n";

fn manifest(world: &World, name: &str) -> Manifest {
    Manifest::parse(&String::from_utf8(world.read(name)).unwrap()).unwrap()
}

/// The manifest that the store has of its only image.
fn stored(world: &World) -> Manifest {
    let image = world.images().pop().unwrap();
    Manifest::parse(&fs::read_to_string(image.with_extension("toml")).unwrap()).unwrap()
}

/// A tree with a program of this machine, a list of packages, and an extension-release.
fn full_tree(world: &World) {
    world.write("htop-3.4/usr/bin/htop", fs::read("/bin/ls").unwrap());
    world.write("htop-3.4/usr/bin/damaged", b"\x7fELF\x02\x01\x01 and nothing that belongs there");
    world.write("htop-3.4/usr/lib/layerctl/layers/htop/dpkg-status", STATUS);
    let release =
        "ID=debian\nVERSION_ID=13\nARCHITECTURE=x86-64\nSYSEXT_SCOPE=\"system portable\"\n";
    world.write("htop-3.4/usr/lib/extension-release.d/extension-release.htop", release);
}

#[test]
fn a_built_layer_says_what_it_fits_and_needs() {
    let world = World::new();
    full_tree(&world);
    world.done("build htop-3.4 --name htop --version 3.4 -o htop_3.4.img");
    let manifest = manifest(&world, "htop_3.4.toml");
    assert_eq!(manifest.packages, ["htop 3.4.1-5 amd64"]);
    let fits = manifest.fits.unwrap();
    assert_eq!((fits.id.as_str(), fits.version_id.as_deref()), ("debian", Some("13")));
    assert_eq!(fits.scope, ["system", "portable"]);
    assert_eq!(manifest.os, None);
    assert!(manifest.links.needs.iter().any(|need| need == "libc.so.6"), "{:?}", manifest.links);
    assert!(newest_glibc(&manifest.links.needs).is_some(), "{:?}", manifest.links);
    assert_eq!(manifest.links.provides, [""; 0]);
}

#[test]
fn a_bare_image_and_its_build_say_the_same() {
    let world = World::with_base();
    full_tree(&world);
    world.done("build htop-3.4 --name htop --version 3.4 -o htop_3.4.img --format squashfs");
    let built = manifest(&world, "htop_3.4.toml");
    world.shell("mv htop_3.4.toml away; mv state old; mkdir state");
    world.done("init");
    world.done("base import base");
    let base = stored(&world);
    assert_eq!(base.os.unwrap().version_id.as_deref(), Some("13"));
    world.done("install htop_3.4.img");
    let path = world.path("state/layerctl/store").join(format!("{}.toml", built.digest));
    let admitted = Manifest::parse(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(admitted, built);
}

#[test]
fn a_library_brings_its_soname_and_the_c_library_its_version() {
    let world = World::new();
    world.base_tree("base");
    let libc = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/lib/libc.so.6"];
    let libc = libc.iter().find_map(|path| fs::read(path).ok()).unwrap();
    world.write("base/usr/lib/libc.so.6", libc);
    world.write("base/usr/bin/ls", fs::read("/bin/true").unwrap());
    world.write("base/var/lib/dpkg/status", STATUS);
    world.done("build base --kind base --name debian --version 13 -o base.img");
    let manifest = manifest(&world, "base.toml");
    assert_eq!(manifest.packages, ["htop 3.4.1-5 amd64"]);
    let provides = &manifest.links.provides;
    assert!(provides.iter().any(|name| name == "libc.so.6"), "{provides:?}");
    assert!(newest_glibc(provides).is_some(), "{provides:?}");
    let needs = &manifest.links.needs;
    assert!(needs.iter().all(|need| !need.starts_with("libc.so.6")), "{needs:?}");
}

#[test]
fn a_manifest_may_say_less_than_its_image_but_nothing_else() {
    let world = World::with_base();
    full_tree(&world);
    world.done("build htop-3.4 --name htop --version 3.4 -o htop_3.4.img");
    world.shell("cp htop_3.4.toml whole");
    let mut refused = String::new();
    for edit in
        ["s/^version_id = .*/version_id = \"12\"/", "s/^packages = .*/packages = [\"a 1 all\"]/"]
    {
        world.shell(&format!("sed '{edit}' whole >htop_3.4.toml"));
        refused += &world.refused("install htop_3.4.img");
    }
    assert_snapshot!(refused);
    world.shell(r"sed '/^packages/d; /^\[/,$d' whole >htop_3.4.toml");
    world.done("install htop_3.4.img");
}
