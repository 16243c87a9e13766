//! Layers that were built apart, with libraries, a user of its own and a kernel module, in one booted system.

use crate::state::{BOOT, SYSTEMD, State, report};
use std::path::{Path, PathBuf};
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::vm::{Drive, Filesystem};
use tests::workspace::Workspace;

/// Each library that a layer brings, whether the loader knows it.
const LIBRARIES: &str =
    "ldconfig -p | grep -c -e libavahi-core.so.7 -e libonig.so.5 -e libdaemon.so.0 -e libbpf.so.1";

/// What ends a signed module; before it lies a record whose last four bytes are the signature's length (Linux,
/// include/linux/module_signature.h).
const SIGNED: &[u8] = b"~Module signature appended~\n";

/// A layer of a package with a kernel module that the base has not: the kernel's own `dummy`, which calls itself `layer`.
fn module(state: &State) -> Result<PathBuf, Failure> {
    let modules = state.artefacts().kernel.parent().unwrap_or(Path::new("/"));
    let mut unpack = process::command("xz");
    unpack.args(["--decompress", "--stdout"]).arg(modules.join("kernel/drivers/net/dummy.ko.xz"));
    let mut module = process::read(&mut unpack)?;
    // With a signature that does not fit it would be refused; without one the kernel only takes note.
    if let Some(signed) = module.strip_suffix(SIGNED) {
        let (rest, length) = signed.split_last_chunk().unwrap();
        let length = usize::try_from(u32::from_be_bytes(*length))?;
        module.truncate(rest.len() - 8 - length);
    }
    let (old, new) = (b"dummy\0", b"layer\0");
    for at in 0..module.len() - old.len() {
        if module[at..].starts_with(old) {
            module[at..at + new.len()].copy_from_slice(new);
        }
    }
    let tree = state.beside("layer-module");
    let version = modules.file_name().unwrap_or_default();
    let updates = tree.join("usr/lib/modules").join(version).join("updates");
    files::make_dir(&updates)?;
    files::make_dir(&tree.join("DEBIAN"))?;
    files::write(&updates.join("layer.ko"), module)?;
    let control = "Package: layer-module\nVersion: 1\nArchitecture: amd64\nInstalled-Size: 40\n\
        Maintainer: x <x@example.com>\nDescription: x\n";
    files::write(&tree.join("DEBIAN/control"), control)?;
    let deb = state.beside("layer-module_1_amd64.deb");
    let mut pack = process::command("dpkg-deb");
    process::run(pack.args(["--root-owner-group", "--build"]).arg(&tree).arg(&deb))?;
    let image = state.beside("layer-module.img");
    let mut build = process::command(&state.artefacts().layerctl);
    build.arg("build").arg(&deb).args(["--offline", "--base"]).arg(&state.artefacts().base);
    build.arg("--cache").arg(state.beside("cache")).arg("-o").arg(&image);
    process::run(&mut build)?;
    Ok(image)
}

#[test]
fn services_of_layers_built_apart_run_side_by_side_and_go_with_a_rollback() -> Result<(), Failure> {
    let state = State::new("triggers")?;
    let workspace = Workspace::here();
    let layer = |name| Ok::<_, Failure>(state.artefacts().installed_layer(&workspace, name)?);
    let names = ["avahi-daemon", "nginx", "json"];
    let mut words = vec!["install".to_owned()];
    for name in names {
        words.push(layer(name)?.display().to_string());
    }
    words.push(module(&state)?.display().to_string());
    state.layerctl(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    let disk = state.disk(Filesystem::Ext4)?;
    let extension = layer("ed")?;
    let media = state.media(&[extension])?;
    let machine = state.machine(Drive::writable(&disk)).drive(Drive::read_only(&media));

    // Without one of them the nearest trigger layer is taken, and told.
    let mut guest = machine.clone().append("init=/bin/sh layers.skip=avahi-daemon").start()?;
    guest.wait_for(
        "no trigger layer was made for these layers; taking that of avahi-daemon, nginx, json, layer-module",
        BOOT,
    )?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(shell.check("jq -n 6*7")?, "42", "a library of the other layer is known");
    assert_eq!(report(&mut shell)?.problems.len(), 1);
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;

    let mut guest = machine.clone().quick_systemd().start()?;
    let mut shell = guest.log_in(SYSTEMD)?;
    shell.set_deadline(SYSTEMD);
    assert_eq!(report(&mut shell)?.problems, [""; 0]);
    assert_eq!(shell.run("systemctl is-system-running --wait")?.output, "running");
    assert_eq!(shell.check("ps -C avahi-daemon -o user= | sort -u")?, "avahi");
    let page = "exec 3<>/dev/tcp/127.0.0.1/80; echo 'GET / HTTP/1.0' >&3; echo >&3; head -1 <&3";
    assert_eq!(shell.check(&format!("bash -c \"{page}\""))?.trim_end(), "HTTP/1.1 200 OK");
    assert_eq!(shell.check("dpkg --audit")?, "");
    let packages =
        "dpkg-query --show --showformat '${db:Status-Status} ${Package}\\n' avahi-daemon jq nginx";
    assert_eq!(shell.check(packages)?, "installed avahi-daemon\ninstalled jq\ninstalled nginx");
    shell.check("apt-get check")?;
    assert_eq!(shell.check(LIBRARIES)?, "4");
    // The module is found by the name that the kernel asks for, in what depmod made of the base's modules and this one.
    shell.check(
        "modprobe rtnl-link-layer && test -d /sys/module/layer && test -d /sys/class/net/dummy0",
    )?;
    assert_eq!(
        shell.check("modinfo --field=filename layer dummy | cut -d / -f 5-")?,
        "updates/layer.ko\nkernel/drivers/net/dummy.ko.xz"
    );
    assert_eq!(
        shell.check("dpkg -S /usr/lib/modules/*/updates/layer.ko | cut -d : -f 1")?,
        "layer-module"
    );
    // A layer is an extension of systemd's too, over the layers that are there.
    shell.check("mount /dev/vdb /layers; mkdir -p /run/extensions")?;
    shell.check("cp /layers/ed*.img /run/extensions/ed.raw && systemd-sysext merge")?;
    assert!(shell.check("ed --version")?.contains("ed "));
    shell.check("command -v nginx && command -v jq && command -v avahi-daemon")?;
    shell.check("systemd-sysext unmerge")?;
    assert_eq!(shell.run("test -e /usr/bin/ed")?.status, 1);
    shell.check("layerctl rollback")?;
    shell.send("systemctl poweroff")?;
    guest.wait_for_exit(SYSTEMD)?;

    let mut guest = machine.append("init=/bin/sh").start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.generation.to_string(), "1");
    assert!(shell.run("modprobe layer")?.output.contains("Module layer not found"));
    shell.check("modprobe dummy")?;
    assert_eq!(shell.check("getent passwd avahi || true")?, "");
    assert_eq!(shell.check(&format!("{LIBRARIES} || true"))?, "0");
    assert_eq!(shell.run(packages)?.output.matches("no packages found").count(), 3);
    Ok(())
}
