//! What both the administrator and a new image changed: it stays, it is told, and it is settled with `layerctl etc`.

use crate::state::{BOOT, State, report};
use tests::failure::Failure;
use tests::vm::{Drive, Filesystem};

#[test]
fn a_change_on_both_sides_stays_is_told_and_is_settled() -> Result<(), Failure> {
    let state = State::new("conflicts")?;
    let install = |text: &str, options: &[&str]| -> Result<(), Failure> {
        let contents = [("etc/app.conf", text), ("etc/app.d/own.conf", text)];
        let image = state.build("app", &contents, &[])?.display().to_string();
        state.layerctl(&[&["install", &image], options].concat()).map(drop)
    };
    install("one\n", &[])?;
    install("two\n", &["--replace"])?;
    state.layerctl(&["rollback", "2"])?;
    let disk = state.disk(Filesystem::Ext4)?;

    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.check(
        "echo mine > /etc/app.conf; touch /etc/app.d/own.conf; echo >> /var/lib/dpkg/status",
    )?;
    assert_eq!(shell.check("layerctl etc status | grep app")?, "M /etc/app.conf");
    shell.check("layerctl rollback 3")?;
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.problems, [""; 0]);
    assert_eq!(shell.check("cat /etc/app.conf /etc/app.d/own.conf")?, "mine\ntwo");
    let base = "/run/initramfs/layers/base";
    shell.check(&format!("cmp /var/lib/dpkg/status {base}/var/lib/dpkg/status"))?;
    let status = shell.check("layerctl status")?;
    assert!(status.contains("etc: 1 entry needs a look"), "{status}");
    let conflicts = shell.check("layerctl etc conflicts 2>/dev/null")?;
    assert!(conflicts.starts_with("/etc/app.conf: "), "{conflicts}");
    let diff = shell.check("layerctl etc diff /etc/app.conf")?;
    assert!(diff.contains("\n-two\n+mine"), "{diff}");
    shell.check("layerctl etc take /etc/app.conf --theirs")?;
    assert_eq!(shell.check("cat /etc/app.conf; layerctl etc conflicts 2>/dev/null")?, "two");
    shell.check("layerctl etc sync --from 2 /etc/app.conf")?;
    assert_eq!(shell.check("cat /etc/app.conf")?, "mine");
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(shell.check("cat /etc/app.conf; layerctl etc conflicts 2>/dev/null")?, "mine");
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}
