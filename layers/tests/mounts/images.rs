//! Plans on real squashfs and EROFS images, as root, in a mount namespace.

use std::fs;
use std::process::Command;

use layers::exec::{Host, HostError, execute};
use layers::host::LinuxHost;
use layers::plan::Overlay;
use layers::superblock::Format;

use crate::machine::{LAYERS, Machine, refused};
use crate::namespace::{self, Namespace::Privileged};

/// Makes an image of a tree where the store has images.
fn make_image(machine: &Machine, name: &str, format: Format) {
    let (tree, image) = (machine.tree(name), machine.layout.image(&Machine::digest(name)));
    let mut command = match format {
        Format::Squashfs => {
            let mut command = Command::new("mksquashfs");
            command.args([&tree, &image]).args(["-quiet", "-no-progress", "-noappend"]);
            command
        }
        Format::Erofs => {
            let mut command = Command::new("mkfs.erofs");
            command.args(["--quiet".as_ref(), image.as_os_str(), tree.as_os_str()]);
            command
        }
    };
    let made = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}: apt-get install squashfs-tools erofs-utils")
    });
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Loop devices that are backed by files of this machine.
fn loops(machine: &Machine) -> Vec<String> {
    let ours = machine.dir.path().to_str().unwrap().to_owned();
    fs::read_dir("/sys/block")
        .unwrap()
        .filter_map(|entry| {
            fs::read_to_string(entry.unwrap().path().join("loop/backing_file")).ok()
        })
        .filter(|file| file.starts_with(&ours))
        .collect()
}

/// Boots real images of the given formats (base, one, two), twice, and looks at each.
fn boot_images(machine: &Machine, formats: [Format; 3]) {
    for (name, format) in ["base", "one", "two"].into_iter().zip(formats) {
        let image = machine.layout.image(&Machine::digest(name));
        let _ = fs::remove_file(image);
        make_image(machine, name, format);
    }
    for _ in 0..2 {
        let boot = machine.plan("", &Machine::generation(7, &LAYERS), true);
        assert_eq!(boot.layers.len(), 2, "{:?}", boot.skipped);
        execute(&boot.plan, &mut LinuxHost::new()).unwrap();
        assert_eq!(machine.read("usr/shared"), "two", "{formats:?}");
        assert_eq!(machine.read("usr/bin/sh"), "sh of base", "{formats:?}");
        fs::write(machine.root("etc/hosts"), "mine").unwrap();
        refused(fs::write(machine.paths.base().join("x"), "x"), libc::EROFS);
        // Room for one more level: containers on /etc, /var and on the root.
        for lower in [machine.paths.sysroot.clone(), machine.root("etc")] {
            let lowers = vec![lower, machine.tree("two")];
            let at = machine.dir.path().join("container");
            let overlay = Overlay {
                source: "c".into(),
                lowers,
                data: Vec::new(),
                upper: None,
                at: at.clone(),
            };
            LinuxHost::new().mount_overlay(&overlay).unwrap();
            LinuxHost::new().unmount(&at).unwrap();
        }
        assert!(!machine.paths.run.join(".stacking").exists(), "the probe is gone");
        machine.shut_down(&boot.plan);
        assert!(loops(machine).is_empty(), "{:?}", loops(machine));
    }
}

#[test]
fn real_images_boot_in_every_mix_of_formats() {
    if !namespace::inside("images::real_images_boot_in_every_mix_of_formats", Privileged, 1) {
        return;
    }
    let machine = Machine::new();
    let (s, e) = (Format::Squashfs, Format::Erofs);
    for formats in [[s, s, s], [e, e, e], [s, e, e], [e, s, e]] {
        boot_images(&machine, formats);
    }
}

/// EROFS takes no file on tmpfs as its device (ENOTBLK): a loop device carries it then.
#[test]
fn erofs_images_on_a_tmpfs_boot_from_loop_devices() {
    if !namespace::inside("images::erofs_images_on_a_tmpfs_boot_from_loop_devices", Privileged, 1) {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    LinuxHost::new().mount_tmpfs(outside.path(), layers::size::Size::default()).unwrap();
    let machine = Machine::in_directory(tempfile::tempdir_in(outside.path()).unwrap());
    boot_images(&machine, [Format::Erofs; 3]);
}

#[test]
fn a_file_that_is_no_image_is_refused_with_its_name_and_leaves_no_loop_device() {
    let test = "images::a_file_that_is_no_image_is_refused_with_its_name_and_leaves_no_loop_device";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let machine = Machine::new();
    let file = machine.dir.path().join("no.img");
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    for format in [Format::Squashfs, Format::Erofs] {
        let at = machine.paths.base();
        let error = LinuxHost::new().mount_image(&file, format, None, &at).unwrap_err();
        assert!(matches!(&error, HostError::Io { path, .. } if *path == file), "{error}");
    }
    assert!(machine.mounts().is_empty());
    assert!(loops(&machine).is_empty());
}
