//! Containers, with Debian's own packages and their default settings. All layers of a container are one more OverlayFS, so
//! its storage has to be on the state file system itself: neither a lower nor an upper of /var or /home.

use crate::state::{SYSTEMD, State};
use tests::container_image;
use tests::failure::Failure;
use tests::vm::{Drive, Filesystem, Machine, Shell};

/// The size of the state disk in MiB: the layers have 110 and 140, and what the containers need comes on top.
const DISK: u64 = 2048;

/// What /etc/origin holds in the containers' image.
const ORIGIN: &str = "from a file\n";

/// A machine with the layer, with the container image at /layers/busybox.tar.
fn machine(state: &State, layer: &str) -> Result<Machine, Failure> {
    state.install_packages(layer)?;
    let disk = state.disk_of(Filesystem::Ext4, DISK)?;
    let image = state.beside("busybox.tar");
    container_image::make(&state.beside("image"), ORIGIN, &image)?;
    let media = state.media(&[image])?;
    Ok(state.machine(Drive::scratch(&disk)).drive(Drive::read_only(&media)).quick_systemd())
}

/// Waits until everything that starts at boot has been started, and has nothing to complain of.
fn is_well(shell: &mut Shell<'_>) -> Result<(), Failure> {
    shell.set_deadline(SYSTEMD);
    let state = shell.run("systemctl is-system-running --wait")?.output;
    assert_eq!(
        (state.as_str(), shell.check("systemctl --failed --no-legend")?),
        ("running", String::new())
    );
    Ok(())
}

/// `program run` of the image: the container writes a file into its own root, which is an overlay.
fn run(program: &str) -> String {
    let image = container_image::NAME;
    format!(
        "{program} run --rm {image} sh -c \"id -u; cat /etc/origin > /note; cat /note; \
         grep -c '^overlay / overlay rw' /proc/mounts\""
    )
}

/// What [`run`] says.
fn ran() -> String {
    format!("0\n{ORIGIN}1")
}

/// The kernel complains where a container's directories are below a directory that is an upper or a lower already.
fn no_directory_is_in_two_overlays(shell: &mut Shell<'_>) -> Result<(), Failure> {
    assert_eq!(shell.check("dmesg | grep -m 1 'overlayfs: .* is in-use' || true")?, "");
    Ok(())
}

/// The command of a user who has logged in: with a session, and a systemd of the user's own.
const AS_ALICE: &str =
    "systemd-run --quiet --wait --pipe --uid=alice --property=PAMName=login podman";

#[test]
fn podman_runs_containers_of_root_and_of_a_user_and_keeps_their_images() -> Result<(), Failure> {
    let state = State::new("podman")?;
    let mut guest = machine(&state, "podman")?.start()?;
    let mut shell = guest.log_in(SYSTEMD)?;
    is_well(&mut shell)?;
    shell.check("useradd --create-home alice && grep alice: /etc/subuid /etc/subgid")?;
    for (podman, root) in [
        ("podman", "/var/lib/containers/storage"),
        (AS_ALICE, "/home/alice/.local/share/containers/storage"),
    ] {
        let info = "info --format '{{.Store.GraphDriverName}} {{.Store.GraphRoot}}'";
        assert_eq!(shell.check(&format!("{podman} {info}"))?, format!("overlay {root}"));
        let loaded = shell.check(&format!("{podman} load --quiet -i /layers/busybox.tar"))?;
        assert_eq!(loaded, format!("Loaded image: {}", container_image::NAME));
        assert_eq!(shell.check(&run(podman))?, ran(), "{podman}");
    }
    shell.send("systemctl reboot")?;

    let mut shell = guest.log_in(SYSTEMD)?;
    is_well(&mut shell)?;
    for podman in ["podman", AS_ALICE] {
        assert_eq!(shell.check(&run(podman))?, ran(), "{podman} after a reboot");
    }
    no_directory_is_in_two_overlays(&mut shell)
}

#[test]
fn docker_runs_containers_and_keeps_their_images() -> Result<(), Failure> {
    let state = State::new("docker")?;
    let mut guest = machine(&state, "docker")?.start()?;
    let mut shell = guest.log_in(SYSTEMD)?;
    is_well(&mut shell)?;
    assert_eq!(shell.check("docker info --format '{{.Driver}}'")?, "overlay2");
    let loaded = shell.check("docker load --quiet -i /layers/busybox.tar")?;
    assert_eq!(loaded, format!("Loaded image: {}", container_image::NAME));
    assert_eq!(shell.check(&run("docker"))?, ran());
    shell.send("systemctl reboot")?;

    let mut shell = guest.log_in(SYSTEMD)?;
    is_well(&mut shell)?;
    assert_eq!(shell.check(&run("docker"))?, ran(), "after a reboot");
    no_directory_is_in_two_overlays(&mut shell)
}
