//! Two layers that were built apart, both with libraries and one with a user of its own, in one booted system.

use crate::state::{BOOT, SYSTEMD, State, report};
use tests::failure::Failure;
use tests::vm::{Drive, Filesystem};
use tests::workspace::Workspace;

/// Each library that a layer brings, whether the loader knows it.
const LIBRARIES: &str =
    "ldconfig -p | grep -c -e libavahi-core.so.7 -e libonig.so.5 -e libdaemon.so.0 -e libbpf.so.1";

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
    state.layerctl(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    let disk = state.disk(Filesystem::Ext4)?;
    let extension = layer("ed")?;
    let media = state.media(&[extension])?;
    let machine = state.machine(Drive::writable(&disk)).drive(Drive::read_only(&media));

    // Without one of them the nearest trigger layer is taken, and told.
    let mut guest = machine.clone().append("init=/bin/sh layers.skip=avahi-daemon").start()?;
    guest.wait_for(
        "no trigger layer was made for these layers; taking that of avahi-daemon, nginx, json",
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
    assert_eq!(shell.check("getent passwd avahi || true")?, "");
    assert_eq!(shell.check(&format!("{LIBRARIES} || true"))?, "0");
    assert_eq!(shell.run(packages)?.output.matches("no packages found").count(), 3);
    Ok(())
}
