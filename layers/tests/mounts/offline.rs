//! What somebody writes into the uppers while the machine is off: no signature covers it, and no mount honours what is more than
//! a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};

use crate::machine::{LAYERS, Machine};
use crate::namespace::{self, Namespace::Privileged};

/// Sets an attribute that only root may set.
fn mark(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// The command `id`, as a file that belongs to root and has the set-user-ID bit.
fn plant_program(at: &Path) {
    fs::copy("/usr/bin/id", at).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o4755)).unwrap();
}

/// The user as whom a program runs that somebody without rights starts.
fn user_of(program: &Path) -> String {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .arg("-u")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn programs_and_devices_in_uppers_are_files_like_others() {
    let test = "offline::programs_and_devices_in_uppers_are_files_like_others";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let machine = Machine::new();
    fs::set_permissions(machine.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let seven = Machine::generation(7, &LAYERS);
    let plan = machine.boot("", &seven);
    machine.shut_down(&plan);
    for cmdline in ["", "layers.frozen"] {
        for upper in ["etc/7/upper", "var/upper", "home/upper"] {
            let upper = machine.layout.uppers().join(upper);
            let _ = fs::remove_file(upper.join("null"));
            plant_program(&upper.join("id"));
            mknodat(CWD, upper.join("null"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 3))
                .unwrap();
        }
        let plan = machine.boot(cmdline, &seven);
        for dir in ["etc", "var", "home"] {
            let at = machine.root(dir);
            let line = machine.mount(&at);
            assert!(line.contains("nosuid") && line.contains("nodev"), "{cmdline}: {line}");
            assert_eq!(user_of(&at.join("id")), "65534\n", "{cmdline} {dir}");
            let error = fs::read(at.join("null")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{cmdline} {dir}");
        }
        machine.shut_down(&plan);
    }
    // The program does run as root where a mount honours it.
    let honoured = machine.dir.path().join("id");
    plant_program(&honoured);
    assert_eq!(user_of(&honoured), "0\n");
}

#[test]
fn redirects_and_metacopies_in_uppers_lead_nowhere() {
    let test = "offline::redirects_and_metacopies_in_uppers_lead_nowhere";
    if !namespace::inside(test, Privileged, 1) {
        return;
    }
    let machine = Machine::new();
    machine.write("base", "etc/secret/key", "secret");
    machine.write("base", "etc/plain/x", "x");
    let seven = Machine::generation(7, &LAYERS);
    let plan = machine.boot("", &seven);
    machine.shut_down(&plan);
    let upper = machine.layout.uppers().join("etc/7/upper");
    for (directory, to) in [("alias", "/secret"), ("plain", "secret")] {
        fs::create_dir(upper.join(directory)).unwrap();
        mark(&upper.join(directory), "trusted.overlay.redirect", to.as_bytes());
    }
    for file in ["copy", "hosts"] {
        fs::write(upper.join(file), "").unwrap();
        mark(&upper.join(file), "trusted.overlay.metacopy", b"");
        mark(&upper.join(file), "trusted.overlay.redirect", b"/secret/key");
    }
    for cmdline in ["", "layers.frozen"] {
        let plan = machine.boot(cmdline, &seven);
        let etc = |path: &str| machine.root("etc").join(path);
        for path in ["alias/key", "plain/key", "copy", "hosts"] {
            let read = fs::read(etc(path)).unwrap_or_default();
            assert!(read.is_empty(), "{cmdline} {path}: {}", String::from_utf8_lossy(&read));
        }
        assert_eq!(machine.read("etc/secret/key"), "secret");
        machine.shut_down(&plan);
    }
}
