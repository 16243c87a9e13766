//! Building from miniature trees, held against what cpio and zstd read.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::*;

/// A tree with one kernel's modules: overlay, loop and squashfs are files, erofs is built in.
fn tree(versions: &[&str]) -> TempDir {
    let tree = TempDir::new().unwrap();
    for version in versions {
        let directory = tree.path().join("usr/lib/modules").join(version);
        fs::create_dir_all(directory.join("kernel")).unwrap();
        let files = ["overlay", "loop", "squashfs", "virtio_blk"];
        let dep: String = files.map(|name| format!("kernel/{name}.ko:\n")).concat();
        for name in files {
            fs::write(directory.join(format!("kernel/{name}.ko")), name).unwrap();
        }
        fs::write(directory.join("modules.dep"), dep).unwrap();
        fs::write(directory.join("modules.builtin"), "kernel/fs/erofs/erofs.ko\n").unwrap();
        fs::write(directory.join("modules.alias"), "alias virtio:d00000002v* virtio_blk\n")
            .unwrap();
    }
    tree
}

fn request(tree: &TempDir) -> Request {
    Request {
        init: "/bin/busybox".into(),
        modules_from: tree.path().to_owned(),
        kernel: None,
        roles: vec![Role::Virtio],
        shell: None,
        trust: None,
    }
}

fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{program}");
    output.stdout
}

#[test]
fn zstd_and_cpio_read_what_was_built() {
    let tree = tree(&["6.12.1"]);
    let image = build(&Request { shell: Some("/bin/busybox".into()), ..request(&tree) }).unwrap();
    let archive = piped("zstd", &["-dc"], &image);
    let listing = String::from_utf8(piped("cpio", &["-it", "--quiet"], &archive)).unwrap();
    let names: Vec<_> = listing.lines().filter(|name| name.contains('.')).collect();
    assert_eq!(
        names,
        [
            "lib/modules/6.12.1",
            "lib/modules/6.12.1/kernel",
            "lib/modules/6.12.1/kernel/loop.ko",
            "lib/modules/6.12.1/kernel/overlay.ko",
            "lib/modules/6.12.1/kernel/squashfs.ko",
            "lib/modules/6.12.1/kernel/virtio_blk.ko",
            "lib/modules/6.12.1/modules.layers",
        ]
    );
    assert!(listing.lines().any(|name| name == "bin/sh"));
}

#[test]
fn the_same_input_gives_the_same_bytes_wherever_and_whenever_it_lies() {
    let (one, other) = (tree(&["6.12.1"]), tree(&["6.12.1"]));
    let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    let module = other.path().join("usr/lib/modules/6.12.1/kernel/loop.ko");
    fs::File::options().write(true).open(module).unwrap().set_times(times).unwrap();
    assert_eq!(build(&request(&one)).unwrap(), build(&request(&other)).unwrap());
}

#[test]
fn the_kernel_is_the_only_one_or_the_one_that_is_named() {
    let several = tree(&["6.12.1", "6.13"]);
    let error = build(&request(&several)).unwrap_err().to_string();
    assert!(
        error.ends_with("has modules for several kernels; name one of 6.12.1, 6.13"),
        "{error}"
    );
    build(&Request { kernel: Some("6.13".into()), ..request(&several) }).unwrap();
    let error = build(&Request { kernel: Some("6.1".into()), ..request(&several) }).unwrap_err();
    let error = error.to_string();
    assert!(error.ends_with("has no modules for kernel 6.1; it has 6.12.1, 6.13"), "{error}");
    let error = build(&request(&tree(&[]))).unwrap_err().to_string();
    assert!(error.contains("has no kernel modules: neither"), "{error}");
}

#[test]
fn a_tree_with_lib_linked_to_usr_lib_has_one_kernel() {
    let tree = tree(&["6.12.1"]);
    std::os::unix::fs::symlink("usr/lib", tree.path().join("lib")).unwrap();
    build(&request(&tree)).unwrap();
}

#[test]
fn what_cannot_work_is_refused() {
    let tree = tree(&["6.12.1"]);
    let refusal = |request: Request| build(&request).unwrap_err().to_string();
    assert_eq!(
        refusal(Request { init: "/bin/ls".into(), ..request(&tree) }),
        "/bin/ls is not a static program, and an initramfs has no libraries: it asks for a dynamic linker"
    );
    assert_eq!(
        refusal(Request { shell: Some("/etc/passwd".into()), ..request(&tree) }),
        "/etc/passwd is not a static program, and an initramfs has no libraries: it is no 64-bit ELF file"
    );
    assert_eq!(
        refusal(Request { roles: vec![Role::Xfs], ..request(&tree) }),
        "kernel 6.12.1 has no xfs, neither as a module nor built in; role xfs needs it"
    );
    let module = tree.path().join("usr/lib/modules/6.12.1/kernel/loop.ko");
    fs::remove_file(&module).unwrap();
    assert!(refusal(request(&tree)).contains("loop.ko: No such file or directory"));
    fs::remove_file(tree.path().join("usr/lib/modules/6.12.1/modules.dep")).unwrap();
    assert!(refusal(request(&tree)).ends_with("is missing: run depmod -b TREE 6.12.1 first"));
}

#[test]
fn possible_roles_are_those_that_the_kernel_can_fill() {
    let tree = tree(&["6.12.1"]);
    assert_eq!(possible_roles(tree.path(), None).unwrap(), [Role::Virtio, Role::Watchdog]);
}
